//! Two real nodes on one cable: servers on one of them, subscribers on the other, everything through their tunnel.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::brokers::Brokers;
use crate::compare::{self, Broker, Plan};
use crate::lab::{Host, Lab, Server, output, until};
use crate::rivals::Name;

const RIVALS: [Name; 6] =
    [Name::Pilot, Name::PilotNodes, Name::NatsRaw, Name::NatsAsync, Name::RedisRaw, Name::RedisCrate];
/// Where the rendezvous server is.
const RENDEZVOUS: &str = "203.0.113.1";

/// Compares. The publisher is always on the node of the server.
///
/// # Errors
/// A node, a server or a measurement failed.
pub fn run(plan: Plan, programs: &Path) -> Result<()> {
    let plan = plan.settled(&RIVALS);
    let (lab, dir) = (Lab::new()?, tempfile::tempdir()?);
    let network = Network { programs, dir: dir.path() };
    let (_rendezvous, url) = network.rendezvous(&lab.servers)?;
    let (a, b) = (network.node(&lab.servers, "a", Some(&url))?, network.node(&lab.clients, "b", Some(&url))?);
    a.ctl(&["trust", &b.public_key])?;
    b.ctl(&["trust", &a.public_key])?;
    b.ctl(&["wait", "--for", "direct:a", "--timeout", "30s"])?;
    a.ctl(&["wait", "--for", "direct:b", "--timeout", "30s"])?;
    let mut brokers = Brokers::new(&lab.servers, a.address, dir.path());
    let mut known = BTreeMap::new();
    for rival in &plan.rivals {
        known.insert(*rival, broker(*rival, &mut brokers, &a, &b)?);
    }
    // The tunnel's work is in the nodes, whoever uses it: their processor time counts for every rival.
    compare::run(&plan, "through one Pilot tunnel, both pilotd counted as servers", &lab.clients, &known)
}

fn broker(rival: Name, brokers: &mut Brokers<'_>, a: &Node, b: &Node) -> Result<Broker> {
    let at = SocketAddr::new(a.address, rival.port()).to_string();
    let nodes = vec![a.server.pid(), b.server.pid()];
    let (socket, peer_socket) = (a.socket.display().to_string(), b.socket.display().to_string());
    let with = |pid: i32| nodes.iter().copied().chain([pid]).collect();
    Ok(match rival {
        Name::Pilot => Broker { subscribe_at: at, publish_at: socket, publish_from: None, pids: nodes },
        Name::PilotNodes => Broker { subscribe_at: peer_socket, publish_at: socket, publish_from: None, pids: nodes },
        Name::NatsRaw | Name::NatsAsync => remote(at, a, with(brokers.nats()?)),
        Name::RedisRaw | Name::RedisCrate => remote(at, a, with(brokers.redis()?)),
    })
}

fn remote(at: String, a: &Node, pids: Vec<i32>) -> Broker {
    Broker { subscribe_at: at.clone(), publish_at: at, publish_from: Some(a.host.namespace.clone()), pids }
}

/// Where our programs and their files are.
pub struct Network<'a> {
    /// pilotd and pilotctl.
    pub programs: &'a Path,
    /// States, sockets and logs.
    pub dir: &'a Path,
}

/// A node that runs.
pub struct Node {
    host: Host,
    address: IpAddr,
    public_key: String,
    /// Its local socket.
    pub socket: PathBuf,
    pilotctl: PathBuf,
    server: Server,
}

impl Network<'_> {
    fn pilotd(&self) -> PathBuf {
        self.programs.join("pilotd")
    }

    fn rendezvous(&self, host: &Host) -> Result<(Server, String)> {
        let state = self.dir.join("rendezvous");
        let arguments = ["rendezvous", "--advertise", RENDEZVOUS, "--state"];
        let url = output(Command::new(self.pilotd()).args(arguments).arg(&state).arg("--print-url"))?;
        let mut command = host.command(self.pilotd());
        command.args(arguments).arg(&state).args(["--listen", "0.0.0.0:9000"]);
        let server = host.spawn(command, &self.dir.join("rendezvous.log"))?;
        until("the rendezvous answers", || state.join("status.sock").exists())?;
        Ok((server, url.trim().to_owned()))
    }

    /// Starts a node and waits until it is ready; without a rendezvous it is a network of one.
    ///
    /// # Errors
    /// It does not start.
    pub fn node(&self, host: &Host, name: &str, rendezvous: Option<&str>) -> Result<Node> {
        let (state, socket) = (self.dir.join(name), self.dir.join(format!("{name}.sock")));
        let keys = output(Command::new(self.pilotd()).args(["keygen", "--json", "--state"]).arg(&state))?;
        let keys: Value = serde_json::from_str(&keys)?;
        let field = |name: &str| keys["data"][name].as_str().map(str::to_owned).context("keygen names it");
        let mut command = host.command(self.pilotd());
        command.args(["up", "--foreground", "--hostname", name, "--state"]).arg(&state);
        if let Some(url) = rendezvous {
            command.args(["--rendezvous", url]);
        }
        command.arg("--socket").arg(&socket);
        let server = host.spawn(command, &self.dir.join(format!("{name}.log")))?;
        let pilotctl = self.programs.join("pilotctl");
        let (address, public_key) = (field("ipv6")?.parse()?, field("public_key")?);
        let node = Node { host: host.clone(), address, public_key, socket, pilotctl, server };
        node.ctl(&["wait", "--for", "ready", "--timeout", "20s"])?;
        Ok(node)
    }
}

impl Node {
    /// Runs pilotctl; gives what it printed.
    ///
    /// # Errors
    /// What it says.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String> {
        output(self.host.command(&self.pilotctl).arg("--socket").arg(&self.socket).args(arguments))
    }
}
