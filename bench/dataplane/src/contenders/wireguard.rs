//! WireGuard as others have it in user space; `wg` configures them all.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use pilot_bench_lab::{output, shell, until};

use super::{Contender, End, Litter, MTU, Role, Tunnel, inside, says};
use crate::site::{Place, Site};

/// The port outside.
const PORT: u16 = 51820;

/// Debian's wireguard-go.
pub const WIREGUARD_GO: Contender = Contender {
    name: "wireguard-go",
    role: Role::Rival,
    is_a_mesh: false,
    version: |_| says("wireguard-go", "--version"),
    start: |site| start(site, "wgg", &["wireguard-go", "-f"]),
};

/// Cloudflare's boringtun-cli, with its four threads.
pub const BORINGTUN: Contender = Contender {
    name: "boringtun",
    role: Role::Rival,
    is_a_mesh: false,
    version: |_| says("boringtun-cli", "--version"),
    start: |site| start(site, "bor", &["boringtun-cli", "-f", "--disable-drop-privileges", "--log", "/dev/null"]),
};

/// A key pair, as `wg` writes it.
struct Keys {
    secret: PathBuf,
    public: String,
}

fn start(site: &Site, tag: &str, command: &[&str]) -> Result<Tunnel> {
    let keys = ["a", "b"].map(|name| keys(&site.dir.join(name)));
    let [a, b] = keys;
    let (a, b) = (a?, b?);
    let [at_a, at_b, ..] = site.places.as_slice() else { anyhow::bail!("a network of less than two hosts") };
    let mut tunnel = Tunnel::new(Vec::new());
    for (place, (here, there), (own, other)) in [(0, (at_a, at_b), (&a, &b)), (1, (at_b, at_a), (&b, &a))] {
        // Sockets of the interfaces of all namespaces are in one folder.
        let name = format!("{tag}{}{}", std::process::id() % 1_000_000, ["a", "b"][place]);
        tunnel.litter.push(Litter(socket(&name)));
        tunnel.ends.push(daemon(site, here, &name, command, place)?);
        let (port, peer, secret) = (PORT, &other.public, own.secret.display());
        let (network, endpoint) = (inside(1 - place), there.address);
        here.host.shell(&format!(
            "wg set {name} listen-port {port} private-key {secret} peer {peer} allowed-ips {network}/128 \
             endpoint {endpoint}:{port}"
        ))?;
        here.host.shell(&format!("ip link set {name} mtu {MTU} up"))?;
        here.host.address(&name, &format!("{}/64", inside(place)))?;
    }
    Ok(tunnel)
}

fn daemon(site: &Site, at: &Place, name: &str, command: &[&str], place: usize) -> Result<End> {
    let (program, arguments) = command.split_first().context("a command without a program")?;
    let mut command = at.host.command(program);
    command.args(arguments).arg(name);
    let daemon = at.host.spawn(command, &site.dir.join(format!("{name}.log")))?;
    until(&format!("{program} has a socket"), || socket(name).exists())?;
    Ok(End { host: at.host.clone(), address: inside(place).into(), daemon: Some(daemon) })
}

fn socket(name: &str) -> PathBuf {
    Path::new("/var/run/wireguard").join(format!("{name}.sock"))
}

fn keys(secret: &Path) -> Result<Keys> {
    shell(&format!("umask 077 && wg genkey > {}", secret.display()))?;
    let public = output(Command::new("sh").args(["-ec", &format!("wg pubkey < {}", secret.display())]))?;
    Ok(Keys { secret: secret.to_owned(), public: public.trim().to_owned() })
}
