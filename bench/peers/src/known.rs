//! Peers that are trusted and never there.

use std::path::Path;
use std::time::{Duration, Instant};

use pilot::identity::{Identity, NodeId};
use pilot::peer::record::{Change, PeerRecord, Via};
use pilot::store::Store;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use crate::daemon::{Daemon, text};

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
    let state = folder.path().join("state");
    remember(&state, count)?;
    let url = rendezvous_url(programs, &folder.path().join("rendezvous"))?;
    let server = folder.path().join("rendezvous");
    let arguments = ["rendezvous", "--state", text(&server)?, "--advertise", "127.0.0.1"];
    let _server = Daemon::start(programs, &server.join("status.sock"), &arguments, &folder.path().join("server.log"))?;
    let socket = folder.path().join("pilotd.sock");
    let arguments = ["up", "--foreground", "--state", text(&state)?, "--socket", text(&socket)?, "--rendezvous", &url];
    let daemon = Daemon::start(programs, &socket, &arguments, &folder.path().join("log"))?;
    daemon.ready()?;
    std::thread::sleep(SETTLE);
    let started = daemon.cpu()?;
    let load = daemon.load(WATCHED)?;
    let rss = daemon.rss()?;
    let (wall, cpu) = listing(&daemon)?;
    let start = started.as_secs_f64();
    println!("{count:>8} {start:>10.2} {:>12.2} {rss:>10} {wall:>12.0} {cpu:>14.0}", load * 100.0);
    Ok(())
}

fn rendezvous_url(programs: &Path, state: &Path) -> anyhow::Result<String> {
    let mut command = std::process::Command::new(programs.join("pilotd"));
    let output =
        command.args(["rendezvous", "--state", text(state)?, "--advertise", "127.0.0.1", "--print-url"]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Milliseconds of a listing: on the clock, and of the daemon's CPU time; means of ten.
fn listing(daemon: &Daemon) -> anyhow::Result<(f64, f64)> {
    let (start, before) = (Instant::now(), daemon.cpu()?);
    for _ in 0..10 {
        daemon.ask(&["--json", "peers"])?;
    }
    let mean = |time: Duration| time.as_secs_f64() * 100.0;
    Ok((mean(start.elapsed()), mean(daemon.cpu()? - before)))
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
        }))?;
    }
    Ok(())
}
