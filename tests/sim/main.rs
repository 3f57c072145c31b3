//! Whole networks in one thread, under a virtual clock: the real machines of nodes and rendezvous, simulated
//! translators and links. Stories are in `stories`, random worlds in `seeds`, what both may expect in `oracle`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod agenda;
mod clock;
mod fabric;
mod nat;
mod oracle;
mod pipe;
mod resident;
mod seeds;
mod server;
mod stories;
mod world;
