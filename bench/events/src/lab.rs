//! Two hosts on one cable, as network namespaces, and processes in them. All of it goes away on drop.

use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A network namespace.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub namespace: String,
    /// Its address on the cable.
    pub address: IpAddr,
}

/// Two hosts and the cable between them.
pub struct Lab {
    /// Where servers run.
    pub servers: Host,
    /// Where publishers and subscribers run.
    pub clients: Host,
}

impl Lab {
    /// Makes both; needs root.
    pub fn new() -> Result<Lab> {
        let name = |what: &str| format!("bench{}-{what}", std::process::id());
        let host = |what: &str, address: [u16; 8]| Host { namespace: name(what), address: address.into() };
        let lab = Lab {
            servers: host("a", [0xfd77, 0, 0, 0, 0, 0, 0, 1]),
            clients: host("b", [0xfd77, 0, 0, 0, 0, 0, 0, 2]),
        };
        let (a, b) = (&lab.servers.namespace, &lab.clients.namespace);
        shell(&format!(
            "ip netns add {a} && ip netns add {b} && ip -n {a} link add wan type veth peer name wan netns {b}"
        ))?;
        for (host, last) in [(&lab.servers, 1), (&lab.clients, 2)] {
            let ns = &host.namespace;
            shell(&format!(
                "ip -n {ns} addr add {}/64 dev wan nodad && ip -n {ns} addr add 203.0.113.{last}/24 dev wan \
                 && ip -n {ns} link set lo up && ip -n {ns} link set wan up",
                host.address
            ))?;
        }
        Ok(lab)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in [&self.servers, &self.clients] {
            let _ = shell(&format!("ip netns del {}", host.namespace));
        }
    }
}

impl Host {
    /// A command that runs in this host.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    /// Starts a server with no input; what it says goes to `log`.
    pub fn spawn(&self, mut command: Command, log: &std::path::Path) -> Result<Server> {
        let file = std::fs::File::create(log)?;
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn();
        Ok(Server { child: child.with_context(|| format!("{command:?} does not start"))? })
    }

    /// Waits until something accepts connections here.
    pub fn wait_for_port(&self, address: IpAddr, port: u16) -> Result<()> {
        let probe = format!("exec 3<>/dev/tcp/{address}/{port}");
        until(&format!("[{address}]:{port} answers"), || {
            let mut command = self.command("bash");
            command.args(["-c", &probe]).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })
    }
}

/// A process that is ended on drop.
pub struct Server {
    child: Child,
}

impl Server {
    /// Its process ID: `ip netns exec` becomes the program.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), nix::sys::signal::Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits up to 20 seconds for a condition.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        if Instant::now() > deadline {
            bail!("not within 20 s: {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Runs a line of shell; gives what it printed.
pub fn shell(line: &str) -> Result<String> {
    output(Command::new("sh").args(["-ec", line]))
}

/// Runs a command to its end; gives what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} does not start"))?;
    if !out.status.success() {
        bail!("{command:?}: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
