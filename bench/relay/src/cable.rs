//! Two hosts and a cable between them: the server at one end, both nodes at the other.

use pilot_bench_lab::{Host, Lab};

/// The server's address.
pub const SERVER: &str = "10.77.0.1";
/// The nodes' address.
pub const NODES: &str = "10.77.0.2";

/// The ends.
pub struct Cable {
    /// Where the server runs.
    pub server: Host,
    /// Where both nodes run.
    pub nodes: Host,
    _lab: Lab,
}

impl Cable {
    /// Makes both; needs root. Where the cable does not carry runs whole, the sender's kernel cuts them, and the
    /// receiver's joins them again, as with most network cards.
    pub fn new(carries_runs: bool) -> anyhow::Result<Cable> {
        let mut lab = Lab::new("relaybench");
        let (server, nodes) = (lab.host("server")?, lab.host("nodes")?);
        server.cable("wan", &nodes, "wan")?;
        for (host, address) in [(&server, SERVER), (&nodes, NODES)] {
            host.address("wan", &format!("{address}/24"))?;
            if !carries_runs {
                host.shell("ethtool -K wan tx-udp-segmentation off gro on rx-udp-gro-forwarding on")?;
            }
        }
        Ok(Cable { server, nodes, _lab: lab })
    }
}
