//! The sockets themselves, one a family.

use super::run::Run;
use super::socket::{Sent, Socket};
use super::spares::Spares;
use crate::wire::Ecn;
use crate::wire::drops::{Drop, Drops};
use crate::wire::path::MAIN;
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        socket::{setsockopt, sockopt},
    },
};
use socket2::{Domain, Protocol, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

/// Room for bursts, in bytes: at the system's default of 208 KiB a fast sender loses datagrams.
const BUFFER: usize = 4 << 20;

/// What openers say: nothing that anybody takes for a datagram of ours.
const OPENER: [u8; 1] = [0];

/// The hop limit of everything else.
const HOPS: u32 = 64;

/// So many random ports are tried for one that is free in both families.
const ATTEMPTS: u32 = 16;

/// One UDP socket a family on one port, and spare ones on ports of their own; a family that the machine lacks is
/// done without.
pub struct Sockets {
    v4: Option<Socket>,
    v6: Option<Socket>,
    spares: Spares,
    poll: Epoll,
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
        let bound = if port == 0 { random() } else { pair(port) };
        let (v4, v6) = bound.map_err(|source| failed(port, source))?;
        let poll = watching(&v4, &v6).map_err(|source| failed(port, source))?;
        Ok(Sockets { v4, v6, spares: Spares::default(), poll, drops })
    }

    /// Opens up to `count` IPv4 sockets on random ports: their numbers and ports.
    pub fn open_spares(&self, count: u16) -> Vec<(u16, u16)> {
        let mut opened = Vec::new();
        for _ in 0..count {
            let Ok(Some(socket)) = open(ANY_V4, 0) else { break };
            let Ok(port) = port(&socket) else { break };
            let Some(number) = self.spares.add(socket, &self.poll) else { break };
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
        Ok(self.poll.add(stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?)
    }

    /// Waits until there is something to read, and calls `take` with the number of each socket that has it, and the
    /// socket; at most 64 at a time. False once it is to stop.
    pub fn wait_each(&self, mut take: impl FnMut(u16, &UdpSocket)) -> io::Result<bool> {
        let mut events = [EpollEvent::empty(); 64];
        let count = match self.poll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => 0,
            waited => waited?,
        };
        for event in events.iter().take(count) {
            match event.data() {
                STOP => return Ok(false),
                V4 => self.v4.iter().for_each(|socket| take(MAIN, socket)),
                V6 => self.v6.iter().for_each(|socket| take(MAIN, socket)),
                spare => {
                    let number = spare as u16;
                    if let Some(socket) = self.spares.get(number) {
                        take(number, &socket);
                    }
                }
            }
        }
        Ok(true)
    }

    /// The local port for IPv4, if the machine has IPv4.
    pub fn port_v4(&self) -> Option<u16> {
        port(self.v4.as_ref()?).ok()
    }

    /// The local port for IPv6, if the machine has IPv6.
    pub fn port_v6(&self) -> Option<u16> {
        port(self.v6.as_ref()?).ok()
    }

    /// The sockets to wait on and to receive from.
    pub fn each(&self) -> impl Iterator<Item = &UdpSocket> {
        self.v4.iter().chain(&self.v6).map(|socket| &**socket)
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
            (MAIN, true) => self.v4.as_ref().map(|socket| socket.send_run(&run)),
            (MAIN, false) => self.v6.as_ref().map(|socket| socket.send_run(&run)),
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

/// Readable while any of the sockets is.
impl AsFd for Sockets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.0.as_fd()
    }
}

/// What the main sockets and the signal to stop are called in events; spare ones by their number.
const V4: u64 = 1 << 32;
const V6: u64 = 1 << 33;
const STOP: u64 = 1 << 34;

fn watching(v4: &Option<Socket>, v6: &Option<Socket>) -> io::Result<Epoll> {
    let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (socket, name) in [(v4, V4), (v6, V6)] {
        if let Some(socket) = socket {
            poll.add(&**socket, EpollEvent::new(EpollFlags::EPOLLIN, name))?;
        }
    }
    Ok(poll)
}

/// IPv4 where it was written as IPv6; the scope of a link-local address stays.
fn canonical(to: SocketAddr) -> SocketAddr {
    match to.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, to.port()),
        IpAddr::V6(_) => to,
    }
}

type Pair = (Option<Socket>, Option<Socket>);

const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

fn pair(port: u16) -> io::Result<Pair> {
    match (open(ANY_V4, port)?, open(ANY_V6, port)?) {
        (None, None) => Err(io::ErrorKind::Unsupported.into()),
        pair => Ok(pair),
    }
}

fn random() -> io::Result<Pair> {
    for _ in 0..ATTEMPTS {
        let Some(v4) = open(ANY_V4, 0)? else { break };
        match open(ANY_V6, port(&v4)?) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            v6 => return Ok((Some(v4), v6?)),
        }
    }
    pair(0)
}

/// A socket bound to `ip` and `port`; `None` where the machine lacks the family.
fn open(ip: IpAddr, port: u16) -> io::Result<Option<Socket>> {
    match bind(SocketAddr::new(ip, port)) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) => Ok(None),
            _ => Err(error),
        },
    }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    widen(&socket)?;
    socket.bind(&address.into())?;
    Ok(Socket::new(socket.into(), address.is_ipv6()))
}

/// Asks for large buffers beyond the system's limit, which CAP_NET_ADMIN allows, else up to the limit.
fn widen(socket: &socket2::Socket) -> io::Result<()> {
    if setsockopt(socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        socket.set_recv_buffer_size(BUFFER)?;
    }
    if setsockopt(socket, sockopt::SndBufForce, &BUFFER).is_err() {
        socket.set_send_buffer_size(BUFFER)?;
    }
    Ok(())
}

fn port(socket: &UdpSocket) -> io::Result<u16> {
    socket.local_addr().map(|address| address.port())
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
    use super::*;
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
        assert!(a.wait_each(|number, socket| got.push((number, socket.recv_from(&mut [0; 64]).unwrap().0))).unwrap());
        assert_eq!(got, [(first, 4)]);
        a.close_spares(&[first]);
        a.send_to(first, home, b"closed");
        assert_eq!(a.drops.get(Drop::SendFailed), 1);
    }

    #[test]
    fn a_taken_port_is_named() {
        let port = bind_any();
        let taken = port.port_v4().unwrap();
        let error = Sockets::bind(taken, Arc::default()).err().unwrap();
        assert!(matches!(error, UdpError::PortInUse { port } if port == taken), "{error}");
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
