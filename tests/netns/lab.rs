//! A small internet in network namespaces: a public segment, homes behind kernel NAT, and real daemons in them.
//!
//! Everything that a lab makes (namespaces, processes, files) goes away when the lab is dropped.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How a home's gateway translates addresses, in the terms of RFC 4787.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// Endpoint-independent mapping, address-and-port-dependent filtering: the ordinary home router.
    PortRestricted,
    /// A new random port for each destination: nothing can be predicted.
    Symmetric,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// One isolated internet.
pub struct Lab {
    prefix: String,
    namespaces: Vec<String>,
    /// Scratch files: states, logs, downloads.
    pub dir: tempfile::TempDir,
    public_hosts: u8,
}

/// A network namespace of the lab that programs run in.
#[derive(Clone)]
pub struct Host {
    /// Name of the namespace.
    pub namespace: String,
    /// Its IPv4 address on the segment it sits on.
    pub ip: String,
}

impl Lab {
    /// An empty internet: one Ethernet segment, 203.0.113.0/24.
    pub fn new() -> Lab {
        let prefix = format!("pilot{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = tempfile::tempdir().expect("a folder for the lab");
        let mut lab = Lab { prefix, namespaces: Vec::new(), dir, public_hosts: 0 };
        let net = lab.namespace("net");
        sh(&format!("ip -n {net} link add br0 type bridge && ip -n {net} link set br0 up"));
        lab
    }

    fn namespace(&mut self, name: &str) -> String {
        let full = format!("{}-{name}", self.prefix);
        sh(&format!("ip netns add {full} && ip -n {full} link set lo up"));
        self.namespaces.push(full.clone());
        full
    }

    /// Plugs `namespace` into the public segment under the next free address.
    fn plug_public(&mut self, namespace: &str) -> String {
        self.public_hosts += 1;
        let (net, n) = (format!("{}-net", self.prefix), self.public_hosts);
        let ip = format!("203.0.113.{n}");
        sh(&format!(
            "ip -n {net} link add p{n} type veth peer name wan netns {namespace} \
             && ip -n {net} link set p{n} master br0 up \
             && ip -n {namespace} addr add {ip}/24 dev wan && ip -n {namespace} link set wan up"
        ));
        ip
    }

    /// A host with a public address.
    pub fn public_host(&mut self, name: &str) -> Host {
        let namespace = self.namespace(name);
        let ip = self.plug_public(&namespace);
        Host { namespace, ip }
    }

    /// A home: a gateway with the given NAT and one host, 192.168.1.2, behind it.
    /// All homes use the same private addresses, as homes do.
    pub fn home(&mut self, name: &str, nat: Nat) -> Host {
        let gateway = self.namespace(&format!("{name}-gw"));
        let wan = self.plug_public(&gateway);
        sh(&format!(
            "ip -n {gateway} link add lan type bridge && ip -n {gateway} addr add 192.168.1.1/24 dev lan \
             && ip -n {gateway} link set lan up \
             && ip netns exec {gateway} sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=0 2>/dev/null \
             || ip netns exec {gateway} sysctl -qw net.ipv4.ip_forward=1"
        ));
        let translate = match nat {
            Nat::PortRestricted => "masquerade".to_owned(),
            Nat::Symmetric => "masquerade random,fully-random".to_owned(),
        };
        let rules = format!(
            r#"
            table ip nat {{
                chain leaving {{
                    type nat hook postrouting priority srcnat
                    oifname "wan" {translate}
                }}
            }}
            table ip guard {{
                chain unasked {{
                    type filter hook input priority 0
                    iifname "wan" ct state new drop
                }}
                chain through {{
                    type filter hook forward priority 0
                    iifname "wan" ct state new drop
                }}
            }}
            "#
        );
        nft(&gateway, &rules);
        let host = self.plug_lan(name, &gateway, 2);
        let _ = wan;
        host
    }

    /// Another host on the LAN of the home `home`, with the last octet `octet`.
    pub fn neighbour(&mut self, home: &str, name: &str, octet: u8) -> Host {
        let gateway = format!("{}-{home}-gw", self.prefix);
        self.plug_lan(name, &gateway, octet)
    }

    fn plug_lan(&mut self, name: &str, gateway: &str, octet: u8) -> Host {
        let namespace = self.namespace(name);
        let ip = format!("192.168.1.{octet}");
        sh(&format!(
            "ip -n {gateway} link add l{octet} type veth peer name eth0 netns {namespace} \
             && ip -n {gateway} link set l{octet} master lan up \
             && ip -n {namespace} addr add {ip}/24 dev eth0 && ip -n {namespace} link set eth0 up \
             && ip -n {namespace} route add default via 192.168.1.1"
        ));
        Host { namespace, ip }
    }

    /// A word that no other lab on this machine uses.
    pub fn unique(&self) -> &str {
        self.prefix.trim_start_matches("pilot")
    }

    /// A path inside the lab's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a rendezvous server on `host`.
    pub fn rendezvous(&self, host: &Host) -> Rendezvous {
        let state = self.path("rendezvous");
        let url = output(
            Command::new(program("pilotd"))
                .args(["rendezvous", "--advertise", &host.ip, "--print-url", "--state"])
                .arg(&state),
        );
        let mut server = Rendezvous { host: host.clone(), state, url: url.trim().to_owned(), process: None };
        server.start();
        server
    }

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
            process: None,
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in self.namespaces.iter().rev() {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}

impl Host {
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

/// A child process, ended by SIGTERM and then SIGKILL when dropped.
pub struct Process(Child);

impl Process {
    /// The process ID.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Whether it has ended by itself with exit code 0.
    pub fn succeeded(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some_and(|status| status.success()))
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, name: &str) {
        output(Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]));
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Asks it to end and waits; true when it ended by itself with exit code 0.
    pub fn terminate(&mut self) -> bool {
        let _ = Command::new("kill").args(["-TERM", &self.id().to_string()]).status();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.0.try_wait() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.terminate();
        }
    }
}

/// A rendezvous server under test.
pub struct Rendezvous {
    host: Host,
    /// Its state folder.
    pub state: PathBuf,
    /// What nodes are given.
    pub url: String,
    process: Option<Process>,
}

impl Rendezvous {
    /// Starts it and waits until it answers on its status socket.
    pub fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.state.with_extension("log")).expect("a log file");
        let child = self
            .host
            .command(program("pilotd"))
            .args(["rendezvous", "--listen", "0.0.0.0:9000", "--advertise", &self.host.ip, "--state"])
            .arg(&self.state)
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
    process: Option<Process>,
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

    /// What this node says of the peer `other`.
    pub fn peer(&self, other: &Node) -> Value {
        let data = self.ctl(&["peers"]);
        let peers = data["peers"].as_array().cloned().unwrap_or_default();
        peers.into_iter().find(|peer| peer["node_id"] == other.id.as_str()).unwrap_or(Value::Null)
    }

    /// Whether the kernel's ping over the overlay is answered within a second.
    pub fn pings(&self, other: &Node) -> bool {
        self.host.try_run(&format!("ping -6 -c1 -W1 -n {}", other.ipv6))
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

/// Two homes behind NATs, a public rendezvous, and a node in each home; the nodes trust each other.
pub struct TwoHomes {
    /// The public server.
    pub rendezvous: Rendezvous,
    /// The node of the first home.
    pub a: Node,
    /// The node of the second home.
    pub b: Node,
    /// Where they live.
    pub lab: Lab,
}

impl TwoHomes {
    /// Both nodes are stopped.
    pub fn new(nat_a: Nat, nat_b: Nat) -> TwoHomes {
        let mut homes = TwoHomes::running(nat_a, nat_b);
        assert!(homes.a.stop() && homes.b.stop(), "a node stops cleanly on SIGTERM");
        homes
    }

    /// Both nodes run and are connected directly.
    pub fn connected() -> TwoHomes {
        let homes = TwoHomes::running(Nat::PortRestricted, Nat::PortRestricted);
        homes.a.ctl(&["wait", "--for", "direct:b", "--timeout", "10s"]);
        homes.b.ctl(&["wait", "--for", "direct:a", "--timeout", "10s"]);
        homes
    }

    fn running(nat_a: Nat, nat_b: Nat) -> TwoHomes {
        let mut lab = Lab::new();
        let server = lab.public_host("rv");
        let (home_a, home_b) = (lab.home("a", nat_a), lab.home("b", nat_b));
        let rendezvous = lab.rendezvous(&server);
        let (a, b) = (lab.node(&home_a, "a", Some(&rendezvous)), lab.node(&home_b, "b", Some(&rendezvous)));
        befriend(&a, &b);
        TwoHomes { rendezvous, a, b, lab }
    }

    /// Both daemons start at once; gives the seconds until the kernel's ping is answered.
    pub fn up_to_first_reply(&mut self) -> f64 {
        let started = Instant::now();
        self.a.launch();
        self.b.launch();
        let ping = format!("ping -6 -c1 -W1 -n {}", self.b.ipv6);
        until("the first reply", Duration::from_secs(10), || self.a.host.try_run(&ping));
        started.elapsed().as_secs_f64()
    }
}

/// Three homes behind NATs with the agents of the articles, who trust each other.
pub struct Agents {
    /// `market-monitor-node`.
    pub monitor: Node,
    /// `execution-worker-alpha`.
    pub alpha: Node,
    /// `worker-node`.
    pub worker: Node,
    /// The public server.
    pub rendezvous: Rendezvous,
    /// Where they live.
    pub lab: Lab,
}

impl Agents {
    /// All run and are connected.
    pub fn connected() -> Agents {
        let agents = Agents::strangers();
        for (one, other) in agents.pairs() {
            befriend(one, other);
        }
        for (one, other) in agents.pairs() {
            one.ctl(&["wait", "--for", &other.name, "--timeout", "15s"]);
            other.ctl(&["wait", "--for", &one.name, "--timeout", "15s"]);
        }
        agents
    }

    /// All run, and nobody trusts anybody.
    pub fn strangers() -> Agents {
        let mut lab = Lab::new();
        let server = lab.public_host("rv");
        let homes = ["m", "a", "w"].map(|name| lab.home(name, Nat::PortRestricted));
        let rendezvous = lab.rendezvous(&server);
        let [monitor, alpha, worker] = homes;
        Agents {
            monitor: lab.node(&monitor, "market-monitor-node", Some(&rendezvous)),
            alpha: lab.node(&alpha, "execution-worker-alpha", Some(&rendezvous)),
            worker: lab.node(&worker, "worker-node", Some(&rendezvous)),
            rendezvous,
            lab,
        }
    }

    fn pairs(&self) -> [(&Node, &Node); 3] {
        [(&self.monitor, &self.alpha), (&self.monitor, &self.worker), (&self.alpha, &self.worker)]
    }
}

/// Makes two running nodes trust each other, each naming the other's ID.
pub fn befriend(a: &Node, b: &Node) {
    a.ctl(&["trust", &b.public_key]);
    b.ctl(&["trust", &a.public_key]);
}

/// Where one of our programs is: what the test was built with, or beside the running example.
pub fn program(name: &str) -> PathBuf {
    let built = match name {
        "pilotd" => option_env!("CARGO_BIN_EXE_pilotd"),
        _ => option_env!("CARGO_BIN_EXE_pilotctl"),
    };
    built.map(PathBuf::from).unwrap_or_else(|| {
        let example = std::env::current_exe().expect("the path of this program");
        example.ancestors().nth(2).expect("target/PROFILE/examples").join(name)
    })
}

fn ctl_command(host: &Host, socket: &Path) -> Command {
    let mut command = host.command(program("pilotctl"));
    command.arg("--socket").arg(socket).stdin(Stdio::null());
    command
}

/// Waits until `condition` holds; fails the test with `what` when it does not within `limit`.
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a command to its end and gives its standard output; fails the test when it fails.
pub fn output(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("the program starts");
    assert!(
        status.success(),
        "{command:?}: {status}\n{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    String::from_utf8_lossy(&stdout).into_owned()
}

/// Parses JSON; fails the test when it is none.
pub fn json(text: &str) -> Value {
    serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("no JSON ({error}): {text:?}"))
}

fn sh(line: &str) {
    output(Command::new("sh").args(["-ec", line]));
}

fn nft(namespace: &str, rules: &str) {
    use std::io::Write;
    let mut child = Command::new("ip")
        .args(["netns", "exec", namespace, "nft", "-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("nft starts");
    child.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("nft reads");
    assert!(child.wait().expect("nft ends").success(), "nft refused:\n{rules}");
}
