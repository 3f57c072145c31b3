//! Durable state: files that are whole or absent, and small databases that survive power loss.
//!
//! Comes in: records and changes decided by the machines. Goes out: the same records after a restart, and errors that
//! name the file and what to do. What a record means is left to the machines; when to save is left to the daemon.

pub mod database;
pub mod files;
pub mod inbox;
pub mod keys;
pub mod lock;
pub mod rendezvous;
mod rows;
pub mod sequence;
#[cfg(test)]
pub mod small_disk;
mod state;

pub use state::{State, Store, StoreError};
