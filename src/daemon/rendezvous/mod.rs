//! The rendezvous server: the directory and the relay machine with sockets, disk and clock around them.
//!
//! Comes in: [`Options`]. Goes out: a [`Handle`] with the URLs that nodes are given. TCP port P carries the links, and the
//! relay for nodes whose UDP does not pass; UDP port P+1 STUN and the relay, UDP port P+2 STUN alone, so that a node sees two mappings of its NAT.
//!
//! The state folder holds the key (`rendezvous.pem`), what must outlive a restart (`rendezvous.db`), a lock against a
//! second server, and while it runs `status.sock`, which answers `GET /v1/status` with counters as JSON.

mod advertise;
mod directory;
mod error;
mod sockets;
mod status;
mod streams;
#[cfg(test)]
mod tests;
mod udp;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use blake2::{Blake2s256, Digest};
use rand_core::{OsRng, RngCore};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};
use zeroize::Zeroizing;

use crate::identity::{Identity, Network, RendezvousUrl};
use crate::link;
use crate::rendezvous::bucket::Rate;
use crate::rendezvous::directory::Settings;
use crate::rendezvous::relay::SESSION_RATE;
use crate::store::files;
use crate::store::keys;
use crate::store::lock::Lock;
use crate::store::rendezvous::RendezvousStore;
use crate::threads::Threads;

pub use advertise::HostPort;
pub use error::StartError;

use directory::DirectoryLoop;
use sockets::Bound;
use udp::Forwarding;

/// Events of all links that wait for the directory; beyond that the links are read more slowly.
const EVENT_QUEUE: usize = 1024;
/// Relay streams between gRPC and the relay.
const ACCEPTED_QUEUE: usize = 64;

/// Keeps the secret of relay allocations apart from all other uses of the key.
const ALLOCATION_DOMAIN: &[u8] = b"pilot-relay-allocation-v1";

/// How to run a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The state folder; made with mode 0700 if there is none.
    pub state: PathBuf,
    /// Where to listen: TCP on the port, UDP on the two behind it; port 0 takes any three that are free. Empty: port
    /// 9000 on all addresses of the families that this machine has.
    pub listen: Vec<SocketAddr>,
    /// Under which hosts nodes reach the server, one URL each. Empty: the best guess from the addresses of this machine,
    /// one URL for each address to listen on, or just one where these are not given either.
    pub advertise: Vec<HostPort>,
    /// The only network that is served; all, if none is named.
    pub network: Option<Network>,
    /// What each node may send through the relay, in bytes.
    pub relay_rate: Rate,
}

impl Options {
    /// A server of all networks with this state folder, on the default port and with the default limits.
    pub fn new(state: PathBuf) -> Options {
        Options { state, listen: Vec::new(), advertise: Vec::new(), network: None, relay_rate: SESSION_RATE }
    }
}

/// A running server; it ends when the handle is dropped, and in good order by [`Handle::stop`].
pub struct Handle {
    urls: Vec<RendezvousUrl>,
    stop: watch::Sender<()>,
    tasks: JoinSet<()>,
    threads: Threads,
    directory: JoinHandle<()>,
}

/// Runs a server until `shutdown` completes.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    let handle = start(options).await?;
    for url in handle.urls() {
        info!("the rendezvous server is reached at {url}");
    }
    shutdown.await;
    handle.stop().await;
    Ok(())
}

/// The URLs of a server, one for each host to advertise; makes its key if there is none, and needs no running server.
pub fn print_urls(options: &Options) -> Result<Vec<RendezvousUrl>, StartError> {
    files::make_directory(&options.state)?;
    let identity = keys::rendezvous(&options.state)?;
    let listen = sockets::listen_or_default(&options.listen);
    Ok(urls(options, &identity, &listen))
}

fn urls(options: &Options, identity: &Identity, addresses: &[SocketAddr]) -> Vec<RendezvousUrl> {
    let mut urls = advertise::urls(&identity.public_key(), &options.advertise, addresses);
    if options.listen.is_empty() && options.advertise.is_empty() {
        urls.truncate(1);
    }
    urls
}

/// Starts a server on the current tokio runtime. On return it answers.
pub async fn start(options: Options) -> Result<Handle, StartError> {
    files::make_directory(&options.state)?;
    let lock = Lock::acquire(&options.state.join("rendezvous.lock"), "rendezvous server")?;
    let identity = keys::rendezvous(&options.state)?;
    let opened = RendezvousStore::open(&options.state)?;
    if let Some(aside) = &opened.kept_aside {
        warn!("the directory's database was unreadable and is kept as {}; starting with an empty one", aside.display());
    }
    let bound = sockets::bind_all(&options.listen)?;
    let addresses: Vec<SocketAddr> = bound.iter().map(|sockets| sockets.address).collect();
    let urls = urls(&options, &identity, &addresses);
    let (tcp, relays, reflectors) = split(bound);
    let forwarding = Arc::new(Forwarding::new(relays, reflectors, options.relay_rate));
    let settings = Settings { network: options.network, secret: allocation_secret(&identity), seed: seed() };

    let (stop, stopped) = watch::channel(());
    let (events, links) = mpsc::channel(EVENT_QUEUE);
    let mut tasks = JoinSet::new();
    let (directory, questions) = DirectoryLoop::new(settings, opened, forwarding.clone(), lock, &mut tasks);
    let directory = directory.run_on_thread(links)?;
    let threads = udp::spawn(&forwarding, &mut tasks).map_err(StartError::Thread)?;
    let (relays, accepted) = mpsc::channel(ACCEPTED_QUEUE);
    tasks.spawn(streams::serve(forwarding.clone(), accepted));
    status::spawn(&options.state, questions, forwarding, Instant::now(), &mut tasks)?;
    tasks.spawn(serve_links(tcp, identity, events, relays, stopped));
    Ok(Handle { urls, stop, tasks, threads, directory })
}

/// Makes relay allocations that nobody can guess, the same after a restart.
fn allocation_secret(identity: &Identity) -> Zeroizing<[u8; 32]> {
    let digest = Blake2s256::new().chain_update(ALLOCATION_DOMAIN).chain_update(&*identity.to_pkcs8_der());
    Zeroizing::new(digest.finalize().into())
}

/// A relay rate in megabits a second: a third of a second may pass at once, and no less than 1 MiB.
pub fn relay_rate(megabits: u32) -> Rate {
    let per_second = u64::from(megabits) * 1_000_000 / 8;
    Rate { per_second, burst: (per_second / 3).max(1 << 20) }
}

fn seed() -> Zeroizing<[u8; 32]> {
    let mut seed = Zeroizing::new([0; 32]);
    OsRng.fill_bytes(&mut *seed);
    seed
}

/// TCP listeners, sockets for relay and STUN, sockets for STUN alone.
type Split = (Vec<tokio::net::TcpListener>, Vec<std::net::UdpSocket>, Vec<tokio::net::UdpSocket>);

fn split(bound: Vec<Bound>) -> Split {
    let mut parts: Split = Default::default();
    for Bound { tcp, relay, reflector, .. } in bound {
        parts.0.push(tcp);
        parts.1.push(relay);
        parts.2.push(reflector);
    }
    parts
}

async fn serve_links(
    listeners: Vec<tokio::net::TcpListener>,
    identity: Identity,
    events: mpsc::Sender<link::server::ServerEvent>,
    relays: mpsc::Sender<link::Carried>,
    stopped: watch::Receiver<()>,
) {
    if let Err(failure) = link::server::serve(listeners, &identity, events, relays, stopped).await {
        error!("the rendezvous server takes no connections any more: {failure}");
    }
}

impl Handle {
    /// What nodes are given to reach this server.
    pub fn urls(&self) -> &[RendezvousUrl] {
        &self.urls
    }

    /// Ends all connections, and returns when everything is saved, closed and removed.
    pub async fn stop(self) {
        let Handle { stop, mut tasks, threads, directory, .. } = self;
        drop(stop);
        // The directory ends once the last link is gone, and with it the tasks that serve it.
        let ended = tokio::task::spawn_blocking(move || directory.join()).await;
        if !matches!(ended, Ok(Ok(()))) {
            error!("the directory did not end in good order");
        }
        tasks.shutdown().await;
        drop(threads);
    }
}
