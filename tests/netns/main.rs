//! The product on a real kernel: real binaries, real TUN devices, kernel NAT, stock programs.
//!
//! Needs root. Each test makes its own network namespaces and removes them.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod articles;
mod connect;
mod drivers;
mod events;
mod faults;
mod first_reply;
mod friends;
mod grants;
mod inbox;
mod lab;
mod lan;
mod lane;
mod matrix;
mod mtu;
mod netcheck;
mod portmap;
mod probe;
mod relay;
mod roaming;
mod silence;
mod soak;
mod speed;
mod standby;
mod wireguard;
