//! The host of the measured node, and what the kernel says of it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use pilot_bench_lab::{Cpu, Host, Lab, Node, resident_mib};

/// What the node is called.
pub const NAME: &str = "node";
/// Where it and its rendezvous are.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1));

/// A host with a cable and a way out by it, at whose end nobody answers.
pub struct Site {
    /// Where the node runs.
    pub host: Host,
    _lab: Lab,
}

impl Site {
    /// Another one; needs root.
    pub fn new() -> anyhow::Result<Site> {
        let mut lab = Lab::new("peers");
        let (host, end) = (lab.host("host")?, lab.host("end")?);
        host.cable("cable", &end, "cable")?;
        host.address("cable", &format!("{ADDRESS}/24"))?;
        host.shell("ip route add default via 10.99.0.2")?;
        Ok(Site { host, _lab: lab })
    }
}

/// Processor time of a node until now, seconds.
pub fn cpu(node: &Node) -> anyhow::Result<f64> {
    Ok(Cpu::now(&[node.server.pid()])?.servers)
}

/// The same over so long, as a share of one core.
pub fn load(node: &Node, time: Duration) -> anyhow::Result<f64> {
    let before = cpu(node)?;
    std::thread::sleep(time);
    Ok((cpu(node)? - before) / time.as_secs_f64())
}

/// Resident memory, KiB.
pub fn rss_kib(node: &Node) -> f64 {
    resident_mib(&[node.server.pid()]) * 1024.0
}
