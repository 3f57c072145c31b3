//! Pilot's own event service on a plain address, without a daemon around it: what the bench compares across a cable.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::Args;
use pilot::identity::{NodeId, PublicKey};
use pilot::services::directory::{Directory, Member, Roster};
use pilot::services::door::{Door, Limits};
use pilot::services::events::dial::{Overlay, PORT};
use pilot::services::events::sequence::Volatile;
use pilot::services::events::{Events, Settings};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What to serve, and whom.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// Where to listen.
    #[arg(long)]
    pub address: IpAddr,
    /// Whose programs count as those of this node.
    #[arg(long)]
    pub client: Ipv6Addr,
}

/// Serves until it is killed.
///
/// # Errors
/// The address cannot be listened on.
pub fn run(serve: &Serve) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (_roster, directory) = directory(serve.client)?;
        let settings = Settings::default();
        let dial = Arc::new(Overlay { silence: settings.silence });
        let events = Events::new(settings, directory.clone(), dial, 1, Arc::new(Volatile));
        let door = Door::new(events.router(), &["pilot.v1.Events"], events.lines(), Limits::default()).await;
        let listener = TcpListener::bind(SocketAddr::new(serve.address, PORT)).await?;
        door.serve_overlay(vec![listener], directory).await;
        bail!("nothing is served any more")
    })
}

/// Programs at `client` are those of this node, as if it were the overlay address: what they publish is numbered and
/// remembered, and what they subscribe to is served from here.
fn directory(client: Ipv6Addr) -> Result<(watch::Sender<Arc<Roster>>, Directory)> {
    let key: PublicKey = PublicKey::from_bytes(KEY)?;
    let me = Member { id: NodeId::derive(&key), key, hostname: None, address: client, is_online: true };
    let (roster, seen) = watch::channel(Arc::new(Roster::new(me, [])));
    Ok((roster, Directory::new(seen)))
}

/// Any point of the curve: nothing is signed here. It is the base point of Ed25519.
const KEY: [u8; 32] = [
    0x58, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
    0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
];
