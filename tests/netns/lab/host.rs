//! A machine of the lab: a network namespace, and what runs in it.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Process, output, until};

/// A network namespace of the lab that programs run in.
#[derive(Clone)]
pub struct Host {
    /// Name of the namespace.
    pub namespace: String,
    /// Its IPv4 address on the segment it sits on; on one without IPv4 its IPv6 address.
    pub ip: String,
    /// Its IPv6 address, where the segment has it.
    pub ipv6: Option<String>,
}

impl Host {
    /// Whether it has IPv4.
    pub fn has_ipv4(&self) -> bool {
        !self.ip.contains(':')
    }

    /// A command that runs on this host.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    /// Runs a shell line on this host and gives its standard output; fails the test when it fails.
    pub fn run(&self, line: &str) -> String {
        output(self.command("sh").args(["-ec", line]))
    }

    /// Whether a shell line succeeds on this host.
    pub fn try_run(&self, line: &str) -> bool {
        self.command("sh")
            .args(["-ec", line])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("ip netns exec")
            .success()
    }

    /// Starts a program that runs until the handle is dropped.
    pub fn spawn(&self, line: &str) -> Process {
        let child = self
            .command("sh")
            .args(["-ec", &format!("exec {line}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ip netns exec");
        Process(child)
    }

    /// Runs `job` on a thread of this test that lives in this host's network namespace.
    pub fn enter<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.namespace)).expect("the namespace exists");
        std::thread::scope(|scope| {
            let job = scope.spawn(|| {
                nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).expect("enters the namespace");
                job()
            });
            job.join().expect("the job ends")
        })
    }

    /// Starts a static HTTP server for `folder` on `address` port 80 and waits until it answers.
    pub fn http_server(&self, address: &str, folder: &Path) -> Process {
        let process =
            self.spawn(&format!("python3 -m http.server 80 --bind {address} --directory {}", folder.display()));
        until("the HTTP server listens", Duration::from_secs(10), || {
            self.try_run(&format!("curl -sf -o /dev/null --max-time 1 'http://[{address}]/'"))
        });
        process
    }
}
