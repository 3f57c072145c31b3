//! Whole networks in one thread, under a virtual clock: the real machines of nodes and rendezvous, simulated
//! translators and links. Stories are in `stories`, random worlds in `seeds`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod fabric;
mod nat;
mod resident;
mod seeds;
mod server;
mod stories;
mod world;
