//! STUN: tells a node the address that it is seen from, from the port that it wants to hear.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Forwarding;
use crate::wire::stun::{self, Change};
use crate::wire::{Datagram, Drop, classify};

/// The largest UDP payload.
const MAX_DATAGRAM: usize = 65_535;
/// The pause after a failure to receive.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Which socket a datagram came to.
#[derive(Clone, Copy)]
pub enum Port {
    /// One that relays, too.
    Relay(usize),
    /// One for STUN alone.
    Reflector(usize),
}

impl Forwarding {
    fn address(&self, port: Port) -> Option<SocketAddr> {
        match port {
            Port::Relay(index) => self.relays.get(index)?.local_addr().ok(),
            Port::Reflector(index) => self.reflectors.get(index)?.local_addr().ok(),
        }
    }

    pub(super) fn reflect(&self, port: Port, from: SocketAddr, request: &[u8]) {
        let mut answer = [0; stun::RESPONSE_MAX_LEN];
        let other = self.elsewhere(port, Change { ip: true, port: true });
        let address = other.and_then(|other| self.address(other));
        let done = stun::respond(request, from, address, &mut answer).and_then(|reflection| {
            let answer = answer.get(..reflection.len).ok_or(Drop::Oversized)?;
            let source = self.elsewhere(port, reflection.from).ok_or(Drop::MalformedStun)?;
            self.answer(source, from, answer).map(|_| ()).map_err(|_| Drop::SendFailed)
        });
        self.count_stun(done);
    }

    /// Never waits: a full socket buffer is a full link, where datagrams are lost anyway.
    fn answer(&self, port: Port, to: SocketAddr, answer: &[u8]) -> io::Result<usize> {
        let missing = || io::Error::from(ErrorKind::NotFound);
        match port {
            Port::Relay(index) => self.relays.get(index).ok_or_else(missing)?.send_to(answer, to),
            Port::Reflector(index) => self.reflectors.get(index).ok_or_else(missing)?.try_send_to(answer, to),
        }
    }

    /// The socket from which an answer is wanted; none if there is no other address of the same family to send from.
    fn elsewhere(&self, port: Port, change: Change) -> Option<Port> {
        let (Port::Relay(index) | Port::Reflector(index)) = port;
        let index = if change.ip { self.other_address(index)? } else { index };
        Some(match (port, change.port) {
            (Port::Relay(_), false) | (Port::Reflector(_), true) => Port::Relay(index),
            (Port::Relay(_), true) | (Port::Reflector(_), false) => Port::Reflector(index),
        })
    }

    /// The place of another address that we listen on, of the same family; the sockets on all addresses are none.
    fn other_address(&self, index: usize) -> Option<usize> {
        let address = |index: usize| Some(self.relays.get(index)?.local_addr().ok()?.ip());
        let ours = address(index).filter(|ip| !ip.is_unspecified())?;
        let is_other = |ip: IpAddr| ip != ours && ip.is_ipv4() == ours.is_ipv4() && !ip.is_unspecified();
        (1..self.relays.len())
            .map(|step| (index + step) % self.relays.len())
            .find(|other| address(*other).is_some_and(is_other))
    }

    fn count_stun(&self, done: Result<(), Drop>) {
        let counter = if done.is_ok() { &self.stun_requests } else { &self.stun_dropped };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Answers on a socket for STUN alone, until the task is ended.
pub async fn serve(forwarding: Arc<Forwarding>, index: usize) {
    let Some(socket) = forwarding.reflectors.get(index) else {
        return;
    };
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(ERROR_PAUSE).await;
            continue;
        };
        match classify(buffer.get(..len).unwrap_or_default()) {
            Ok(Datagram::Stun(request)) => forwarding.reflect(Port::Reflector(index), from, request),
            _ => forwarding.count_stun(Err(Drop::NotOurs)),
        }
    }
}
