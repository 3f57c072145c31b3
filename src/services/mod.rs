//! What every node offers to those that it trusts, and to the programs of its own machine.
//!
//! In: connections from overlay addresses and from the local socket. Out: answers, in whatever dialect the caller
//! speaks ([`door`]). The caller is its proven source address, looked up in the [`directory`]; that a tunnel lies in
//! between is not visible here.

pub mod backoff;
pub mod directory;
pub mod door;
pub mod echo;
pub mod events;
pub mod files;
pub mod inbox;
pub mod listen;
pub mod reply;
pub mod streams;
pub mod tasks;
pub mod time;

/// What the services say by gRPC and in frames, generated from `proto/pilot/v1/`.
#[allow(missing_docs, clippy::all)]
pub mod api {
    include!("generated/pilot.v1.rs");

    /// The descriptors of the same, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!("generated/pilot.v1.bin");
}
