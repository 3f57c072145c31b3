//! Opens the UDP sockets on which nodes reach each other, and watches the addresses that this machine has.
//!
//! In: a port. Out: [`Sockets`], one socket a family on that port for each thread that receives, and spare ones on demand,
//! which send datagrams, several of one size in one [`Run`], and never block; [`Receiver`] takes what they get, many at a
//! time; from [`watch()`] the local addresses that a peer might reach, best first, and whether packets may leave by another
//! way, again after each change; and from [`gateways()`] the routers that lead out. [`Multicast`] is the LAN's group.
//! Datagrams that hold more than IPv6's least MTU leave whole or not at all ([`Fragmenting`]). Which addresses become
//! candidates, and what a datagram means, is left to `punch` and `node`.

mod addresses;
mod bind;
mod control;
mod fragmenting;
mod gateways;
mod main_pair;
mod multicast;
mod receiver;
mod routes;
mod run;
mod socket;
mod sockets;
mod spares;
mod watch;
mod way_out;

pub use addresses::{Excluded, LocalAddress};
pub use fragmenting::Fragmenting;
pub use gateways::{Gateway, gateways};
pub use multicast::{GROUP_V4, GROUP_V6, Listener, Multicast, PORT};
pub use receiver::{Received, Receiver};
pub use run::{MAX_BYTES, MAX_DATAGRAMS, Run};
pub use socket::{Sent, Socket};
pub use sockets::{Sockets, UdpError};
pub use watch::{Networks, WatchError, watch};
pub use way_out::{WayOut, way_out};
