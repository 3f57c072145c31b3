//! Streams: reliable bytes between a program here and a program on another node.
//!
//! In: programs that listen on a port, by the local socket; connections to that port of the overlay address; programs
//! that want to connect. Out: for each incoming stream an announcement to one of those that listen, in turn, and the
//! stream to whoever takes it; or a process or a connection where the configuration attaches a service to the port.
//!
//! The overlay port is open only while somebody listens, so that a caller is refused at once otherwise. A stream waits
//! [`TAKE_WITHIN`] to be taken, 128 at a time for a port. It ends when both directions have, or with the trust in the
//! node; anything else that ends it is an error for the other side, never an end. [`Settings`] has the limits.

mod attached;
pub mod dial;
mod grpc;
mod http;
mod listening;
mod ports;
pub mod process;
mod settings;
mod splice;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;

use super::directory::{Directory, Member};
use super::door::Limits;
use super::door::slots::{Slot, Slots};
use crate::control::Error;
pub use listening::{Announced, Listening};
use ports::{Accepting, Ports, WAITING};
pub use settings::{Attach, DEFAULT_PORT, Destination, Service, Settings};
pub use splice::splice;
pub use stream::{Pipe, Stream};

/// How long a stream waits to be taken.
pub const TAKE_WITHIN: Duration = Duration::from_secs(10);
/// Broken streams that are remembered for those who took them.
pub const REMEMBERED: usize = 1024;
/// A breath after a failed accept: out of descriptors, most likely, and the next would fail as well.
const PAUSE: Duration = Duration::from_millis(100);

/// The gRPC service.
pub const SERVICE: &str = "pilot.v1.Streams";

/// Opens the sockets of a port of the overlay address.
pub type Listen = Box<dyn Fn(u16) -> Result<Vec<TcpListener>, Error> + Send + Sync>;

/// The streams of this node; clones are the same.
#[derive(Clone)]
pub struct Streams {
    shared: Arc<Shared>,
}

struct Shared {
    directory: Directory,
    listen: Listen,
    attached: BTreeMap<u16, Service>,
    slots: Arc<Slots>,
    processes: Semaphore,
    ports: Mutex<Ports>,
    broken: Mutex<VecDeque<u64>>,
}

impl Streams {
    /// Streams between members of `directory`; `listen` opens the sockets of a port.
    ///
    /// # Errors
    /// `bad_argument` where the settings attach two services to one port.
    pub fn new(directory: Directory, settings: Settings, listen: Listen) -> Result<Streams, Error> {
        let mut attached = BTreeMap::new();
        for attach in settings.attach {
            if attached.insert(attach.port, attach.service).is_some() {
                return Err(Error::new(
                    "bad_argument",
                    format!("port {} has two entries in streams.attach", attach.port),
                )
                .hint("keep one of them"));
            }
        }
        let limits =
            Limits { connections: settings.streams, per_caller: settings.streams_of_a_node, ..Limits::default() };
        let processes = Semaphore::new(settings.processes.min(Semaphore::MAX_PERMITS));
        let slots = Slots::new(limits);
        let (ports, broken) = (Mutex::default(), Mutex::default());
        Ok(Streams { shared: Arc::new(Shared { directory, listen, attached, slots, processes, ports, broken }) })
    }

    /// Serves the attached ports until the future is dropped, which closes every port.
    pub async fn serve(self) {
        let closing = Closing(self.clone());
        for port in self.shared.attached.keys() {
            if let Err(error) = self.open(&mut self.shared.ports.lock(), *port) {
                tracing::error!(%error, port, "a service is not attached");
            }
        }
        std::future::pending::<()>().await;
        drop(closing);
    }

    /// Listens on a port until the answer is dropped.
    ///
    /// # Errors
    /// `port_in_use` for ports of services and of other programs.
    pub fn listen(&self, port: u16) -> Result<Listening, Error> {
        if settings::is_reserved(port) {
            return Err(Error::new("port_in_use", format!("port {port} belongs to a service"))
                .hint(format!("choose another, as {DEFAULT_PORT}")));
        }
        if self.shared.attached.contains_key(&port) {
            return Err(Error::new("port_in_use", format!("the configuration attaches a service to port {port}"))
                .hint("choose another port, or remove its entry of streams.attach"));
        }
        let mut ports = self.shared.ports.lock();
        if !ports.is_open(port) {
            self.open(&mut ports, port)?;
        }
        let (announce, announcements) = mpsc::channel(WAITING);
        let number = ports.join(port, announce);
        Ok(Listening { streams: self.clone(), port, number, announcements })
    }

    /// Takes a stream that a listener was told of.
    ///
    /// # Errors
    /// `not_found` where it was taken, or has waited too long.
    pub fn take(&self, number: u64) -> Result<Stream, Error> {
        self.shared.ports.lock().take(number).ok_or_else(|| {
            Error::new("not_found", format!("no stream {number} waits")).hint(format!(
                "take a stream within {TAKE_WITHIN:?} of its announcement, and keep listening until then"
            ))
        })
    }

    /// Whether a stream that was taken has broken. Known before the end of its connection is seen, and of the last
    /// [`REMEMBERED`] that have.
    pub fn is_broken(&self, number: u64) -> bool {
        self.shared.broken.lock().contains(&number)
    }

    fn note_broken(&self, number: u64) {
        let mut broken = self.shared.broken.lock();
        if broken.len() >= REMEMBERED {
            broken.pop_front();
        }
        broken.push_back(number);
    }

    /// A new stream to a port of a node.
    ///
    /// # Errors
    /// As [`Directory::find`] and [`dial::reach`]; `too_many` at a limit.
    pub async fn connect(&self, node: &str, port: u16) -> Result<Stream, Error> {
        let member = self.shared.directory.find(node)?;
        let slot = self.slot(&member)?;
        let pipe = dial::reach(member.address, port, node, dial::PATIENCE).await?;
        stream::prepare(&pipe);
        Ok(Stream::new(member, port, Box::new(pipe), slot))
    }

    /// Brings a stream of `node` to whoever serves `port` here.
    ///
    /// # Errors
    /// `no_listener` where nobody does, `too_many` at a limit.
    fn arrive(&self, node: Arc<Member>, port: u16, mut pipe: Box<dyn Pipe>) -> Result<(), Error> {
        let slot = self.slot(&node).inspect_err(|_| pipe.cut())?;
        let name = node.id.to_string();
        let stream = Stream::new(node.clone(), port, pipe, slot);
        if let Some(service) = self.shared.attached.get(&port) {
            tokio::spawn(attached::serve(self.clone(), service.clone(), stream));
            return Ok(());
        }
        let mut ports = self.shared.ports.lock();
        if !ports.is_open(port) {
            return Err(dial::no_listener("this node", port));
        }
        let number = ports.arrive(stream).ok_or_else(|| {
            Error::new(
                "too_many",
                format!("{WAITING} streams wait on port {port} already, one more of {name} does not"),
            )
            .hint("try again when whoever listens has taken some")
        })?;
        let expiry = tokio::spawn(self.clone().expire(number, node));
        ports.expires(number, expiry.abort_handle());
        Ok(())
    }

    /// Ends the waiting of a stream when its time or the trust is over.
    async fn expire(self, number: u64, node: Arc<Member>) {
        tokio::select! {
            () = sleep(TAKE_WITHIN) => {}
            () = self.shared.directory.until_untrusted(&node) => {}
        }
        drop(self.shared.ports.lock().take(number));
    }

    fn slot(&self, node: &Member) -> Result<Slot, Error> {
        self.shared.slots.take(node.id).ok_or_else(|| {
            Error::new("too_many", format!("no more streams are carried, in all or with {}", node.id))
                .hint("end some, or raise streams.streams or streams.streams_of_a_node in the configuration")
        })
    }

    fn open(&self, ports: &mut Ports, port: u16) -> Result<(), Error> {
        let listeners = (self.shared.listen)(port)?;
        ports.open(port, Accepting::start(listeners, |listener| self.clone().accept(listener, port)));
        Ok(())
    }

    async fn accept(self, listener: Arc<TcpListener>, port: u16) {
        loop {
            let Ok((pipe, from)) = listener.accept().await else {
                sleep(PAUSE).await;
                continue;
            };
            let Some(node) = self.shared.directory.roster().at(from.ip()).cloned() else {
                stream::refuse(pipe);
                continue;
            };
            stream::prepare(&pipe);
            if let Err(error) = self.arrive(node, port, Box::new(pipe)) {
                tracing::debug!(%error, "a stream was refused");
            }
        }
    }

    /// The gRPC service and the HTTP paths `/v1/streams/…`.
    pub fn router(&self) -> axum::Router {
        http::router(self.clone()).merge(self.grpc())
    }

    /// The gRPC service alone: what port 1001 offers to nodes.
    pub fn grpc(&self) -> axum::Router {
        super::door::grpc(super::api::streams_server::StreamsServer::new(grpc::Service::new(self.clone())))
    }

    fn directory(&self) -> &Directory {
        &self.shared.directory
    }

    fn processes(&self) -> &Semaphore {
        &self.shared.processes
    }
}

/// Closes every port on drop.
struct Closing(Streams);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.shared.ports.lock().close();
    }
}

/// What opens the sockets of a real node: on its overlay address, reached by `interface` and from this machine.
pub fn kernel(address: Ipv6Addr, interface: String) -> Listen {
    Box::new(move |port| {
        super::listen::listen(address, port, &interface).map_err(|error| {
            Error::new("port_in_use", error.to_string()).hint("stop that program, or choose another port")
        })
    })
}
