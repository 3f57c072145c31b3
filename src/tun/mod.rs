//! Opens the TUN device, the interface through which the kernel hands us overlay packets.
//!
//! In: a name, our overlay address, the length of its network and an MTU. Out: a [`Device`] that is up, routes
//! the network to itself, and reads and writes one IP packet a call. What a packet means and where it goes is
//! left to `datapath` and `node`; keeping the overlay's addresses off other interfaces is left to `firewall`.
//!
//! The device lives as long as the [`Device`]: the kernel removes it, its address and its route when the
//! process ends, however it ends.

mod address;
mod device;
mod error;
mod ipv6;
#[cfg(test)]
pub(crate) mod netns;

pub use device::{Device, MIN_MTU, open};
pub use error::TunError;

#[cfg(test)]
mod tests;
