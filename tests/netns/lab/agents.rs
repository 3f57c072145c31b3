//! The cast of the articles: three homes with a node each.

use super::{Lab, Nat, Node, Rendezvous, befriend};

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
