//! The device itself: made, checked and configured in one go.

use super::{Offload, TunError, address, attach, error::step, flow, ipv6, offload, queue::Queue};
use ipnet::Ipv6Net;
use std::{
    io::{self, IoSlice},
    net::Ipv6Addr,
};

/// The least MTU that IPv6 works with, in bytes (RFC 8200 section 5).
pub const MIN_MTU: u16 = 1280;

/// Packets that a queue holds: what programs send in some milliseconds, for which a busy machine may let us wait. What a
/// full queue is given is lost.
const QUEUE_LEN: u32 = 4096;

/// What stands in front of a packet in the buffer that it is read into, in bytes.
pub const HEADROOM: usize = offload::LEN;

/// What a device takes and gives beyond single whole packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// TCP segments of one flow in one packet, and unfinished checksums.
    pub tcp: bool,
    /// UDP datagrams of one flow in one packet (Linux 6.2).
    pub udp: bool,
}

/// An open TUN device: non-blocking, up, with our overlay address and the route to our network.
pub struct Device {
    first: Queue,
    others: Vec<Queue>,
    name: String,
    index: u32,
}

impl Device {
    /// The name of the interface.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kernel's number of the interface.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// What the kernel and we leave to each other here.
    pub fn offloads(&self) -> Offloads {
        self.first.offloads()
    }

    /// Where to read from. The packets of a flow come by one of these, in their order: by that to which its packets in
    /// the other direction were written last, as long as there are some every three seconds.
    pub fn queues(&self) -> impl Iterator<Item = &Queue> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Hands one whole IP packet to the kernel, as if it had arrived on the interface.
    pub fn write(&self, packet: &[u8]) -> io::Result<()> {
        self.write_parts(Offload::default(), packet, &[])
    }

    /// Hands a packet to the kernel that starts with `headers` and goes on with at most
    /// [`MAX_PACKETS`](super::MAX_PACKETS) other parts.
    pub fn write_parts(&self, offload: Offload, headers: &[u8], parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.queue_of(headers).write(offload, headers, parts)
    }

    /// Flows are spread over the queues, because the kernel answers by the queue that it was written to.
    fn queue_of(&self, packet: &[u8]) -> &Queue {
        if self.others.is_empty() {
            return &self.first;
        }
        let place = flow::place(flow::tag(packet), 1 + self.others.len());
        place.checked_sub(1).and_then(|place| self.others.get(place)).unwrap_or(&self.first)
    }

    fn configure(&self, address: Ipv6Net, mtu: u16) -> Result<(), TunError> {
        let fail = |what| step(what, &self.name);
        let disabled = || TunError::Ipv6Disabled { name: self.name.clone() };
        let device = self.first.device();
        device.set_mtu(mtu).map_err(fail("set the MTU of"))?;
        device.set_tx_queue_len(QUEUE_LEN).map_err(fail("lengthen the queues of"))?;
        ipv6::enable(&self.name).map_err(|_| disabled())?;
        device.enabled(true).map_err(fail("bring up"))?;
        match address::add(self.index, address) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(disabled()),
            added => added.map_err(fail("add our address to")),
        }
    }
}

/// Opens TUN device `name` with so many queues and overlay address `address`, brings it up and routes the network of
/// `prefix_len` bits around `address` to it; `mtu` in bytes, at least [`MIN_MTU`].
///
/// The address can be bound at once. A persistent TUN device of this name that nobody holds open is taken over; it has
/// one queue.
pub fn open(name: &str, address: Ipv6Addr, prefix_len: u8, mtu: u16, queues: usize) -> Result<Device, TunError> {
    check(name, mtu)?;
    let address = Ipv6Net::new(address, prefix_len)
        .map_err(|_| step("choose a network for", name)(io::ErrorKind::InvalidInput.into()))?;
    if let Some(other) = ipv6::rival(address.trunc(), name) {
        let network = address.trunc();
        return Err(TunError::NetworkTaken { other, network });
    }
    let opened: io::Result<Vec<_>> = attach::attach(name, queues)?.into_iter().map(Queue::new).collect();
    let mut queues = opened.map_err(step("make non-blocking", name))?.into_iter();
    let first = queues.next().ok_or_else(|| step("open", name)(io::ErrorKind::NotFound.into()))?;
    let index = first.device().if_index().map_err(step("number", name))?;
    let device = Device { first, others: queues.collect(), name: name.to_owned(), index };
    device.configure(address, mtu)?;
    Ok(device)
}

fn check(name: &str, mtu: u16) -> Result<(), TunError> {
    if !attach::is_name(name) {
        return Err(TunError::BadName { name: name.to_owned() });
    }
    if mtu < MIN_MTU {
        return Err(TunError::SmallMtu { mtu });
    }
    Ok(())
}
