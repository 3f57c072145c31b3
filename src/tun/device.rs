//! The device itself: made, checked and configured in one go.

use super::{MAX_PACKETS, Offload, TunError, address, ipv6, offload};
use ipnet::Ipv6Net;
use nix::{errno::Errno, sys::uio::writev, unistd};
use std::{
    fs::OpenOptions,
    io::{self, IoSlice},
    net::Ipv6Addr,
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
};
use tun_rs::{DeviceBuilder, SyncDevice};

/// The least MTU that IPv6 works with, in bytes (RFC 8200 section 5).
pub const MIN_MTU: u16 = 1280;

/// Interface names are at most this long (`IFNAMSIZ` less its zero byte).
const MAX_NAME: usize = 15;

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
    device: SyncDevice,
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
        Offloads { tcp: self.device.tcp_gso(), udp: self.device.udp_gso() }
    }

    /// Reads one IP packet that the kernel routed to us, with what it left to do for it; `WouldBlock` when there is none.
    ///
    /// A packet longer than `buffer` is cut: give 64 KiB and [`HEADROOM`].
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<(Offload, Range<usize>)> {
        let len = unistd::read(&self.device, buffer)?;
        if !self.device.tcp_gso() {
            return Ok((Offload::default(), 0..len));
        }
        let header = buffer.get(..len).and_then(|packet| packet.first_chunk());
        // What we did not ask for is no packet.
        Ok(header.and_then(Offload::decode).map_or((Offload::default(), 0..0), |offload| (offload, HEADROOM..len)))
    }

    /// Hands one whole IP packet to the kernel, as if it had arrived on the interface.
    pub fn write(&self, packet: &[u8]) -> io::Result<()> {
        self.write_parts(Offload::default(), packet, &[])
    }

    /// Hands a packet to the kernel that starts with `headers` and goes on with at most [`MAX_PACKETS`] other parts.
    pub fn write_parts(&self, offload: Offload, headers: &[u8], parts: &[IoSlice<'_>]) -> io::Result<()> {
        let front = offload.encode(headers.len() as u16);
        let skipped = if self.device.tcp_gso() { 0 } else { front.len() };
        let mut slices = [IoSlice::new(&[]); MAX_PACKETS + 2];
        slices[0] = IoSlice::new(front.get(skipped..).unwrap_or_default());
        slices[1] = IoSlice::new(headers);
        for (place, part) in slices.iter_mut().skip(2).zip(parts) {
            *place = *part;
        }
        let used = slices.get(..parts.len() + 2).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(writev(&self.device, used).map(drop)?)
    }
}

impl Device {
    fn configure(&self, address: Ipv6Net, mtu: u16) -> Result<(), TunError> {
        let fail = |what| step(what, &self.name);
        let disabled = || TunError::Ipv6Disabled { name: self.name.clone() };
        self.device.set_nonblocking(true).map_err(fail("make non-blocking"))?;
        self.device.set_mtu(mtu).map_err(fail("set the MTU of"))?;
        ipv6::enable(&self.name).map_err(|_| disabled())?;
        self.device.enabled(true).map_err(fail("bring up"))?;
        match address::add(self.index, address) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(disabled()),
            added => added.map_err(fail("add our address to")),
        }
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// Opens TUN device `name` with overlay address `address`, brings it up and routes the network of
/// `prefix_len` bits around `address` to it; `mtu` in bytes, at least [`MIN_MTU`].
///
/// The address can be bound at once. A persistent TUN device of this name that nobody holds open is taken over.
pub fn open(name: &str, address: Ipv6Addr, prefix_len: u8, mtu: u16) -> Result<Device, TunError> {
    check(name, mtu)?;
    let address = Ipv6Net::new(address, prefix_len)
        .map_err(|_| step("choose a network for", name)(io::ErrorKind::InvalidInput.into()))?;
    if let Some(other) = ipv6::rival(address.trunc(), name) {
        let network = address.trunc();
        return Err(TunError::NetworkTaken { other, network });
    }
    driver(name)?;
    let device = attach(name)?;
    let index = device.if_index().map_err(step("number", name))?;
    let name = name.to_owned();
    let device = Device { device, name, index };
    device.configure(address, mtu)?;
    Ok(device)
}

fn check(name: &str, mtu: u16) -> Result<(), TunError> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    let dots = name.bytes().all(|c| c == b'.');
    if dots || name.len() > MAX_NAME || !name.bytes().all(plain) {
        return Err(TunError::BadName { name: name.to_owned() });
    }
    if mtu < MIN_MTU {
        return Err(TunError::SmallMtu { mtu });
    }
    Ok(())
}

/// Tells a missing driver and a missing permission apart, which look alike further down.
fn driver(name: &str) -> Result<(), TunError> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    let Err(error) = opened else { return Ok(()) };
    Err(match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => TunError::NoDriver,
        Some(Errno::EACCES | Errno::EPERM) => TunError::NotPermitted { name: name.to_owned() },
        _ => step("open /dev/net/tun for", name)(error),
    })
}

fn attach(name: &str) -> Result<SyncDevice, TunError> {
    let named = || name.to_owned();
    let build = |offload| DeviceBuilder::new().name(name).enable(false).offload(offload).build_sync();
    // A kernel that refuses offloads still carries packets.
    let built = build(true).or_else(|_| build(false));
    built.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EACCES) => TunError::NotPermitted { name: named() },
        Some(Errno::EBUSY) => TunError::Busy { name: named() },
        Some(Errno::EINVAL) => TunError::NotTun { name: named() },
        _ => step("make", name)(error),
    })
}

fn step(step: &'static str, name: &str) -> impl FnOnce(io::Error) -> TunError {
    move |source| TunError::Step { step, name: name.to_owned(), source }
}
