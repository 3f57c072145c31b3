//! Why there is no TUN device, and what to do about it.

use std::io;

/// Why [`open`](super::open) gave no device.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    /// The kernel or the container has no TUN driver.
    #[error(
        "there is no /dev/net/tun here: load the driver (modprobe tun), or give the container the device \
         (docker run --device /dev/net/tun --cap-add NET_ADMIN)"
    )]
    NoDriver,
    /// This process may not make network interfaces.
    #[error(
        "making interface {name} needs CAP_NET_ADMIN, which this process lacks: run pilotd with sudo, as a \
         systemd unit with AmbientCapabilities=CAP_NET_ADMIN, or in a container with --cap-add NET_ADMIN \
         --device /dev/net/tun"
    )]
    NotPermitted {
        /// The interface that was asked for.
        name: String,
    },
    /// Another process holds a TUN device of this name.
    #[error(
        "interface {name} is in use: another pilotd uses it; stop that one, or choose another name with --interface"
    )]
    Busy {
        /// The interface that was asked for.
        name: String,
    },
    /// An interface of this name exists and is no TUN device that we can attach to.
    #[error(
        "interface {name} exists and is no TUN device: remove it (ip link delete {name}), or choose another name with --interface"
    )]
    NotTun {
        /// The interface that was asked for.
        name: String,
    },
    /// The kernel would refuse the name.
    #[error("{name:?} is no interface name: use 1 to 15 letters, digits, hyphens, underscores or dots")]
    BadName {
        /// The interface that was asked for.
        name: String,
    },
    /// IPv6 does not work on a smaller link (RFC 8200 section 5).
    #[error("MTU {mtu} is below 1280, the least that IPv6 works with: choose 1280 or more")]
    SmallMtu {
        /// The MTU that was asked for, in bytes.
        mtu: u16,
    },
    /// Another interface already carries our network, so that packets would go astray.
    #[error(
        "interface {other} already routes {network}: another pilotd of the same network runs here; stop it, or \
         run this one in a network namespace of its own"
    )]
    NetworkTaken {
        /// The interface that has the route.
        other: String,
        /// The overlay network, as address and prefix length.
        network: ipnet::Ipv6Net,
    },
    /// The kernel has IPv6 switched off on new interfaces and we may not switch it on.
    #[error(
        "IPv6 is disabled on interface {name}: allow it (sysctl -w net.ipv6.conf.default.disable_ipv6=0, \
         docker run --sysctl net.ipv6.conf.default.disable_ipv6=0)"
    )]
    Ipv6Disabled {
        /// The interface that was asked for.
        name: String,
    },
    /// A step failed for another reason.
    #[error("could not {step} interface {name}: {source}")]
    Step {
        /// What was being done, as a verb.
        step: &'static str,
        /// The interface that was asked for.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What a failed step is told as.
pub fn step(step: &'static str, name: &str) -> impl FnOnce(io::Error) -> TunError {
    move |source| TunError::Step { step, name: name.to_owned(), source }
}
