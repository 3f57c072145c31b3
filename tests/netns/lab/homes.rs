//! The usual cast: two homes with a node each.

use std::time::{Duration, Instant};

use super::{Lab, Nat, Node, Options, Rendezvous, befriend, until};

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
        let mut homes = TwoHomes::running(&Options::nat(nat_a), &Options::nat(nat_b));
        assert!(homes.a.stop() && homes.b.stop(), "a node stops cleanly on SIGTERM");
        homes
    }

    /// Both nodes run and are connected directly.
    pub fn connected() -> TwoHomes {
        TwoHomes::connected_behind(&Options::nat(Nat::PortRestricted))
    }

    /// The same, behind two gateways like this.
    pub fn connected_behind(gateway: &Options) -> TwoHomes {
        let homes = TwoHomes::running(gateway, gateway);
        homes.a.ctl(&["wait", "--for", "direct:b", "--timeout", "10s"]);
        homes.b.ctl(&["wait", "--for", "direct:a", "--timeout", "10s"]);
        homes
    }

    fn running(gateway_a: &Options, gateway_b: &Options) -> TwoHomes {
        let mut lab = Lab::new();
        let server = lab.public_host("rv");
        let (home_a, home_b) = (lab.home_behind("a", gateway_a), lab.home_behind("b", gateway_b));
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
