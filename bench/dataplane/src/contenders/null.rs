//! A tunnel without a cipher, made of the same offloads: the floor.

use anyhow::Result;

use super::{Contender, End, MTU, Role, Tunnel, inside};
use crate::site::Site;

/// The port outside.
const PORT: u16 = 51821;

/// `null.rs` beside this package.
pub const NULL: Contender = Contender {
    name: "null",
    role: Role::Floor,
    is_a_mesh: false,
    version: |programs| programs.join("examples/null_tunnel").exists().then(|| "this tree's".to_owned()),
    start,
};

fn start(site: &Site) -> Result<Tunnel> {
    let mut tunnel = Tunnel::new(Vec::new());
    for place in [0, 1] {
        let (here, there) = (&site.places[place], &site.places[1 - place]);
        let name = format!("null{place}");
        let mut command = here.host.command(site.programs.join("examples/null_tunnel"));
        let peer = format!("{}:{PORT}", there.address);
        command.args([name.clone(), inside(place).to_string(), PORT.to_string(), peer]);
        let daemon = here.host.spawn(command, &site.dir.join(format!("{name}.log")))?;
        tunnel.ends.push(End { host: here.host.clone(), address: inside(place).into(), daemon: Some(daemon) });
        debug_assert_eq!(MTU, 1420, "the null tunnel's");
    }
    Ok(tunnel)
}
