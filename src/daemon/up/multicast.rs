//! Carries beacons between the LAN's group and the node.
//!
//! In: our addresses, beacons of the node. Out: what came to the group and may be a beacon, by a bounded queue: under a
//! flood it is the newest that is lost, and nothing else waits for it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::udp::{Listener, LocalAddress, Multicast, Sockets};
use crate::wire::beacon::{Beacon, MAX_LEN};

/// Beacons that wait for the node.
const QUEUE: usize = 64;
/// After an error of the sockets, such as of an interface that went away.
const PAUSE: Duration = Duration::from_millis(100);

/// A datagram that came to the group, and its sender.
pub type Heard = (SocketAddr, Vec<u8>);

/// The group, or nothing where LAN discovery is off.
pub struct Lan(Option<Multicast>);

impl Lan {
    /// Opens the group where that is wanted; without it the node goes on.
    pub fn open(is_wanted: bool) -> (Lan, mpsc::Receiver<Heard>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let opened = is_wanted.then(Multicast::open).and_then(|opened| match opened {
            Ok(multicast) => Some(multicast),
            Err(error) => {
                tracing::warn!(%error, "no LAN discovery: the group's port {} cannot be opened", crate::udp::PORT);
                None
            }
        });
        if let Some(multicast) = &opened {
            tokio::spawn(listen(multicast.listener(), sender));
        }
        (Lan(opened), receiver)
    }

    /// Takes our addresses.
    pub fn follow(&mut self, addresses: &[LocalAddress]) {
        if let Some(multicast) = &mut self.0 {
            multicast.follow(addresses);
        }
    }

    /// Sends a beacon to the group.
    pub fn send(&self, sockets: &Sockets, beacon: &[u8]) {
        if let Some(multicast) = &self.0 {
            multicast.send(sockets, beacon);
        }
    }
}

async fn listen(listener: std::sync::Arc<Listener>, sender: mpsc::Sender<Heard>) {
    // One byte more, so that what is too long shows.
    let (mut v4, mut v6) = ([0; MAX_LEN + 1], [0; MAX_LEN + 1]);
    while !sender.is_closed() {
        match listener.receive(&mut v4, &mut v6).await {
            Ok((datagram, from)) if Beacon::parse(&datagram).is_ok() => drop(sender.try_send((from, datagram))),
            Ok(_) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
