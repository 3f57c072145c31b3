//! What every node offers on its overlay address, as ordinary TCP servers.
//!
//! In: listeners on the overlay address ([`listen`]). Out: answers to whoever reaches them; only trusted peers
//! do, because the datapath lets nothing else in, and the caller is its proven source address. That a tunnel
//! lies in between is not visible here.

pub mod echo;
pub mod listen;
