//! Peers with a session: the daemon's side is real, the other ends are tunnels of this process.

use std::fmt::Write;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use pilot::identity::{Address, Network, NodeId, Prefix, TunnelKey, TunnelSecret};
use pilot::peer::{Limiter, Slot, Tunnel, receiver};
use pilot::store::{Store, keys};
use pilot::wire::classify;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use pilot_bench_lab::Network as Nodes;

use crate::site::{self, Site};

const PORT: u16 = 51_999;
/// The node answers a hundred handshakes a second before it asks for cookies.
const PACE: Duration = Duration::from_millis(12);
const PATIENCE: Duration = Duration::from_secs(5);
const WATCHED: Duration = Duration::from_secs(20);

/// Prints what so many connected peers cost, and what they take of memory beside being known.
pub fn measure(programs: &Path, count: u32) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let state = folder.path().join(site::NAME);
    drop(Store::open(&state)?);
    let (ours, _) = keys::tunnel(&state)?;
    let mut rng = ChaCha20Rng::seed_from_u64(count.into());
    let secrets: Vec<TunnelSecret> = (0..count).map(|_| TunnelSecret::generate(&mut rng)).collect();
    let config = folder.path().join("pilotd.toml");
    std::fs::write(&config, configuration(&secrets)?)?;
    let config = config.to_str().context("a path that is no text")?;
    let (site, nodes) = (Site::new()?, Nodes { programs, dir: folder.path() });
    let arguments = ["--config", config, "--listen-port", &PORT.to_string()];
    let node = nodes.node(&site.host, site::NAME, None, &arguments)?;
    std::thread::sleep(Duration::from_secs(3));
    let (rss, load) = (site::rss_kib(&node), site::load(&node, WATCHED)?);
    println!("{:>10} {:>10} {:>12}", "connected", "RSS KiB", "idle % core");
    println!("{:>10} {rss:>10.0} {:>12.2}", 0, load * 100.0);
    let socket = site.host.enter(|| Ok(UdpSocket::bind("127.0.0.1:0")?))?;
    let _peers = connect(&socket, ours.public(), &secrets)?;
    std::thread::sleep(Duration::from_secs(2));
    let (with, load) = (site::rss_kib(&node), site::load(&node, WATCHED)?);
    println!("{count:>10} {with:>10.0} {:>12.2}", load * 100.0);
    println!("{:.1} KiB a connected peer", (with - rss) / f64::from(count));
    Ok(())
}

fn configuration(secrets: &[TunnelSecret]) -> anyhow::Result<String> {
    let mut text = String::new();
    for (number, secret) in secrets.iter().enumerate() {
        let node = NodeId::from_u64(0xffff_0000_0000 + number as u64 + 1)?;
        let address = Prefix::default().ipv6(Address { network: Network(0), node });
        writeln!(text, "[[wireguard.peers]]\npublic_key = \"{}\"\naddress = \"{address}\"", secret.public())?;
    }
    Ok(text)
}

/// Makes a session with each.
fn connect(socket: &UdpSocket, theirs: TunnelKey, secrets: &[TunnelSecret]) -> anyhow::Result<Vec<Tunnel>> {
    socket.connect(("127.0.0.1", PORT))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut peers = Vec::new();
    for (number, secret) in secrets.iter().enumerate() {
        let slot = Slot::new(u32::try_from(number)?).context("too many")?;
        let tunnel = Tunnel::new(secret, theirs, slot, &Limiter::new(secret.public(), 1_000_000));
        shake_hands(socket, &tunnel, slot).with_context(|| format!("peer {number}"))?;
        peers.push(tunnel);
        std::thread::sleep(PACE);
    }
    Ok(peers)
}

fn shake_hands(socket: &UdpSocket, tunnel: &Tunnel, slot: Slot) -> anyhow::Result<()> {
    let mut buffer = [0; 2048];
    let len = tunnel.initiate(&mut buffer).context("no initiation")?;
    socket.send(&buffer[..len])?;
    let mut answer = [0; 2048];
    let len = socket.recv(&mut answer)?;
    let answer = &answer[..len];
    ensure!(classify(answer).ok().as_ref().and_then(receiver) == Some(slot), "another answer than expected");
    let len = tunnel.handle_response(answer, &mut buffer).map_err(|reason| anyhow::anyhow!("{reason:?}"))?;
    socket.send(&buffer[..len])?;
    Ok(())
}
