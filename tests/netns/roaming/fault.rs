//! What happens to a network, and how soon it must not matter any more.

use std::time::{Duration, SystemTime};

use super::Scene;

/// Something that happens to a running connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A's host is on another LAN behind another gateway, with another address.
    OneMoves,
    /// Both hosts are.
    BothMove,
    /// A's gateway has forgotten everything and has another public address.
    GatewayReboots,
    /// A's gateway lets no UDP through any more.
    UdpBlocked,
    /// A's cable is out for three seconds.
    LinkFlaps,
    /// B's daemon is stopped and started.
    PeerRestarts,
}

impl Fault {
    /// The longest outage in seconds, as the median of several.
    pub fn limit(self) -> f64 {
        match self {
            Fault::OneMoves => 1.5,
            Fault::BothMove | Fault::GatewayReboots => 3.0,
            Fault::UdpBlocked => 5.0,
            Fault::LinkFlaps => 1.0,
            Fault::PeerRestarts => 2.0,
        }
    }

    /// Whether the outage is counted from when the network is back, not from the last reply.
    pub fn counts_from_return(self) -> bool {
        self == Fault::LinkFlaps
    }

    /// Whether an open TCP connection goes on: only a restart of the overlay's end may cut it.
    pub fn spares_tcp(self) -> bool {
        self != Fault::PeerRestarts
    }

    /// Whether a direct path is possible afterwards.
    pub fn allows_direct(self) -> bool {
        self != Fault::UdpBlocked
    }

    /// Makes it happen; gives the moment from which replies count as coming after it.
    pub fn strike(self, scene: &mut Scene) -> SystemTime {
        let from = SystemTime::now();
        match self {
            Fault::OneMoves => scene.move_node("a"),
            Fault::BothMove => {
                scene.move_node("a");
                scene.move_node("b");
            }
            Fault::GatewayReboots => scene.lab.gateway_of("a").clone().reboot_as("31.7.0.99"),
            Fault::UdpBlocked => scene.lab.gateway_of("a").clone().let_udp_through(false),
            Fault::LinkFlaps => return scene.flap(),
            Fault::PeerRestarts => {
                assert!(scene.b.stop(), "a node stops cleanly on SIGTERM");
                scene.b.launch();
            }
        }
        from
    }
}

impl Scene {
    fn move_node(&mut self, name: &str) {
        let there = self.lab.gateway_of(&format!("{name}2")).lan.clone();
        let host = if name == "a" { self.a.host.clone() } else { self.b.host.clone() };
        self.lab.move_host(&host, &there);
    }

    /// The host keeps its addresses and loses the carrier, as with a cable that is pulled.
    fn flap(&self) -> SystemTime {
        let gateway = self.lab.gateway_of("a").host();
        gateway.run("ip link set p2 down");
        std::thread::sleep(Duration::from_secs(3));
        gateway.run("ip link set p2 up");
        SystemTime::now()
    }
}
