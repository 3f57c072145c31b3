//! Who listens on which port, and the streams that wait to be taken.
//!
//! In: programs that begin and cease to listen, streams that arrive, time that runs out. Out: announcements, in turn to
//! each listener of a port. A stream belongs to the listener that was told of it: when that one leaves, the next is
//! told; when none is left, the stream breaks.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Shutdown;
use std::sync::Arc;

use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::mpsc::Sender;
use tokio::task::{AbortHandle, JoinSet};

use super::Announced;
use super::stream::Stream;

/// Streams of one port that wait at once.
pub(super) const WAITING: usize = 128;

/// All ports on which somebody listens.
#[derive(Default)]
pub(super) struct Ports {
    open: BTreeMap<u16, Port>,
    waiting: HashMap<u64, Waiting>,
    last: u64,
}

struct Port {
    listeners: VecDeque<Listener>,
    _accepting: Accepting,
}

struct Listener {
    number: u64,
    announce: Sender<Announced>,
}

struct Waiting {
    stream: Stream,
    told: u64,
    expiry: Option<AbortHandle>,
}

impl Ports {
    pub fn is_open(&self, port: u16) -> bool {
        self.open.contains_key(&port)
    }

    /// Opens a port; it stays open until its last listener has left.
    pub fn open(&mut self, port: u16, accepting: Accepting) {
        self.open.insert(port, Port { listeners: VecDeque::new(), _accepting: accepting });
    }

    /// Begins to tell a listener of the streams of an open port; gives its number.
    pub fn join(&mut self, port: u16, announce: Sender<Announced>) -> u64 {
        let number = self.next();
        if let Some(port) = self.open.get_mut(&port) {
            port.listeners.push_back(Listener { number, announce });
        }
        number
    }

    /// Lets a listener go. What it was told of and did not take goes to another, or breaks.
    pub fn leave(&mut self, port: u16, number: u64) {
        if let Some(open) = self.open.get_mut(&port) {
            open.listeners.retain(|listener| listener.number != number);
            if open.listeners.is_empty() {
                self.open.remove(&port);
            }
        }
        let untaken = self.waiting.iter().filter(|(_, waiting)| waiting.told == number).map(|(stream, _)| *stream);
        for stream in untaken.collect::<Vec<_>>() {
            self.tell_another(stream);
        }
    }

    /// Lets a stream wait, and tells a listener of it; gives its number, or none where there is no place or nobody.
    pub fn arrive(&mut self, stream: Stream) -> Option<u64> {
        let port = stream.port;
        if self.waiting.values().filter(|waiting| waiting.stream.port == port).count() >= WAITING {
            return None;
        }
        let number = self.next();
        let told = self.tell(&Announced::of(&stream, number))?;
        self.waiting.insert(number, Waiting { stream, told, expiry: None });
        Some(number)
    }

    /// Says what ends the waiting of a stream, to be ended itself when the stream does not wait any more.
    pub fn expires(&mut self, number: u64, expiry: AbortHandle) {
        match self.waiting.get_mut(&number) {
            Some(waiting) => waiting.expiry = Some(expiry),
            None => expiry.abort(),
        }
    }

    /// Takes a stream out.
    pub fn take(&mut self, number: u64) -> Option<Stream> {
        let waiting = self.waiting.remove(&number)?;
        if let Some(expiry) = waiting.expiry {
            expiry.abort();
        }
        Some(waiting.stream)
    }

    /// Closes everything.
    pub fn close(&mut self) {
        self.open.clear();
        self.waiting.clear();
    }

    fn tell_another(&mut self, number: u64) {
        let announced = self.waiting.get(&number).map(|waiting| Announced::of(&waiting.stream, number));
        match (announced.and_then(|announced| self.tell(&announced)), self.waiting.get_mut(&number)) {
            (Some(told), Some(waiting)) => waiting.told = told,
            _ => drop(self.take(number)),
        }
    }

    /// Tells the next listener that has room; gives its number.
    fn tell(&mut self, announced: &Announced) -> Option<u64> {
        let listeners = &mut self.open.get_mut(&announced.port)?.listeners;
        for _ in 0..listeners.len() {
            listeners.rotate_left(1);
            let listener = listeners.back()?;
            if listener.announce.try_send(announced.clone()).is_ok() {
                return Some(listener.number);
            }
        }
        None
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// Sockets that listen, and the tasks that accept from them. Dropped, they refuse connections at once.
pub(super) struct Accepting {
    listeners: Vec<Arc<TcpListener>>,
    _tasks: JoinSet<()>,
}

impl Accepting {
    /// Accepts from each listener by a task of its own.
    pub fn start<F: Future<Output = ()> + Send + 'static>(
        listeners: Vec<TcpListener>,
        accept: impl Fn(Arc<TcpListener>) -> F,
    ) -> Accepting {
        let listeners: Vec<_> = listeners.into_iter().map(Arc::new).collect();
        let tasks = listeners.iter().cloned().map(accept).collect();
        Accepting { listeners, _tasks: tasks }
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        for listener in &self.listeners {
            // The tasks hold their sockets a moment longer; this ends the listening now, so that the port is free.
            let _ = SockRef::from(listener.as_ref()).shutdown(Shutdown::Both);
        }
    }
}
