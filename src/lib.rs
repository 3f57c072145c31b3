//! Pilot gives every agent a permanent, private, reachable address.
//!
//! The rooms, from the ground up; a room opens only those below it:
//!
//! - [`identity`] names a node: keys, node ID, overlay address, signatures, join tokens.
//! - [`wire`] turns our messages into bytes and back, and says what kind a datagram is.
//! - [`punch`] finds and keeps the best path to one peer.
//! - [`peer`] keeps one remote node: tunnel, allowed source, grant, the table that the fast path reads.
//! - [`rendezvous`] introduces nodes: the directory machine and the relay machine.
//! - [`node`] is this machine: owns the peers, decides, answers commands.
//! - [`threads`] run until they are told to stop, and sleep until there is something to read.
//! - [`portmap`] asks the gateways of our networks to keep our port open.
//! - [`tun`], [`udp`], [`datapath`], [`link`], [`firewall`], [`store`], [`services`] do IO and decide nothing.
//! - [`control`] is what `pilotctl` and the drivers say to `pilotd` over the local socket.
//! - [`driver`] is what Rust programs use: publish, subscribe, send, receive.
//! - [`daemon`] wires the rooms together; [`cli`] turns command lines into calls and answers into text.

pub mod cli;
pub mod control;
pub mod daemon;
pub mod datapath;
pub mod driver;
pub mod firewall;
pub mod identity;
pub mod link;
pub mod node;
pub mod peer;
pub mod portmap;
pub mod punch;
pub mod rendezvous;
pub mod services;
pub mod store;
pub mod threads;
pub mod tun;
pub mod udp;
pub mod wire;

pub use control::Error;
pub use driver::{Draft, Event, Events, Message, Options, Overflow, Pilot, Subscription};
