//! A reflector on two public addresses with two ports each, and what a socket behind a translator learns by it
//! (the idea of RFC 5780). All sockets are the test's own: they live in their namespaces, and are read in turn.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::lab::{Dependence, Host, Ports};

/// How long a datagram may take through the lab.
const ARRIVAL: Duration = Duration::from_millis(250);
/// Fresh sockets that show how ports are chosen.
const SAMPLES: usize = 6;

/// The reflector: its sockets are 0 and 1 on the first address, 2 and 3 on the second.
pub struct Reflector {
    sockets: Vec<UdpSocket>,
}

impl Reflector {
    /// On a public host, which gets a second address.
    pub fn new(host: &Host, second: &str) -> Reflector {
        host.run(&format!("ip addr add {second}/32 dev wan"));
        let addresses = [&host.ip, second].map(str::to_owned);
        let all = addresses.iter().flat_map(|ip| [format!("{ip}:3478"), format!("{ip}:3479")]);
        Reflector { sockets: all.map(|address| open(host, &address)).collect() }
    }

    /// On the IPv6 address of a host, two ports.
    pub fn ipv6(host: &Host) -> Reflector {
        let ip = host.ipv6.as_ref().expect("a host with IPv6");
        Reflector { sockets: (3478..3480).map(|port| open(host, &format!("[{ip}]:{port}"))).collect() }
    }

    fn address(&self, at: usize) -> SocketAddr {
        self.sockets[at].local_addr().expect("a bound socket")
    }

    /// What the reflector's socket `at` sees `from` as; nothing when the datagram does not arrive.
    pub fn observe(&self, from: &UdpSocket, at: usize) -> Option<SocketAddr> {
        pass(from, self.address(at), &self.sockets[at])
    }

    /// Whether the reflector's socket `from` reaches `to`, which leads to `inside`.
    pub fn reaches(&self, from: usize, to: SocketAddr, inside: &UdpSocket) -> bool {
        pass(&self.sockets[from], to, inside).is_some()
    }

    /// Which destinations share a mapping.
    pub fn mapping(&self, host: &Host) -> Dependence {
        let socket = open(host, "0.0.0.0:0");
        let seen: Vec<SocketAddr> = (0..4).map(|at| self.observe(&socket, at).expect("a datagram gets out")).collect();
        match (seen[0] == seen[1] && seen[2] == seen[3], seen[0] == seen[2]) {
            (true, true) => Dependence::Endpoint,
            (true, false) => Dependence::Address,
            (false, _) => Dependence::AddressAndPort,
        }
    }

    /// Who may send to a mapping.
    pub fn filtering(&self, host: &Host) -> Dependence {
        let socket = open(host, "0.0.0.0:0");
        let mapped = self.observe(&socket, 0).expect("a datagram gets out");
        let [stranger, other_port, contacted] = [3, 1, 0].map(|from| self.reaches(from, mapped, &socket));
        assert!(contacted, "whom the inside contacted may answer");
        match (stranger, other_port) {
            (true, true) => Dependence::Endpoint,
            (false, true) => Dependence::Address,
            (_, false) => Dependence::AddressAndPort,
        }
    }

    /// How ports of new mappings are chosen.
    pub fn ports(&self, host: &Host) -> Ports {
        let sockets: Vec<UdpSocket> = (0..SAMPLES).map(|_| open(host, "0.0.0.0:0")).collect();
        let port = |socket: &UdpSocket| socket.local_addr().expect("a bound socket").port();
        let inside: Vec<u16> = sockets.iter().map(port).collect();
        let seen = sockets.iter().map(|socket| self.observe(socket, 0).expect("a datagram gets out").port());
        let outside: Vec<u16> = seen.collect();
        if inside == outside {
            Ports::Preserved
        } else if outside.windows(2).all(|pair| pair[1] == pair[0] + 1) {
            Ports::Sequential
        } else {
            Ports::Random
        }
    }

    /// The port that the inside port 40404 leaves from, after a packet from outside to that very port.
    pub fn port_after_an_early_packet(&self, host: &Host, wan: &str) -> u16 {
        let inside = open(host, "0.0.0.0:40404");
        let early = format!("{wan}:40404").parse().expect("an endpoint");
        assert!(!self.reaches(0, early, &inside), "nothing inside has asked for it");
        self.observe(&inside, 0).expect("a datagram gets out").port()
    }

    /// Whether two hosts behind one translator reach each other by their outside endpoints, once both have sent.
    pub fn hairpins(&self, a: &Host, b: &Host) -> bool {
        let (a, b) = (open(a, "0.0.0.0:0"), open(b, "0.0.0.0:0"));
        let (at_a, at_b) = (self.observe(&a, 0).expect("gets out"), self.observe(&b, 0).expect("gets out"));
        pass(&a, at_b, &b);
        let back = pass(&b, at_a, &a);
        let forth = pass(&a, at_b, &b);
        assert_eq!(back.is_some(), forth.is_some(), "hairpinning works both ways or not at all");
        assert!(back.is_none_or(|from| from == at_b), "an outside source is shown (RFC 4787, REQ-9), not {back:?}");
        back.is_some()
    }
}

/// A socket of the test in a host's namespace.
pub fn open(host: &Host, address: &str) -> UdpSocket {
    let socket = host.enter(|| UdpSocket::bind(address).expect("a free port"));
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    socket
}

/// Sends a datagram; where it arrives at `at` in time, gives whom it came from.
pub fn pass(from: &UdpSocket, to: SocketAddr, at: &UdpSocket) -> Option<SocketAddr> {
    let token = rand_core::RngCore::next_u64(&mut rand_core::OsRng).to_be_bytes();
    if from.send_to(&token, to).is_err() {
        // What an earlier datagram met (ICMP) is told here.
        let _ = from.send_to(&token, to);
    }
    receive(at, &token)
}

fn receive(at: &UdpSocket, token: &[u8]) -> Option<SocketAddr> {
    let (started, mut buffer) = (Instant::now(), [0; 64]);
    while started.elapsed() < ARRIVAL {
        match at.recv_from(&mut buffer) {
            Ok((length, from)) if buffer[..length] == *token => return Some(from),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}"),
        }
    }
    None
}
