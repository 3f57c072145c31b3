//! A node under test: its daemon, its state, and what a user of its machine does and sees.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Host, Lab, Process, Rendezvous, ctl_command, json, output, program};

/// A node under test.
pub struct Node {
    /// Where it runs.
    pub host: Host,
    /// Its hostname.
    pub name: String,
    /// Its node ID.
    pub id: String,
    /// Its overlay address.
    pub ipv6: String,
    /// Its public key.
    pub public_key: String,
    /// Its local socket.
    pub socket: PathBuf,
    /// Its state folder.
    pub state: PathBuf,
    /// Where its log goes.
    pub log: PathBuf,
    /// What it is started with, beside state and socket.
    pub arguments: Vec<String>,
    /// What its environment has beside ours.
    pub environment: Vec<(String, String)>,
    process: Option<Process>,
}

impl Lab {
    /// Makes an identity for a node and starts it on `host`.
    pub fn node(&self, host: &Host, name: &str, rendezvous: Option<&Rendezvous>) -> Node {
        let mut node = self.stopped_node(host, name, rendezvous);
        node.start();
        node
    }

    /// A node whose identity exists but whose daemon does not run yet.
    pub fn stopped_node(&self, host: &Host, name: &str, rendezvous: Option<&Rendezvous>) -> Node {
        let state = self.path(name);
        let keys = json(&output(Command::new(program("pilotd")).args(["keygen", "--json", "--state"]).arg(&state)));
        let field = |name: &str| keys["data"][name].as_str().expect("keygen names it").to_owned();
        let mut arguments = vec!["--hostname".to_owned(), name.to_owned()];
        if let Some(server) = rendezvous {
            arguments.extend(["--rendezvous".to_owned(), server.url.clone()]);
        }
        Node {
            host: host.clone(),
            name: name.to_owned(),
            id: field("node_id"),
            ipv6: field("ipv6"),
            public_key: field("public_key"),
            socket: self.path(&format!("{name}.sock")),
            log: self.path(&format!("{name}.log")),
            state,
            arguments,
            environment: Vec::new(),
            process: None,
        }
    }
}

impl Node {
    /// Starts the daemon without waiting for anything.
    pub fn launch(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log file");
        let child = self
            .host
            .command(program("pilotd"))
            .args(["up", "--foreground", "--state"])
            .arg(&self.state)
            .arg("--socket")
            .arg(&self.socket)
            .args(&self.arguments)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("pilotd up starts");
        self.process = Some(Process(child));
    }

    /// Starts the daemon and waits until it is ready.
    pub fn start(&mut self) {
        self.launch();
        self.ctl(&["wait", "--for", "ready", "--timeout", "20s"]);
    }

    /// The process of its daemon.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Kills the daemon, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops the daemon as a supervisor does; true when it ended cleanly.
    pub fn stop(&mut self) -> bool {
        self.process.take().is_some_and(|mut process| process.terminate())
    }

    /// Runs `pilotctl --json` and gives `.data`; fails the test on an error.
    pub fn ctl(&self, arguments: &[&str]) -> Value {
        match self.try_ctl(arguments) {
            Ok(data) => data,
            Err(error) => panic!("{}: pilotctl {}: {error}\n{}", self.name, arguments.join(" "), self.read_log()),
        }
    }

    /// Runs `pilotctl --json` and gives `.data`, or the whole error answer.
    pub fn try_ctl(&self, arguments: &[&str]) -> Result<Value, Value> {
        let out = ctl_command(&self.host, &self.socket).arg("--json").args(arguments).output().expect("pilotctl runs");
        let text = String::from_utf8_lossy(&out.stdout);
        let answer = json(text.lines().last().unwrap_or_default());
        match answer["status"].as_str() {
            Some("ok") if out.status.success() => Ok(answer["data"].clone()),
            _ => Err(answer),
        }
    }

    /// What `pilotctl --json` says, where the daemon answers and the verb succeeds.
    pub fn look(&self, arguments: &[&str]) -> Option<Value> {
        let out = ctl_command(&self.host, &self.socket).arg("--json").args(arguments).output().ok()?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let answer: Value = serde_json::from_str(text.lines().last()?).ok()?;
        (out.status.success() && answer["status"] == "ok").then(|| answer["data"].clone())
    }

    /// What this node says of the peer `other`.
    pub fn peer(&self, other: &Node) -> Value {
        let data = self.ctl(&["peers"]);
        let peers = data["peers"].as_array().cloned().unwrap_or_default();
        peers.into_iter().find(|peer| peer["node_id"] == other.id.as_str()).unwrap_or(Value::Null)
    }

    /// Whether the kernel's ping over the overlay is answered within a second.
    pub fn pings(&self, other: &Node) -> bool {
        self.pings_within(other, 1.0)
    }

    /// Whether the kernel's ping over the overlay is answered within so many seconds.
    pub fn pings_within(&self, other: &Node, seconds: f64) -> bool {
        self.host.try_run(&format!("ping -6 -c1 -W{seconds} -n {}", other.ipv6))
    }

    /// A shell line as a user of this node types it: our programs in PATH, the node's socket in the environment.
    pub fn shell(&self, line: &str) -> Command {
        let mut command = self.host.command("sh");
        let programs = program("pilotctl").parent().expect("a folder").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        command.args(["-ec", line]).env("PATH", format!("{programs}:{path}"));
        command.env("PILOT_SOCKET", &self.socket).env("PILOT_STATE", &self.state);
        command.stdin(Stdio::null());
        command
    }

    /// What a line of a user prints; fails the test when it fails.
    pub fn says(&self, line: &str) -> String {
        output(&mut self.shell(line))
    }

    /// Whether a line of a user succeeds.
    pub fn tries(&self, line: &str) -> bool {
        self.shell(line).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("sh runs").success()
    }

    /// Starts a line of a user whose output goes to a file, until the handle is dropped.
    pub fn runs(&self, line: &str, to: &Path) -> Process {
        let file = File::create(to).expect("a file for the output");
        let errors = file.try_clone().expect("the same file");
        let mut command = self.shell(&format!("exec {line}"));
        Process(command.stdout(file).stderr(errors).spawn().expect("sh runs"))
    }

    /// The daemon's log so far.
    pub fn read_log(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = File::open(&self.log) {
            let _ = file.read_to_string(&mut text);
        }
        text
    }

    /// A counter of datagrams or packets that were refused for `reason`.
    pub fn drops(&self, reason: &str) -> u64 {
        self.ctl(&["status"])["drops"][reason].as_u64().unwrap_or(0)
    }
}
