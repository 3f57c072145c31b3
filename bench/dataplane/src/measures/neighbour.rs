//! What traffic with one peer does to another: needs three nodes.

use super::ping::{beside, ping};
use super::{Measure, less, more, pair};
use crate::contenders::{End, Tunnel};
use crate::site::Topology;

use anyhow::{Context, Result};

/// One TCP stream to b, pings to c.
pub const NEIGHBOUR: Measure = Measure {
    name: "neighbour-loaded",
    title: "UDP echo a to c, 200 a second, beside one TCP stream a to b",
    topologies: &[Topology::Lan],
    is_first_only: false,
    figures: &[less("p50 µs", 0), less("p99 µs", 0), less("lost %", 2), more("Gbit/s beside", 2)],
    run: |tunnel, span| beside(tunnel, third(tunnel)?, span),
};

/// The same pings without the stream.
pub const NEIGHBOUR_ALONE: Measure = Measure {
    name: "neighbour-alone",
    title: "UDP echo a to c, 200 a second, nothing else",
    topologies: &[Topology::Lan],
    is_first_only: false,
    figures: &[less("p50 µs", 0), less("p99 µs", 0), less("lost %", 2)],
    run: |tunnel, span| {
        let (a, _) = pair(tunnel)?;
        Ok(ping(a, third(tunnel)?, span)?.to_vec())
    },
};

fn third(tunnel: &Tunnel) -> Result<&End> {
    tunnel.ends.get(2).context("it takes three nodes")
}
