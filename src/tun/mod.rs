//! Opens the TUN device, the interface through which the kernel hands us overlay packets.
//!
//! In: a name, our overlay address, the length of its network, an MTU and how many queues there are to be. Out: a
//! [`Device`] that is up, routes the network to itself, and reads and writes one IP packet a call, of up to 64 KiB where
//! the kernel leaves cutting and checksums to us: [`split()`] makes of such a one the packets that travel, [`Coalescer`]
//! the reverse. What a packet means and where it goes is left to `datapath` and `node`; keeping the overlay's addresses off
//! other interfaces is left to `firewall`.
//!
//! The device lives as long as the [`Device`]: the kernel removes it, its address and its route when the
//! process ends, however it ends.

mod address;
mod attach;
mod checksum;
mod coalesce;
mod device;
mod error;
mod flow;
mod ipv6;
#[cfg(test)]
pub(crate) mod netns;
mod offload;
mod queue;
mod split;
#[cfg(test)]
mod testing;

pub use coalesce::{Coalescer, MAX_PACKETS};
pub use device::{Device, HEADROOM, MIN_MTU, Offloads, open};
pub use error::TunError;
pub use flow::{is_acknowledgement, place as flow_place, tag as flow_tag};
pub use offload::{Offload, Transport};
pub use queue::Queue;
pub use split::{Segments, split};

#[cfg(test)]
mod tests;
