//! Makes the interface, and tells what stands in the way apart, which looks alike further down.

use super::TunError;
use super::error::step;
use nix::{errno::Errno, ifaddrs::getifaddrs, libc, net::if_::InterfaceFlags};
use std::{
    fs::{File, OpenOptions},
    io, iter,
    os::fd::AsRawFd,
};
use tun_rs::{DeviceBuilder, SyncDevice};

/// Interface names are at most this long (`IFNAMSIZ` less its zero byte).
const MAX_NAME: usize = libc::IFNAMSIZ - 1;

/// Whether the kernel would take the name.
pub fn is_name(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    let dots = name.bytes().all(|c| c == b'.');
    !dots && name.len() <= MAX_NAME && name.bytes().all(plain)
}

/// Makes interface `name` with up to so many queues, or takes over one that was left over, which has a single one.
pub fn attach(name: &str, queues: usize) -> Result<Vec<SyncDevice>, TunError> {
    let refused = |error| refused(name, error);
    if queues > 1
        && let Some(_reserved) = reserve(driver(name)?, name).map_err(refused)?
    {
        let first = build(name, true).map_err(refused)?;
        // A few do as well, where the kernel or the limit of open files has no room for all.
        let others: Vec<_> = (1..queues).map_while(|_| first.try_clone().ok()).collect();
        return Ok(iter::once(first).chain(others).collect());
    }
    driver(name)?;
    build(name, false).map(|device| vec![device]).map_err(refused)
}

/// Tells a missing driver and a missing permission apart.
fn driver(name: &str) -> Result<File, TunError> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    opened.map_err(|error| match errno(&error) {
        Some(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => TunError::NoDriver,
        Some(Errno::EACCES | Errno::EPERM) => TunError::NotPermitted { name: name.to_owned() },
        _ => step("open /dev/net/tun for", name)(error),
    })
}

/// Makes an interface of several queues that did not exist before, and holds it by one of its own; none where there is
/// one of this name. Without this a second process would get queues of the first one's interface.
fn reserve(driver: File, name: &str) -> io::Result<Option<File>> {
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE | libc::IFF_TUN_EXCL;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags as libc::c_short },
    };
    for (place, byte) in request.ifr_name.iter_mut().take(MAX_NAME).zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    // SAFETY: the kernel reads and writes one `ifreq`, which lives until the call ends.
    let result = unsafe { libc::ioctl(driver.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    match Errno::result(result) {
        Ok(_) => Ok(Some(driver)),
        Err(Errno::EBUSY) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A kernel that refuses offloads still carries packets.
fn build(name: &str, is_multi: bool) -> io::Result<SyncDevice> {
    let build =
        |offload| DeviceBuilder::new().name(name).enable(false).multi_queue(is_multi).offload(offload).build_sync();
    build(true).or_else(|_| build(false))
}

fn refused(name: &str, error: io::Error) -> TunError {
    let name = name.to_owned();
    match errno(&error) {
        Some(Errno::EPERM | Errno::EACCES) => TunError::NotPermitted { name },
        Some(Errno::EBUSY) => TunError::Busy { name },
        // One of several queues, which are not for us.
        Some(Errno::EINVAL) if is_tunnel(&name) => TunError::Busy { name },
        Some(Errno::EINVAL) => TunError::NotTun { name },
        _ => step("make", &name)(error),
    }
}

fn is_tunnel(name: &str) -> bool {
    let mut all = getifaddrs().into_iter().flatten();
    all.any(|one| one.interface_name == name && one.flags.contains(InterfaceFlags::IFF_POINTOPOINT))
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}
