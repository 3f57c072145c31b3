//! The routers on the way to an endpoint: UDP datagrams that die on the way, and the ICMP errors that say where.
//!
//! Needs no privilege: each hop limit has a socket of its own, whose error queue (`IP_RECVERR`, ip(7)) holds the router's
//! answer.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
    sockopt::{Ipv4RecvErr, Ipv6RecvErr},
};

use super::Hop;

/// How often each router is asked.
const ROUNDS: u32 = 3;
/// How long answers are waited for in each round.
const ROUND: Duration = Duration::from_millis(400);
/// A datagram that no node takes for anything.
const PAYLOAD: [u8; 8] = [0xff; 8];

struct Probe {
    limit: u8,
    socket: UdpSocket,
    sent: Instant,
    heard: Option<(IpAddr, Duration, bool)>,
}

/// Asks up to `most` routers on the way to `endpoint`; the list ends before the endpoint itself.
pub(super) fn trace(endpoint: SocketAddr, most: u8) -> io::Result<Vec<Hop>> {
    let mut probes = (1..=most).map(|limit| Probe::new(endpoint, limit)).collect::<io::Result<Vec<_>>>()?;
    for _ in 0..ROUNDS {
        probes.iter_mut().for_each(Probe::send);
        listen(&mut probes, Instant::now() + ROUND)?;
        if probes.iter().all(|probe| probe.heard.is_some()) {
            break;
        }
    }
    Ok(hops(&probes, endpoint))
}

fn listen(probes: &mut [Probe], until: Instant) -> io::Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let waiting: Vec<usize> = (0..probes.len()).filter(|n| probes.get(*n).is_some_and(Probe::waits)).collect();
        if left.is_zero() || waiting.is_empty() {
            return Ok(());
        }
        let fds = waiting.iter().filter_map(|n| probes.get(*n)).map(|probe| probe.socket.as_fd());
        let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO))?;
        for probe in probes.iter_mut().filter(|probe| probe.heard.is_none()) {
            probe.listen();
        }
    }
}

/// Up to the last router that answered, or to the endpoint.
fn hops(probes: &[Probe], endpoint: SocketAddr) -> Vec<Hop> {
    let at_end = |probe: &Probe| probe.heard.is_some_and(|(ip, _, is_end)| is_end || ip == endpoint.ip());
    let end = probes.iter().position(at_end).unwrap_or(probes.len());
    let before = probes.get(..end).unwrap_or_default();
    let last = before.iter().rposition(|probe| probe.heard.is_some()).map_or(0, |last| last + 1);
    let hop = |probe: &Probe| Hop {
        hop: probe.limit,
        kind: "router",
        address: probe.heard.map(|(ip, _, _)| ip.to_string()),
        rtt_ms: probe.heard.map(|(_, rtt, _)| rtt.as_secs_f64() * 1e3),
    };
    before.iter().take(last).map(hop).collect()
}

impl Probe {
    fn new(endpoint: SocketAddr, limit: u8) -> io::Result<Probe> {
        let any: SocketAddr = if endpoint.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        if endpoint.is_ipv4() {
            socket.set_ttl(limit.into())?;
            setsockopt(&socket, Ipv4RecvErr, &true)?;
        } else {
            socket2::SockRef::from(&socket).set_unicast_hops_v6(limit.into())?;
            setsockopt(&socket, Ipv6RecvErr, &true)?;
        }
        socket.connect(endpoint)?;
        Ok(Probe { limit, socket, sent: Instant::now(), heard: None })
    }

    fn waits(&self) -> bool {
        self.heard.is_none()
    }

    fn send(&mut self) {
        if self.heard.is_none() {
            self.sent = Instant::now();
            // The error of an earlier datagram may be reported here instead; the next round sends again.
            let _ = self.socket.send(&PAYLOAD);
        }
    }

    /// Takes the router's answer from the error queue, if it is there.
    fn listen(&mut self) {
        let mut data = [0; 64];
        let mut parts = [IoSliceMut::new(&mut data)];
        let mut space = nix::cmsg_space!(Answer);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let Ok(message) = recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut parts, Some(&mut space), flags)
        else {
            return;
        };
        for part in message.cmsgs().into_iter().flatten() {
            let rtt = self.sent.elapsed();
            match part {
                ControlMessageOwned::Ipv4RecvErr(error, Some(from)) => {
                    let ip = IpAddr::from(u32::from_be(from.sin_addr.s_addr).to_be_bytes());
                    self.heard = Some((ip, rtt, error.ee_type != TIME_EXCEEDED_V4));
                }
                ControlMessageOwned::Ipv6RecvErr(error, Some(from)) => {
                    self.heard = Some((IpAddr::from(from.sin6_addr.s6_addr), rtt, error.ee_type != TIME_EXCEEDED_V6));
                }
                _ => {}
            }
        }
    }
}

/// ICMP (RFC 792) and ICMPv6 (RFC 4443) types of "time exceeded".
const TIME_EXCEEDED_V4: u8 = 11;
const TIME_EXCEEDED_V6: u8 = 3;

/// Room for a router's answer: `sock_extended_err` and the address behind it.
type Answer = ([u8; 16], [u8; 28]);
