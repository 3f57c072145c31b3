//! Debian's nebula, tuned as its users are told to: large socket buffers and batches. Inside it knows IPv4 only.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Result;
use pilot_bench_lab::shell;

use super::{Contender, End, MTU, Role, Tunnel, says};
use crate::site::{Place, Site};

/// Debian's nebula.
pub const NEBULA: Contender =
    Contender { name: "nebula", role: Role::Rival, is_a_mesh: false, version: |_| says("nebula", "-version"), start };

/// The port outside.
const PORT: u16 = 4242;

fn start(site: &Site) -> Result<Tunnel> {
    let dir = site.dir.display();
    shell(&format!("cd {dir} && nebula-cert ca -name bench"))?;
    let map: Vec<String> = site.places.iter().enumerate().map(|(place, at)| known(place, at)).collect();
    let mut ends = Vec::new();
    for (place, (at, name)) in site.places.iter().zip(["a", "b"]).enumerate() {
        let address = inside(place);
        shell(&format!("cd {dir} && nebula-cert sign -name {name} -ip {address}/24"))?;
        let config = site.dir.join(format!("{name}.yml"));
        std::fs::write(&config, configuration(&site.dir, name, &map))?;
        let mut command = at.host.command("nebula");
        command.arg("-config").arg(&config);
        let daemon = at.host.spawn(command, &site.dir.join(format!("{name}.log")))?;
        ends.push(End { host: at.host.clone(), address: address.into(), daemon: Some(daemon) });
    }
    Ok(Tunnel::new(ends))
}

fn inside(place: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, place as u8 + 1)
}

fn known(place: usize, at: &Place) -> String {
    format!("  \"{}\": [\"{}:{PORT}\"]\n", inside(place), at.address)
}

fn configuration(dir: &Path, name: &str, map: &[String]) -> String {
    let (dir, map) = (dir.display(), map.concat());
    format!(
        "pki: {{ca: {dir}/ca.crt, cert: {dir}/{name}.crt, key: {dir}/{name}.key}}
static_host_map:
{map}lighthouse: {{am_lighthouse: false}}
listen: {{host: 0.0.0.0, port: {PORT}, batch: 64, read_buffer: 10485760, write_buffer: 10485760}}
cipher: aes
tun: {{dev: nebula, mtu: {MTU}, tx_queue: 500}}
logging: {{level: warning}}
firewall:
  outbound: [{{port: any, proto: any, host: any}}]
  inbound: [{{port: any, proto: any, host: any}}]
"
    )
}
