//! Peers that are trusted and never there.

use std::path::Path;
use std::time::{Duration, Instant};

use pilot::identity::{Identity, NodeId};
use pilot::peer::Grant;
use pilot::peer::record::{Change, PeerRecord, Via};
use pilot::store::Store;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use pilot_bench_lab::{Network, Node};

use crate::site::{self, Site};

/// How long the node may take to introduce itself to everybody, and to get quiet.
const SETTLE: Duration = Duration::from_secs(30);
/// How long the idle daemon is watched: more than a minute, for some things are done once in one.
const WATCHED: Duration = Duration::from_secs(70);

/// Prints what so many known peers cost, beside none.
pub fn measure(programs: &Path, count: u64) -> anyhow::Result<()> {
    println!(
        "{:>8} {:>10} {:>12} {:>10} {:>12} {:>14}",
        "known", "start s", "idle % core", "RSS KiB", "peers ms", "daemon CPU ms"
    );
    for count in [0, count] {
        row(programs, count)?;
    }
    Ok(())
}

fn row(programs: &Path, count: u64) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    remember(&folder.path().join(site::NAME), count)?;
    let site = Site::new()?;
    let network = Network { programs, dir: folder.path() };
    let (_server, url) = network.rendezvous(&site.host, site::ADDRESS)?;
    let node = network.node(&site.host, site::NAME, Some(&url), &[])?;
    std::thread::sleep(SETTLE);
    let start = site::cpu(&node)?;
    let load = site::load(&node, WATCHED)?;
    let rss = site::rss_kib(&node);
    let (wall, cpu) = listing(&node)?;
    println!("{count:>8} {start:>10.2} {:>12.2} {rss:>10.0} {wall:>12.0} {cpu:>14.0}", load * 100.0);
    Ok(())
}

/// Milliseconds of a listing: on the clock, and of the daemon's CPU time; means of ten.
fn listing(node: &Node) -> anyhow::Result<(f64, f64)> {
    let (start, before) = (Instant::now(), site::cpu(node)?);
    for _ in 0..10 {
        node.ctl(&["--json", "peers"])?;
    }
    Ok((start.elapsed().as_secs_f64() * 100.0, (site::cpu(node)? - before) * 100.0))
}

/// Writes so many trusted peers into a state folder.
fn remember(state: &Path, count: u64) -> anyhow::Result<()> {
    let (store, _) = Store::open(state)?;
    let mut rng = ChaCha20Rng::seed_from_u64(count);
    for number in 0..count {
        store.apply(&Change::PutPeer(PeerRecord {
            key: Identity::generate(&mut rng).public_key(),
            id: NodeId::from_u64(rng.next_u64() >> 16)?,
            hostname: Some(format!("peer-{number}").parse()?),
            since_unix_ms: 1_800_000_000_000,
            via: Via::Key,
            tunnel: None,
            initiation_floor: [0; 12],
            grant: Grant::All,
            expires_unix_ms: None,
        }))?;
    }
    Ok(())
}
