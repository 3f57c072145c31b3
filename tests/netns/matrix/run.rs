//! One row measured: both daemons start at once, one side pings, and everything that can be seen is timed.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::couple;
use super::oracle::{Feasible, Pair};
use crate::lab::{Gateway, Lab, Nat, Node, Options, Place, peak_of_flows, program};

/// No gateway may have more open UDP flows at once.
pub const FLOWS: usize = 1500;
/// The server's second address: beyond what the lab gives out.
const SECOND: &str = "31.7.1.1";
/// A row without a direct path is watched so long after its first reply.
const SETTLED: f64 = 3.0;
/// How long a search may take where there is nothing to find, before that is said.
const SEARCH: Duration = Duration::from_secs(15);
/// The longest wait for a first reply.
const PATIENCE: f64 = 20.0;

/// What one run of a row showed.
pub struct Run {
    /// Seconds from the start of both daemons to the first reply of the kernel's ping.
    pub reply: Option<f64>,
    /// Seconds until each side calls its path direct.
    pub direct: [Option<f64>; 2],
    /// What each side says about its path: a code of `pilotctl why`.
    pub why: [Option<String>; 2],
    /// The most UDP flows that each gateway had open at once.
    pub flows: Vec<usize>,
    /// Both logs and the gateways' tables by name, for a failure.
    pub traces: Vec<(String, String)>,
}

impl Run {
    /// When both sides were direct.
    pub fn both_direct(&self) -> Option<f64> {
        Some(self.direct[0]?.max(self.direct[1]?))
    }

    /// Whether both sides were direct in time.
    pub fn in_time(&self, feasible: Feasible) -> bool {
        feasible == Feasible::No || self.both_direct().is_some_and(|seconds| seconds <= feasible.limit())
    }

    /// What is wrong with this run whatever the others show.
    pub fn faults(&self, pair: Pair) -> Vec<String> {
        let mut faults = Vec::new();
        if self.reply.is_none() {
            faults.push("not connected".to_owned());
        }
        let most = self.flows.iter().copied().max().unwrap_or(0);
        if most > FLOWS {
            faults.push(format!("{most} flows open on a gateway"));
        }
        faults.extend(self.untrue_reasons(pair));
        faults
    }

    /// Reasons that are not the true one; a side that has become direct says so.
    fn untrue_reasons(&self, pair: Pair) -> Vec<String> {
        let truth = |side: usize| if self.direct[side].is_some() { "direct" } else { pair.true_reason(side) };
        let wrong = (0..2).filter(|side| self.why[*side].as_deref() != Some(truth(*side)));
        let wrong = wrong.filter(|_| says_why() && self.reply.is_some());
        wrong.map(|side| format!("{} says {:?}, not {:?}", ["a", "b"][side], self.why[side], truth(side))).collect()
    }
}

/// Builds the networks of a row and measures it once.
pub fn run(pair: Pair) -> Run {
    let mut lab = Lab::new();
    let public = lab.internet();
    let server = lab.host("rv", &public);
    // Only with two addresses can it see whether a mapping depends on the address.
    let rendezvous = lab.rendezvous_at(&server, &[SECOND]);
    let places = build(&mut lab, pair);
    let nodes = couple::settle(&lab, [&places[0], &places[1]], &rendezvous);
    let run = measure(nodes, &places, pair.feasible());
    drop(rendezvous);
    run
}

fn build(lab: &mut Lab, pair: Pair) -> [Place; 2] {
    let ordinary = Options::nat(Nat::PortRestricted);
    match pair {
        Pair::Apart(a, b) => [lab.place("a", a), lab.place("b", b)],
        Pair::SameLan(nat) => {
            let gateway = lab.gateway("home", &lab.internet(), &Options::nat(nat));
            ["a", "b"].map(|name| lab.place_on(name, &gateway))
        }
        Pair::SameCarrier(nat) => {
            let carrier = lab.gateway("carrier", &lab.internet(), &Options::carrier(nat));
            ["a", "b"].map(|name| lab.place_below(name, &carrier, &ordinary))
        }
        Pair::InnerAndOuter => {
            let outer = lab.gateway("home", &lab.internet(), &ordinary);
            let inner = Options { lan: "192.168.2", ..ordinary };
            [lab.place_on("a", &outer), lab.place_below("b", &outer, &inner)]
        }
    }
}

fn measure(mut nodes: [Node; 2], places: &[Place; 2], feasible: Feasible) -> Run {
    let started = Instant::now();
    nodes.iter_mut().for_each(Node::launch);
    let (reply, direct, over) = (Mutex::new(None), [Mutex::new(None), Mutex::new(None)], AtomicBool::new(false));
    let seconds = || started.elapsed().as_secs_f64();
    let [a, b] = &nodes;
    let gateways: Vec<Gateway> = places.iter().flat_map(|place| place.gateways.clone()).collect();
    let flows = std::thread::scope(|scope| {
        let watchers: Vec<_> = gateways.iter().map(|gateway| scope.spawn(|| peak_of_flows(gateway, &over))).collect();
        scope.spawn(|| note(&reply, &over, &seconds, || a.pings_within(b, 0.3)));
        scope.spawn(|| note(&direct[0], &over, &seconds, || is_direct(a, b)));
        scope.spawn(|| note(&direct[1], &over, &seconds, || is_direct(b, a)));
        let seen = |one: &Mutex<Option<f64>>| *one.lock().expect("no panic");
        while !finished(seconds(), seen(&reply), [seen(&direct[0]), seen(&direct[1])], feasible) {
            std::thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Ordering::Relaxed);
        watchers.into_iter().map(|watcher| watcher.join().expect("a watcher ends")).collect()
    });
    let patience = if feasible == Feasible::No { SEARCH } else { Duration::ZERO };
    let why = [reason(a, b, patience), reason(b, a, patience)];
    let logs = nodes.iter().map(|node| (format!("{}.log", node.name), node.read_log()));
    let tables = gateways.iter().enumerate().map(|(nth, gateway)| (format!("{nth}.conntrack"), gateway.table()));
    let traces = logs.chain(tables).collect();
    let direct = direct.map(|one| one.into_inner().expect("no panic"));
    Run { reply: reply.into_inner().expect("no panic"), direct, why, flows, traces }
}

/// Whether nothing more can come of it.
fn finished(now: f64, reply: Option<f64>, direct: [Option<f64>; 2], feasible: Feasible) -> bool {
    let Some(first) = reply else { return now > PATIENCE };
    match feasible {
        Feasible::No => now > first + SETTLED,
        _ => direct.iter().all(Option::is_some) || now > 2.0 * feasible.limit(),
    }
}

/// Notes when something is true for the first time.
fn note(at: &Mutex<Option<f64>>, over: &AtomicBool, seconds: &impl Fn() -> f64, is_true: impl Fn() -> bool) {
    while !over.load(Ordering::Relaxed) {
        if is_true() {
            *at.lock().expect("no panic") = Some(seconds());
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is_direct(node: &Node, other: &Node) -> bool {
    node.look(&["peers"]).is_some_and(|data| {
        let peers = data["peers"].as_array().cloned().unwrap_or_default();
        peers.iter().any(|peer| peer["node_id"] == other.id.as_str() && peer["path"] == "direct")
    })
}

/// What `node` says about its path to `other`: the code of `pilotctl why`, once it is more than that it still searches.
fn reason(node: &Node, other: &Node, patience: Duration) -> Option<String> {
    let deadline = Instant::now() + patience;
    loop {
        let data: Value = node.look(&["why", &other.id])?;
        let code = data["reason"].as_str().map(str::to_owned);
        if code.as_deref() != Some("searching") || Instant::now() > deadline {
            return code;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether this pilotctl can say why at all.
fn says_why() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        Command::new(program("pilotctl")).args(["why", "--help"]).output().is_ok_and(|out| out.status.success())
    })
}
