//! Which datagrams may be cut into fragments on the way, and which travel whole or not at all.
//!
//! In: a socket and datagrams. Out: the same, sent with the right setting of the socket. A datagram that carries no
//! more than IPv6's least MTU may be cut, since there is nothing smaller to fall back to; a larger one must not, so
//! that the search for the path's MTU finds out what passes ([`mtu`](crate::wire::mtu)). Linux sets this by socket,
//! not by datagram: the setting follows the traffic, and small datagrams go with either.

use crate::wire::mtu::may_fragment;
use nix::{
    getsockopt_impl, libc, setsockopt_impl, sockopt_impl,
    sys::socket::{SetSockOpt, setsockopt},
};
use parking_lot::{RwLock, RwLockWriteGuard};
use std::os::fd::AsFd;

/// Every host takes IP packets of 576 bytes (RFC 1122, section 3.3.2), and every link worth the name carries them whole.
const SMALL: usize = 576 - 28;

sockopt_impl!(
    /// When the kernel cuts IPv4 datagrams: `IP_PMTUDISC_*`.
    DiscoverV4, Both, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::c_int
);
sockopt_impl!(
    /// When the kernel cuts IPv6 datagrams: `IPV6_PMTUDISC_*`.
    DiscoverV6, Both, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::c_int
);

/// The setting of one socket.
pub struct Fragmenting {
    is_v6: bool,
    allowed: RwLock<bool>,
}

impl Fragmenting {
    /// Takes charge of a socket of one family: nothing is cut until something must be.
    pub fn new(socket: &impl AsFd, is_v6: bool) -> Fragmenting {
        let setting = Fragmenting { is_v6, allowed: RwLock::new(false) };
        setting.apply(socket, false);
        setting
    }

    /// Calls `send`, which sends `datagram` by `socket`, with the setting that the datagram needs.
    pub fn send<T>(&self, socket: &impl AsFd, datagram: &[u8], send: impl FnOnce() -> T) -> T {
        if datagram.len() <= SMALL {
            return send();
        }
        let wanted = may_fragment(datagram);
        let allowed = self.allowed.read();
        if *allowed == wanted {
            return send();
        }
        drop(allowed);
        let mut allowed = self.allowed.write();
        if *allowed != wanted {
            self.apply(socket, wanted);
            *allowed = wanted;
        }
        // Held while sending, so that nobody changes it back before.
        let _held = RwLockWriteGuard::downgrade(allowed);
        send()
    }

    /// A kernel that refuses keeps its own default, which cuts what it must: large probes then say too much.
    fn apply(&self, socket: &impl AsFd, allowed: bool) {
        // OMIT leaves cutting to routers and believes no ICMP; IPv6 routers never cut, so that the kernel must learn.
        let outcome = match (self.is_v6, allowed) {
            (false, true) => set(socket, DiscoverV4, libc::IP_PMTUDISC_OMIT),
            (false, false) => set(socket, DiscoverV4, libc::IP_PMTUDISC_PROBE),
            (true, true) => set(socket, DiscoverV6, libc::IPV6_PMTUDISC_WANT),
            (true, false) => set(socket, DiscoverV6, libc::IPV6_PMTUDISC_PROBE),
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "cannot set how datagrams are fragmented");
        }
    }
}

fn set(socket: &impl AsFd, option: impl SetSockOpt<Val = libc::c_int>, value: libc::c_int) -> nix::Result<()> {
    setsockopt(socket, option, &value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tun::netns::Namespace;
    use nix::sys::socket::getsockopt;
    use std::io;
    use std::net::UdpSocket;

    fn datagram(inner: usize) -> Vec<u8> {
        vec![4; inner + 32]
    }

    /// Two machines whose cable has a small MTU on one side only: the sender's, which then knows it.
    fn machines(mtu: u16) -> Option<[Namespace; 2]> {
        let (a, b) = (Namespace::new()?, Namespace::new()?);
        a.cable("192.0.2.1/24", &b, "192.0.2.2/24");
        for (namespace, address) in [(&a, "2001:db8::1/64"), (&b, "2001:db8::2/64")] {
            namespace.run(&format!("ip address add {address} dev eth0 nodad"));
        }
        a.run(&format!("ip link set eth0 mtu {mtu}"));
        Some([a, b])
    }

    fn round(machines: &[Namespace; 2], addresses: [&str; 2]) {
        let [a, b] = machines;
        let [from, to] = addresses.map(|ip| (ip.parse::<std::net::IpAddr>().unwrap(), 9));
        let sender = a.enter(|| UdpSocket::bind(from)).unwrap();
        let receiver = b.enter(|| UdpSocket::bind(to)).unwrap();
        receiver.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let setting = Fragmenting::new(&sender, from.0.is_ipv6());
        let send = |bytes: &[u8]| setting.send(&sender, bytes, || sender.send_to(bytes, to));
        let mut buffer = [0; 2000];
        for inner in [1420, 1280, 100, 1281, 1280, 1350] {
            let bytes = datagram(inner);
            match send(&bytes) {
                Ok(_) => {
                    assert!(inner <= 1280, "{inner} bytes went out");
                    assert_eq!(receiver.recv(&mut buffer).unwrap(), bytes.len());
                }
                Err(error) => {
                    assert!(inner > 1280, "{inner}: {error}");
                    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
                }
            }
        }
        assert_eq!(
            receiver.set_nonblocking(true).and_then(|()| receiver.recv(&mut buffer)).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    fn the_base_gets_through_a_narrow_link_and_nothing_larger_is_cut() {
        let Some(machines) = machines(1290) else { return };
        round(&machines, ["192.0.2.1", "192.0.2.2"]);
        round(&machines, ["2001:db8::1", "2001:db8::2"]);
    }

    /// Routers of IPv6 cut nothing: they say what fits, and the sender's kernel cuts.
    #[test]
    fn the_base_gets_through_a_narrow_ipv6_network_farther_on() {
        let Some((a, (router, b))) = Namespace::new().zip(Namespace::new().zip(Namespace::new())) else { return };
        a.cable("2001:db8:a::1/64", &router, "2001:db8:a::2/64");
        for line in ["set eth0 down", "set eth0 name west", "set west up"] {
            router.run(&format!("ip link {line}"));
        }
        router.run("ip address add 2001:db8:a::2/64 dev west nodad");
        router.cable("2001:db8:b::2/64", &b, "2001:db8:b::1/64");
        router.run("sysctl -qw net.ipv6.conf.all.forwarding=1");
        for narrow in [&router, &b] {
            narrow.run("ip link set eth0 mtu 1300");
        }
        a.run("ip -6 route add default via 2001:db8:a::2");
        b.run("ip -6 route add default via 2001:db8:b::2");
        let sender = a.enter(|| UdpSocket::bind("[2001:db8:a::1]:9")).unwrap();
        let receiver = b.enter(|| UdpSocket::bind("[2001:db8:b::1]:9")).unwrap();
        receiver.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
        let setting = Fragmenting::new(&sender, true);
        let send = |inner| {
            let bytes = datagram(inner);
            setting.send(&sender, &bytes, || sender.send_to(&bytes, "[2001:db8:b::1]:9"))
        };
        let mut buffer = [0; 2000];
        // The first teaches the kernel.
        let arrived = (0..100).find_map(|_| send(1280).and_then(|_| receiver.recv(&mut buffer)).ok());
        assert_eq!(arrived, Some(1312));
        // Some waited for neighbours to be found.
        while receiver.recv(&mut buffer).is_ok() {}
        for _ in 0..5 {
            send(1350).unwrap();
            assert!(receiver.recv(&mut buffer).is_err(), "what is larger goes whole or not at all");
        }
        send(1280).unwrap();
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 1312);
    }

    #[test]
    fn the_setting_changes_only_when_it_must() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let setting = Fragmenting::new(&socket, false);
        let after = |inner| {
            setting.send(&socket, &datagram(inner), || ());
            getsockopt(&socket, DiscoverV4).unwrap()
        };
        let steps = [
            (20, libc::IP_PMTUDISC_PROBE),
            (1280, libc::IP_PMTUDISC_OMIT),
            (20, libc::IP_PMTUDISC_OMIT),
            (1281, libc::IP_PMTUDISC_PROBE),
        ];
        for (inner, setting) in steps {
            assert_eq!(after(inner), setting, "{inner}");
        }
    }
}
