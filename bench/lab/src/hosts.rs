//! Hosts on cables, as network namespaces.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::process::{Server, shell, until};

/// Network namespaces, which go away with it.
pub struct Lab {
    tag: String,
    namespaces: Vec<String>,
}

/// A network namespace, by its name.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub namespace: String,
}

impl Lab {
    /// Empty; the names of its namespaces start with `tag` and the number of this process.
    pub fn new(tag: &str) -> Lab {
        Lab { tag: format!("{tag}{}", std::process::id()), namespaces: Vec::new() }
    }

    /// Makes another host.
    ///
    /// # Errors
    /// Who is not root may not.
    pub fn host(&mut self, name: &str) -> Result<Host> {
        let namespace = format!("{}-{name}", self.tag);
        shell(&format!("ip netns add {namespace}"))?;
        self.namespaces.push(namespace.clone());
        let host = Host { namespace };
        host.shell("ip link set lo up")?;
        Ok(host)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            // One that is gone is what is wanted.
            let _ = shell(&format!("ip netns del {namespace}"));
        }
    }
}

impl Host {
    /// Lays a cable from `interface` here to `other_interface` there, and brings both up.
    ///
    /// # Errors
    /// One of the interfaces exists.
    pub fn cable(&self, interface: &str, other: &Host, other_interface: &str) -> Result<()> {
        let there = &other.namespace;
        self.shell(&format!("ip link add {interface} type veth peer name {other_interface} netns {there}"))?;
        self.shell(&format!("ip link set {interface} up"))?;
        other.shell(&format!("ip link set {other_interface} up"))?;
        Ok(())
    }

    /// Adds an address with its network, which can be used at once.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn address(&self, interface: &str, address: &str) -> Result<()> {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        self.shell(&format!("ip addr add {address} dev {interface} {nodad}")).map(drop)
    }

    /// Runs a line of shell here; gives what it printed.
    ///
    /// # Errors
    /// It failed: with what it said.
    pub fn shell(&self, line: &str) -> Result<String> {
        crate::output(self.command("sh").args(["-ec", line]))
    }

    /// A command that runs here.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    /// Calls `run` on a thread that is here: a socket that it makes stays here, whoever uses it.
    ///
    /// # Errors
    /// There is no such namespace, or it panicked, or its own.
    pub fn enter<T: Send>(&self, run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let namespace = File::open(Path::new("/run/netns").join(&self.namespace))?;
        let inside = || {
            setns(&namespace, CloneFlags::CLONE_NEWNET)?;
            run()
        };
        std::thread::scope(|scope| scope.spawn(inside).join()).map_err(|_| anyhow!("a thread panicked"))?
    }

    /// Starts a server with no input; what it says goes to `log`.
    ///
    /// # Errors
    /// There is no such program, or no such folder.
    pub fn spawn(&self, mut command: Command, log: &Path) -> Result<Server> {
        let file = File::create(log)?;
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn();
        Ok(Server::new(child.with_context(|| format!("{command:?} does not start"))?))
    }

    /// Waits until something accepts connections here.
    ///
    /// # Errors
    /// Nothing does for 20 seconds.
    pub fn wait_for_port(&self, address: IpAddr, port: u16) -> Result<()> {
        let probe = format!("exec 3<>/dev/tcp/{address}/{port}");
        until(&format!("{} answers", SocketAddr::new(address, port)), || {
            let mut command = self.command("bash");
            command.args(["-c", &probe]).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })
    }
}
