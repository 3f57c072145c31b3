//! No tunnel: the cable itself.

use anyhow::Result;

use super::{Contender, End, Role, Tunnel};
use crate::site::{Place, Site};

/// The cable itself, with its own MTU of 1500.
pub const VETH: Contender =
    Contender { name: "veth", role: Role::Bare, is_a_mesh: true, version: |_| Some(String::new()), start };

fn start(site: &Site) -> Result<Tunnel> {
    let end = |place: &Place| End { host: place.host.clone(), address: place.address.into(), daemon: None };
    Ok(Tunnel::new(site.places.iter().map(end).collect()))
}
