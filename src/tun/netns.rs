//! Network namespaces for the tests that need a kernel of their own to play with.

use nix::{
    libc,
    sched::{CloneFlags, setns, unshare},
};
use std::{
    fs::File,
    os::fd::AsRawFd,
    process::{Command, Output},
    thread,
};

/// The user that owns nothing.
const NOBODY: libc::uid_t = 65534;

/// A network namespace that lives as long as this value and what was opened inside it.
pub struct Namespace(File);

impl Namespace {
    /// A new namespace with its loopback up; `None`, said on stderr, where this process may not make one.
    pub fn new() -> Option<Namespace> {
        let made = thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET).map(|()| here()));
        match made.join().unwrap() {
            Ok(file) => {
                let namespace = Namespace(file);
                namespace.run("ip link set lo up");
                Some(namespace)
            }
            Err(error) => {
                eprintln!("SKIPPED: making a network namespace needs root ({error})");
                None
            }
        }
    }

    /// Runs `work` on a thread inside the namespace; what it opens stays there.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Like [`Namespace::enter`], as a user without privileges.
    pub fn enter_as_nobody<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.enter(|| {
            // SAFETY: only numbers are passed. Unlike the C library's function of this name the bare system call
            // changes the calling thread alone, which ends with this closure.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
            assert_eq!(changed, 0);
            work()
        })
    }

    /// Runs a command line (split at blanks) inside the namespace and gives what it said.
    pub fn output(&self, line: &str) -> Output {
        let mut words = line.split_ascii_whitespace();
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        self.enter(move || command.output().unwrap())
    }

    /// Runs a command line that must succeed and gives its stdout.
    pub fn run(&self, line: &str) -> String {
        let output = self.output(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Joins two namespaces by a cable: interface `eth0` in both, with these addresses (with prefix length).
    pub fn cable(&self, ours: &str, other: &Namespace, theirs: &str) {
        let there = format!("/proc/{}/fd/{}", std::process::id(), other.0.as_raw_fd());
        self.run(&format!("ip link add eth0 type veth peer name eth0 netns {there}"));
        for (namespace, address) in [(self, ours), (other, theirs)] {
            namespace.run(&format!("ip address add {address} dev eth0 nodad"));
            namespace.run("ip link set eth0 up");
        }
    }
}

fn here() -> File {
    File::open("/proc/thread-self/ns/net").unwrap()
}
