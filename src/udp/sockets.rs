//! The sockets themselves, one a family.

use super::bind::{self, ANY_V4};
use super::main_pair::{Main, Ready};
use super::run::Run;
use super::socket::Sent;
use super::spares::Spares;
use crate::wire::Ecn;
use crate::wire::drops::{Drop, Drops};
use crate::wire::path::MAIN;
use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

/// What openers say: nothing that anybody takes for a datagram of ours.
const OPENER: [u8; 1] = [0];

/// The hop limit of everything else.
const HOPS: u32 = 64;

/// One UDP socket a family on one port, and spare ones on ports of their own; a family that the machine lacks is
/// done without.
pub struct Sockets {
    main: Main,
    /// On the same port, for further threads to receive from.
    more: Vec<Main>,
    spares: Spares,
    drops: Arc<Drops>,
}

/// Why there are no sockets.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    /// Somebody else has the port.
    #[error(
        "UDP port {port} is in use: another pilotd or program has it; choose another with --listen-port, or 0 for any"
    )]
    PortInUse {
        /// The port that was asked for.
        port: u16,
    },
    /// This process may not take the port.
    #[error("UDP port {port} needs CAP_NET_BIND_SERVICE: choose one from 1024 on with --listen-port, or 0 for any")]
    NotPermitted {
        /// The port that was asked for.
        port: u16,
    },
    /// The machine gave neither an IPv4 nor an IPv6 socket.
    #[error("could not open UDP port {port} on IPv4 or IPv6: {source}")]
    Open {
        /// The port that was asked for; 0 for any.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Sockets {
    /// Binds `port` on all addresses of both families; 0 takes a random port, the same for both if possible.
    ///
    /// The sockets are non-blocking. Datagrams that cannot be sent are counted in `drops`.
    pub fn bind(port: u16, drops: Arc<Drops>) -> Result<Sockets, UdpError> {
        let main = Main::bind(port).map_err(|source| failed(port, source))?;
        Ok(Sockets { main, more: Vec::new(), spares: Spares::default(), drops })
    }

    /// Lets so many threads receive, each from sockets of its own on the same port: the kernel deals out the senders
    /// among them (`SO_REUSEPORT`), so that what one sends stays in order.
    pub fn spread(mut self, receivers: usize) -> io::Result<Sockets> {
        for _ in 1..receivers {
            self.more.push(self.main.another()?);
        }
        Ok(self)
    }

    /// How many threads may receive.
    pub fn receivers(&self) -> usize {
        1 + self.more.len()
    }

    /// Opens up to `count` IPv4 sockets on random ports: their numbers and ports.
    pub fn open_spares(&self, count: u16) -> Vec<(u16, u16)> {
        let mut opened = Vec::new();
        for _ in 0..count {
            let Ok(Some(socket)) = bind::open(ANY_V4, 0) else { break };
            let Ok(port) = bind::port(&socket) else { break };
            let Some(number) = self.spares.add(socket, &self.main.wake) else { break };
            opened.push((number, port));
        }
        opened
    }

    /// Sends a byte from a spare socket that ends after so many hops.
    pub fn send_opener(&self, socket: u16, to: SocketAddr, hops: u8) {
        if let Some(socket) = self.spares.get(socket)
            && socket.set_ttl(hops.into()).is_ok()
        {
            // What is lost here is lost on the way anyway.
            let _ = socket.send_to(&OPENER, to);
            let _ = socket.set_ttl(HOPS);
        }
    }

    /// Closes spare sockets; numbers that are closed already do no harm.
    pub fn close_spares(&self, numbers: &[u16]) {
        self.spares.remove(numbers);
    }

    /// Lets [`Sockets::wait_each`] end once the other end of `stop` is closed.
    pub fn stop_by(&self, stop: &impl AsFd) -> io::Result<()> {
        self.mains().try_for_each(|main| main.wake.stop_by(stop))
    }

    /// Waits until there is something to read for the receiver of this number, and calls `take` with the number of each
    /// socket that has it, and the socket. False once it is to stop. Spare sockets are the first
    /// receiver's.
    pub fn wait_each(&self, receiver: usize, mut take: impl FnMut(u16, &UdpSocket)) -> io::Result<bool> {
        let main = self.mains().nth(receiver).ok_or(io::ErrorKind::InvalidInput)?;
        main.wait_each(|socket| match socket {
            Ready::Main(socket) => take(MAIN, socket),
            Ready::Spare(number) => {
                if let Some(socket) = self.spares.get(number) {
                    take(number, &socket);
                }
            }
        })
    }

    fn mains(&self) -> impl Iterator<Item = &Main> {
        std::iter::once(&self.main).chain(&self.more)
    }

    /// The local port for IPv4, if the machine has IPv4.
    pub fn port_v4(&self) -> Option<u16> {
        bind::port(self.main.v4.as_ref()?).ok()
    }

    /// The local port for IPv6, if the machine has IPv6.
    pub fn port_v6(&self) -> Option<u16> {
        bind::port(self.main.v6.as_ref()?).ok()
    }

    /// The first receiver's, without the spare ones.
    pub fn each(&self) -> impl Iterator<Item = &UdpSocket> {
        self.main.v4.iter().chain(&self.main.v6).map(|socket| &**socket)
    }

    /// Sends one datagram by the main socket of the family of `to`, or by a spare one. A datagram that cannot be sent
    /// now is lost and counted.
    pub fn send_to(&self, socket: u16, to: SocketAddr, datagram: &[u8]) -> Sent {
        self.send_run(socket, &Run::one(to, Ecn::NotCapable, datagram))
    }

    /// Sends datagrams of one size like [`Sockets::send_to`]; what became of the first that did not go out, which is
    /// counted, otherwise of all.
    pub fn send_run(&self, socket: u16, run: &Run<'_>) -> Sent {
        let run = Run { to: canonical(run.to), ..*run };
        let sent = match (socket, run.to.is_ipv4()) {
            (MAIN, true) => self.main.v4.as_ref().map(|socket| socket.send_run(&run)),
            (MAIN, false) => self.main.v6.as_ref().map(|socket| socket.send_run(&run)),
            (spare, _) => self.spares.get(spare).map(|socket| socket.send_run(&run)),
        };
        let sent = sent.unwrap_or(Sent::Lost);
        match sent {
            Sent::Out => {}
            Sent::TooBig => self.drops.count(Drop::TooBig),
            Sent::Refused | Sent::Lost => self.drops.count(Drop::SendFailed),
        }
        sent
    }
}

/// Readable while any of the first receiver's sockets is.
impl AsFd for Sockets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.main.wake.as_fd()
    }
}

/// IPv4 where it was written as IPv6; the scope of a link-local address stays.
fn canonical(to: SocketAddr) -> SocketAddr {
    match to.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, to.port()),
        IpAddr::V6(_) => to,
    }
}

fn failed(port: u16, source: io::Error) -> UdpError {
    match source.kind() {
        io::ErrorKind::AddrInUse => UdpError::PortInUse { port },
        io::ErrorKind::PermissionDenied => UdpError::NotPermitted { port },
        _ => UdpError::Open { port, source },
    }
}

#[cfg(test)]
mod tests {
    use super::bind::BUFFER;
    use super::*;
    use crate::threads::Threads;
    use crate::tun::netns::Namespace;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    fn bind_any() -> Sockets {
        Sockets::bind(0, Arc::default()).unwrap()
    }

    fn receive(sockets: &Sockets, buffer: &mut [u8]) -> SocketAddr {
        let mut wait: Vec<_> = sockets.each().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)).collect();
        assert!(poll(&mut wait, PollTimeout::from(10_000u16)).unwrap() > 0);
        sockets.each().find_map(|socket| socket.recv_from(buffer).ok()).unwrap().1
    }

    #[test]
    fn a_random_port_is_the_same_for_both_families() {
        let sockets = bind_any();
        assert_ne!(sockets.port_v4(), Some(0));
        assert_eq!(sockets.port_v4(), sockets.port_v6());
    }

    #[test]
    fn datagrams_go_out_by_the_family_of_their_destination() {
        let (a, b) = (bind_any(), bind_any());
        let port = b.port_v4().unwrap();
        for to in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let to: IpAddr = to.parse().unwrap();
            a.send_to(MAIN, SocketAddr::new(to, port), b"hello");
            let from = receive(&b, &mut [0; 64]);
            assert_eq!(from.ip(), to.to_canonical());
        }
    }

    #[test]
    fn a_spare_socket_sends_and_receives_under_its_number_until_it_is_closed() {
        let (a, b) = (bind_any(), bind_any());
        let opened = a.open_spares(3);
        let [(first, port), (second, _), (third, _)] = opened[..] else { panic!("{opened:?}") };
        assert!(first != MAIN && first != second && second != third);
        let home = SocketAddr::new([127, 0, 0, 1].into(), b.port_v4().unwrap());
        a.send_to(first, home, b"out");
        let seen = receive(&b, &mut [0; 64]);
        assert_eq!(seen.port(), port);
        b.send_to(MAIN, seen, b"back");
        let mut wait = [PollFd::new(a.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut wait, PollTimeout::from(10_000u16)), Ok(1));
        let mut got = Vec::new();
        assert!(
            a.wait_each(0, |number, socket| got.push((number, socket.recv_from(&mut [0; 64]).unwrap().0))).unwrap()
        );
        assert_eq!(got, [(first, 4)]);
        a.close_spares(&[first]);
        a.send_to(first, home, b"closed");
        assert_eq!(a.drops.get(Drop::SendFailed), 1);
    }

    #[test]
    fn the_receivers_of_a_port_share_its_senders_and_each_gets_all_that_one_sends() {
        let sockets = bind_any().spread(3).unwrap();
        assert_eq!(sockets.receivers(), 3);
        let to = SocketAddr::new([127, 0, 0, 1].into(), sockets.port_v4().unwrap());
        let senders: Vec<Sockets> = (0..40).map(|_| bind_any()).collect();
        for number in 0..10 {
            for sender in &senders {
                assert_eq!(sender.send_to(MAIN, to, &[number]), Sent::Out);
            }
        }
        let (sockets, (told, all)) = (Arc::new(sockets), std::sync::mpsc::channel());
        let mut threads = Threads::new().unwrap();
        sockets.stop_by(threads.stopped()).unwrap();
        for receiver in 0..3 {
            let (sockets, told) = (sockets.clone(), told.clone());
            let take = move |_: u16, socket: &UdpSocket| {
                let mut byte = [0];
                while let Ok((_, from)) = socket.recv_from(&mut byte) {
                    told.send((from, (receiver, byte[0]))).unwrap();
                }
            };
            threads.start("receives", move |_| while sockets.wait_each(receiver, &take).unwrap() {}).unwrap();
        }
        let mut heard = std::collections::HashMap::new();
        for _ in 0..400 {
            let (from, which) = all.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
            heard.entry(from).or_insert_with(Vec::new).push(which);
        }
        drop(threads);
        let used: std::collections::BTreeSet<usize> = heard.values().map(|all| all[0].0).collect();
        assert!(used.len() > 1);
        assert_eq!(heard.len(), 40);
        for all in heard.values() {
            assert_eq!(*all, (0..10).map(|number| (all[0].0, number)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_taken_port_is_named() {
        for first in [bind_any(), bind_any().spread(2).unwrap()] {
            let taken = first.port_v4().unwrap();
            let error = Sockets::bind(taken, Arc::default()).err().unwrap();
            assert!(matches!(error, UdpError::PortInUse { port } if port == taken), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_counted() {
        let drops: Arc<Drops> = Arc::default();
        let sockets = Sockets::bind(0, drops.clone()).unwrap();
        assert_eq!(sockets.send_to(MAIN, "127.0.0.1:9".parse().unwrap(), &[0; 70_000]), Sent::TooBig);
        assert_eq!(sockets.send_to(MAIN, "127.0.0.1:0".parse().unwrap(), b"nowhere"), Sent::Lost);
        assert_eq!(sockets.send_to(9, "127.0.0.1:9".parse().unwrap(), b"no such socket"), Sent::Lost);
        assert_eq!((drops.get(Drop::TooBig), drops.get(Drop::SendFailed)), (1, 2));
    }

    #[test]
    fn an_empty_port_elsewhere_does_not_lose_the_next_datagram() {
        let (a, b) = (bind_any(), bind_any());
        let closed = bind_any().port_v4().unwrap();
        a.send_to(MAIN, SocketAddr::new([127, 0, 0, 1].into(), closed), b"nobody");
        a.send_to(MAIN, SocketAddr::new([127, 0, 0, 1].into(), b.port_v4().unwrap()), b"hello");
        receive(&b, &mut [0; 64]);
        assert_eq!(a.drops.get(Drop::SendFailed), 0);
    }

    #[test]
    fn kernel_buffers_hold_bursts() {
        let Some(namespace) = Namespace::new() else {
            return;
        };
        let sockets = namespace.enter(bind_any);
        for socket in sockets.each() {
            let socket = socket2::SockRef::from(socket);
            // The kernel reports twice what was asked for: its own bookkeeping counts.
            assert!(socket.recv_buffer_size().unwrap() >= 2 * BUFFER);
            assert!(socket.send_buffer_size().unwrap() >= 2 * BUFFER);
        }
    }
}
