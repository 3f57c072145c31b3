//! Real nodes of Pilot, and the rendezvous server through which they find each other.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::hosts::Host;
use crate::process::{Server, output, until};

/// Where our programs and their files are.
pub struct Network<'a> {
    /// The folder of pilotd and pilotctl.
    pub programs: &'a Path,
    /// For states, sockets and logs.
    pub dir: &'a Path,
}

/// A node that runs.
pub struct Node {
    /// Where.
    pub host: Host,
    /// Its overlay address.
    pub address: IpAddr,
    /// Its whole key, by which others trust it.
    pub public_key: String,
    /// Its local socket.
    pub socket: PathBuf,
    /// Its process.
    pub server: Server,
    name: String,
    pilotctl: PathBuf,
}

impl Network<'_> {
    fn pilotd(&self) -> PathBuf {
        self.programs.join("pilotd")
    }

    /// Starts a rendezvous server that nodes reach at `address`, and gives its URL.
    ///
    /// # Errors
    /// It does not start.
    pub fn rendezvous(&self, host: &Host, address: IpAddr) -> Result<(Server, String)> {
        let state = self.dir.join("rendezvous");
        let arguments = ["rendezvous", "--advertise", &address.to_string(), "--state"];
        let url = output(Command::new(self.pilotd()).args(arguments).arg(&state).arg("--print-url"))?;
        let mut command = host.command(self.pilotd());
        command.args(arguments).arg(&state).args(["--listen", "0.0.0.0:9000"]);
        let server = host.spawn(command, &self.dir.join("rendezvous.log"))?;
        until("the rendezvous answers", || state.join("status.sock").exists())?;
        Ok((server, url.trim().to_owned()))
    }

    /// Starts a node with further `arguments`, and waits until it is ready; without a rendezvous it is a network of one.
    ///
    /// # Errors
    /// It does not start.
    pub fn node(&self, host: &Host, name: &str, rendezvous: Option<&str>, arguments: &[&str]) -> Result<Node> {
        let (state, socket) = (self.dir.join(name), self.dir.join(format!("{name}.sock")));
        let keys = output(Command::new(self.pilotd()).args(["keygen", "--json", "--state"]).arg(&state))?;
        let keys: Value = serde_json::from_str(&keys)?;
        let field = |name: &str| keys["data"][name].as_str().map(str::to_owned).context("keygen names it");
        let mut command = host.command(self.pilotd());
        command.args(["up", "--foreground", "--hostname", name, "--state"]).arg(&state).args(arguments);
        if let Some(url) = rendezvous {
            command.args(["--rendezvous", url]);
        }
        command.arg("--socket").arg(&socket);
        let server = host.spawn(command, &self.dir.join(format!("{name}.log")))?;
        let (address, public_key) = (field("ipv6")?.parse()?, field("public_key")?);
        let (name, pilotctl) = (name.to_owned(), self.programs.join("pilotctl"));
        let node = Node { host: host.clone(), address, public_key, socket, server, name, pilotctl };
        node.ctl(&["wait", "--for", "ready", "--timeout", "20s"])?;
        Ok(node)
    }
}

impl Node {
    /// Makes both trust each other, and waits until they are connected directly.
    ///
    /// # Errors
    /// They are not within half a minute.
    pub fn befriend(&self, other: &Node) -> Result<()> {
        self.ctl(&["trust", &other.public_key])?;
        other.ctl(&["trust", &self.public_key])?;
        other.ctl(&["wait", "--for", &format!("direct:{}", self.name), "--timeout", "30s"])?;
        self.ctl(&["wait", "--for", &format!("direct:{}", other.name), "--timeout", "30s"])?;
        Ok(())
    }

    /// Runs pilotctl; gives what it printed.
    ///
    /// # Errors
    /// What it says.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String> {
        output(self.host.command(&self.pilotctl).arg("--socket").arg(&self.socket).args(arguments))
    }
}
