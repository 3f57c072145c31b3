//! A rendezvous server under test: started, killed, asked for its counters.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{Host, Lab, Process, ctl_command, json, output, program, until};

/// A rendezvous server under test.
pub struct Rendezvous {
    /// Where it runs.
    pub host: Host,
    more: Vec<String>,
    /// Its state folder.
    pub state: PathBuf,
    /// What nodes are given.
    pub url: String,
    /// What nodes without IPv4 are given.
    pub url_ipv6: Option<String>,
    process: Option<Process>,
}

impl Lab {
    /// Starts a rendezvous server on `host`, for each family that the host has.
    pub fn rendezvous(&self, host: &Host) -> Rendezvous {
        self.rendezvous_named("rendezvous", host, &[])
    }

    /// The same, where the host gets `more` IPv4 addresses, and the server is known by all.
    pub fn rendezvous_at(&self, host: &Host, more: &[&str]) -> Rendezvous {
        self.rendezvous_named("rendezvous", host, more)
    }

    /// Starts one of several rendezvous servers.
    pub fn rendezvous_named(&self, name: &str, host: &Host, more: &[&str]) -> Rendezvous {
        for address in more {
            host.run(&format!("ip addr add {address}/32 dev wan"));
        }
        let mut server = Rendezvous {
            host: host.clone(),
            more: more.iter().map(ToString::to_string).collect(),
            state: self.path(name),
            url: String::new(),
            url_ipv6: None,
            process: None,
        };
        let urls = output(server.command().arg("--print-url"));
        let mut urls = urls.lines().map(str::to_owned);
        server.url = urls.next().expect("a URL");
        server.url_ipv6 = urls.find(|url| url.contains('['));
        server.start();
        server
    }
}

impl Rendezvous {
    fn command(&self) -> Command {
        let mut command = self.host.command(program("pilotd"));
        command.args(["rendezvous", "--advertise", &self.host.ip]);
        for address in &self.more {
            command.args(["--advertise", address]);
        }
        // A server of several addresses answers from each, and names the others.
        match self.more.is_empty() {
            true => drop(command.args(["--listen", "0.0.0.0:9000"])),
            false => std::iter::once(&self.host.ip).chain(&self.more).for_each(|address| {
                command.args(["--listen", &format!("{address}:9000")]);
            }),
        }
        if let Some(ipv6) = &self.host.ipv6 {
            command.args(["--listen", "[::]:9000", "--advertise", ipv6]);
        }
        command.arg("--state").arg(&self.state);
        command
    }

    /// Starts it and waits until it answers on its status socket.
    pub fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.state.with_extension("log")).expect("a log file");
        let child = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("pilotd rendezvous starts");
        self.process = Some(Process(child));
        until("the rendezvous answers", Duration::from_secs(10), || self.try_status().is_some());
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    fn try_status(&self) -> Option<Value> {
        let socket = self.state.join("status.sock");
        let out = ctl_command(&self.host, &socket).args(["--json", "status"]).output().ok()?;
        out.status.success().then(|| json(&String::from_utf8_lossy(&out.stdout))["data"].clone())
    }

    /// Its counters.
    pub fn status(&self) -> Value {
        self.try_status().expect("the rendezvous answers its status")
    }
}
