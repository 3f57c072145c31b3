//! Two hosts on one cable.

use std::net::IpAddr;

use anyhow::Result;
use pilot_bench_lab::Host;

/// Two hosts and the cable between them. All of it goes away on drop.
pub struct Lab {
    /// Where servers run.
    pub servers: Host,
    /// The address of that host on the cable.
    pub servers_at: IpAddr,
    /// Where publishers and subscribers run.
    pub clients: Host,
    /// The address of that host on the cable.
    pub clients_at: IpAddr,
    _hosts: pilot_bench_lab::Lab,
}

impl Lab {
    /// Makes both; needs root.
    pub fn new() -> Result<Lab> {
        let mut hosts = pilot_bench_lab::Lab::new("bench");
        let (servers, clients) = (hosts.host("a")?, hosts.host("b")?);
        servers.cable("wan", &clients, "wan")?;
        for (host, last) in [(&servers, 1), (&clients, 2)] {
            host.address("wan", &format!("fd77::{last}/64"))?;
            host.address("wan", &format!("203.0.113.{last}/24"))?;
        }
        let address = |last: u16| IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, last]);
        Ok(Lab { servers, servers_at: address(1), clients, clients_at: address(2), _hosts: hosts })
    }
}
