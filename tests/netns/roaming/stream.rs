//! An open TCP connection through the tunnel, whose every byte is checked as it arrives.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::lab::{Node, until};

const PORT: u16 = 5201;
/// What is written at once, and how often: 200 kB a second.
const BLOCK: usize = 2000;
const PACE: Duration = Duration::from_millis(10);

/// A stream from A to B that goes on until the handle is dropped.
pub struct Stream {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Bytes that arrived, all of them right.
    arrived: AtomicU64,
    /// The longest time between two arrivals, milliseconds.
    silence: AtomicU64,
    /// A byte was wrong.
    corrupt: AtomicBool,
    over: AtomicBool,
}

/// The byte at a place in the stream: no shift, loss or repetition of a part gives the same bytes.
fn byte(at: u64) -> u8 {
    let mixed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).to_be_bytes()[0]
}

impl Stream {
    /// Connects A to a listener on B's overlay address and starts to write.
    pub fn open(a: &Node, b: &Node) -> Stream {
        let address: SocketAddr = format!("[{}]:{PORT}", b.ipv6).parse().expect("an address");
        let listener = b.host.enter(|| TcpListener::bind(address).expect("a free port"));
        let out = a.host.enter(|| TcpStream::connect(address).expect("B is reachable"));
        let (into, _) = listener.accept().expect("a connection");
        into.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let state = Arc::new(State::default());
        let (writer, reader) = (state.clone(), state.clone());
        std::thread::spawn(move || write(out, &writer));
        std::thread::spawn(move || read(into, &reader));
        Stream { state }
    }

    /// Waits until more has arrived than was there already.
    pub fn advances(&self, limit: Duration) {
        let before = self.state.arrived.load(Ordering::Relaxed);
        until("the TCP stream goes on", limit, || self.state.arrived.load(Ordering::Relaxed) > before + 10_000);
        assert!(!self.state.corrupt.load(Ordering::Relaxed), "a byte of the TCP stream is wrong");
    }

    /// The longest time in which nothing arrived, in seconds.
    pub fn longest_silence(&self) -> f64 {
        self.state.silence.load(Ordering::Relaxed) as f64 / 1e3
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
    }
}

fn write(mut to: TcpStream, state: &State) {
    let mut at = 0;
    while !state.over.load(Ordering::Relaxed) {
        let block: Vec<u8> = (at..at + BLOCK as u64).map(byte).collect();
        if to.write_all(&block).is_err() {
            return;
        }
        at += BLOCK as u64;
        std::thread::sleep(PACE);
    }
}

fn read(mut from: TcpStream, state: &State) {
    let (mut buffer, mut at, mut last) = ([0; 65536], 0, Instant::now());
    while !state.over.load(Ordering::Relaxed) {
        let length = match from.read(&mut buffer) {
            Ok(length @ 1..) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Ok(_) | Err(_) => return,
        };
        state.silence.fetch_max(last.elapsed().as_millis() as u64, Ordering::Relaxed);
        last = Instant::now();
        if buffer[..length].iter().zip(at..).any(|(got, at)| *got != byte(at)) {
            state.corrupt.store(true, Ordering::Relaxed);
        }
        at += length as u64;
        state.arrived.store(at, Ordering::Relaxed);
    }
}
