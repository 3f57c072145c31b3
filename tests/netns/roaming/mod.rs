//! Faults of the network under a running ping and an open TCP stream: how long either side sees nothing.
//!
//! One round of each is in `make test`, with twice the time because the machine is shared; five with the limits that
//! count are in `make nat-matrix`.

mod fault;
mod idle;
pub mod ping;
mod stream;

use std::time::{Duration, Instant};

use crate::lab::{Lab, Nat, Node, Options, Rendezvous, befriend, until};
use fault::Fault;
use ping::Ping;
use stream::Stream;

/// Two homes whose nodes are connected, and two more gateways that they may move to.
pub struct Scene {
    /// The node that a fault happens to.
    pub a: Node,
    /// The other node.
    pub b: Node,
    _rendezvous: Rendezvous,
    /// Where they live; the gateways are called `a`, `b`, `a2` and `b2`.
    pub lab: Lab,
}

impl Scene {
    fn connected() -> Scene {
        let mut lab = Lab::new();
        let server = lab.public_host("rv");
        let (home_a, home_b) = (lab.home("a", Nat::PortRestricted), lab.home("b", Nat::PortRestricted));
        for (name, lan) in [("a2", "192.168.7"), ("b2", "10.20.30")] {
            lab.gateway(name, &lab.internet(), &Options { lan, ..Options::nat(Nat::PortRestricted) });
        }
        let rendezvous = lab.rendezvous(&server);
        let (a, b) = (lab.node(&home_a, "a", Some(&rendezvous)), lab.node(&home_b, "b", Some(&rendezvous)));
        befriend(&a, &b);
        a.ctl(&["wait", "--for", "direct:b", "--timeout", "10s"]);
        b.ctl(&["wait", "--for", "direct:a", "--timeout", "10s"]);
        Scene { a, b, _rendezvous: rendezvous, lab }
    }
}

/// What one fault did.
struct Seen {
    /// Seconds without a reply to the ping, counted as the fault's limit is.
    outage: f64,
    /// The longest silence in the TCP stream.
    stall: f64,
    /// Seconds until the path was direct again, where it became so.
    direct: Option<f64>,
}

/// How long a path is waited for that may become direct again.
const UPGRADE: Duration = Duration::from_secs(6);

fn endure(fault: Fault) -> Seen {
    let mut scene = Scene::connected();
    let ping = Ping::start(&scene.a, &scene.b, &scene.lab.path("ping"));
    let stream = Stream::open(&scene.a, &scene.b);
    until("the ping runs", Duration::from_secs(5), || ping.replies() >= 10);
    stream.advances(Duration::from_secs(5));
    let struck = Instant::now();
    let counted_from = fault.strike(&mut scene);
    let limit = Duration::from_secs(30);
    until("the ping is answered again", limit, || ping.is_answered_after(counted_from));
    if fault.spares_tcp() {
        stream.advances(limit);
    }
    let direct = fault.allows_direct().then(|| direct_again(&scene, struck)).flatten();
    Seen { outage: ping.outage(counted_from, fault.counts_from_return()), stall: stream.longest_silence(), direct }
}

fn direct_again(scene: &Scene, struck: Instant) -> Option<f64> {
    let is_direct = |node: &Node, other: &Node| node.peer(other)["path"] == "direct";
    let deadline = Instant::now() + UPGRADE;
    while Instant::now() < deadline {
        if is_direct(&scene.a, &scene.b) && is_direct(&scene.b, &scene.a) {
            return Some(struck.elapsed().as_secs_f64());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}

/// Runs a fault so often and asserts the median.
fn median_within(fault: Fault, rounds: usize, slack: f64) {
    let seen: Vec<Seen> = (0..rounds).map(|_| endure(fault)).collect();
    let mut outages: Vec<f64> = seen.iter().map(|seen| seen.outage).collect();
    outages.sort_by(f64::total_cmp);
    let median = outages[rounds / 2];
    for Seen { outage, stall, direct } in &seen {
        let direct = direct.map_or("not direct".to_owned(), |seconds| format!("direct after {seconds:.2} s"));
        println!("{fault:?}: ping silent {outage:.2} s, TCP silent {stall:.2} s, {direct}");
    }
    println!("{fault:?}: median {median:.2} s, limit {} s", fault.limit());
    assert!(median <= fault.limit() * slack, "{fault:?}: {median:.2} s");
}

macro_rules! faults {
    ($($name:ident $five:ident: $fault:expr;)*) => {$(
        #[test]
        fn $name() {
            median_within($fault, 1, 2.0);
        }

        #[test]
        #[ignore = "five rounds; run by `make nat-matrix`"]
        fn $five() {
            median_within($fault, 5, 1.0);
        }
    )*};
}

faults! {
    one_side_moves five_times_one_side_moves: Fault::OneMoves;
    both_sides_move five_times_both_sides_move: Fault::BothMove;
    a_gateway_reboots_with_another_address five_times_a_gateway_reboots_with_another_address: Fault::GatewayReboots;
    udp_is_blocked five_times_udp_is_blocked: Fault::UdpBlocked;
    a_link_is_down_for_three_seconds five_times_a_link_is_down_for_three_seconds: Fault::LinkFlaps;
    the_peer_restarts five_times_the_peer_restarts: Fault::PeerRestarts;
}
