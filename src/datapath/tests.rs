//! Two machines on the real kernel: two namespaces, two TUN devices, a cable between them.

use super::*;
use crate::wire::path::MAIN;
use crate::{
    identity::{Address, Network, NodeId, Prefix, TunnelSecret},
    peer::{Entry, Limiter, Overlay, Slot, Tunnel},
    tun::{self, netns::Namespace},
    wire::{
        Drop, Hop, Mtu, Path,
        control::{self, Control},
    },
};
use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

/// How long to wait for what must come, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Places in the queue to the slow path, two of which the threads keep.
const QUEUE: usize = 16;

/// A machine with its datapath running and the slow path in the hands of the test.
struct Machine {
    namespace: Namespace,
    overlay: Overlay,
    parts: Parts,
    slow: mpsc::Receiver<Slow>,
    tunnel: Arc<Tunnel>,
    /// What the path to the peer is said to carry.
    mtu: u16,
    datapath: Option<Datapath>,
}

fn overlay(node: u64) -> Overlay {
    let address = Address { network: Network(0), node: NodeId::from_u64(node).unwrap() };
    Overlay { prefix: Prefix::default(), address }
}

fn secret(machine: u8) -> TunnelSecret {
    TunnelSecret::from_bytes([machine; 32])
}

impl Machine {
    /// Machine number `us` with a tunnel to number `them`, without session or path.
    fn new(namespace: Namespace, us: u8, them: u8) -> Machine {
        let overlay = overlay(us.into());
        let limiter = Limiter::new(secret(us).public(), 100);
        let slot = Slot::new(us.into()).unwrap();
        let tunnel = Arc::new(Tunnel::new(&secret(us), secret(them).public(), slot, &limiter));
        let drops: Arc<Drops> = Arc::default();
        let ours = overlay.prefix.ipv6(overlay.address);
        let (sender, slow) = mpsc::channel(QUEUE);
        let parts = namespace.enter(|| Parts {
            device: Arc::new(tun::open("pilot0", ours, 64, 1420, 3).unwrap()),
            sockets: Arc::new(Sockets::bind(0, drops.clone()).unwrap().spread(2).unwrap()),
            streams: Streams::new(Vec::new(), drops.clone()),
            table: Arc::new(ArcSwap::from_pointee(PeerTable::new(overlay, None, Vec::new()))),
            drops: drops.clone(),
            slow: sender,
        });
        let datapath = Some(Datapath::start(parts.clone(), 2).unwrap());
        Machine { namespace, overlay, parts, slow, tunnel, mtu: 1420, datapath }
    }

    /// Publishes a table in which `peer` is reached at `path`.
    fn publish(&self, peer: &Machine, path: Option<SocketAddr>) {
        let entry = Entry {
            tunnel: Some(self.tunnel.clone()),
            id: Some(peer.overlay.address.node),
            address: peer.address(),
            path: path.map(Path::Direct),
            mtu: Mtu::fixed(self.mtu),
            gate: None,
        };
        self.parts.table.store(Arc::new(PeerTable::new(self.overlay, None, vec![entry])));
    }

    fn address(&self) -> std::net::Ipv6Addr {
        self.overlay.prefix.ipv6(self.overlay.address)
    }

    /// Waits until so many were dropped for this reason.
    fn counts(&self, reason: Drop, wanted: u64) {
        let start = Instant::now();
        while self.parts.drops.get(reason) < wanted {
            assert!(start.elapsed() < PATIENCE, "{reason} was never counted");
            std::thread::yield_now();
        }
    }

    /// The next item for the slow path.
    fn next_slow(&mut self) -> Slow {
        let wait = async { tokio::time::timeout(PATIENCE, self.slow.recv()).await };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(wait).expect("nothing came").unwrap()
    }

    /// The next datagram for the slow path that is not about something else.
    fn next_datagram(&mut self) -> Vec<u8> {
        loop {
            if let Slow::Datagram(_, _, datagram) = self.next_slow() {
                return datagram;
            }
        }
    }
}

/// Two machines, the second at the given endpoint from the first's point of view and the reverse.
fn pair() -> Option<(Machine, SocketAddr, Machine, SocketAddr)> {
    let (here, there) = Namespace::new().zip(Namespace::new())?;
    here.cable("192.0.2.1/24", &there, "192.0.2.2/24");
    let (a, b) = (Machine::new(here, 1, 2), Machine::new(there, 2, 1));
    let at = |ip: [u8; 4], machine: &Machine| SocketAddr::new(ip.into(), machine.parts.sockets.port_v4().unwrap());
    let (at_a, at_b) = (at([192, 0, 2, 1], &a), at([192, 0, 2, 2], &b));
    Some((a, at_a, b, at_b))
}

/// Carries the handshake messages between the slow paths, through the real sockets.
fn shake_hands(a: &mut Machine, at_a: SocketAddr, b: &mut Machine, at_b: SocketAddr) {
    let mut buffer = [0; 2048];
    a.publish(b, Some(at_b));
    b.publish(a, Some(at_a));
    let length = a.tunnel.initiate(&mut buffer).unwrap();
    a.parts.sockets.send_to(MAIN, at_b, &buffer[..length]);
    let initiation = b.next_datagram();
    let length = b.tunnel.handle_initiation(&initiation, &mut buffer).unwrap();
    b.parts.sockets.send_to(MAIN, at_a, &buffer[..length]);
    let response = a.next_datagram();
    let length = a.tunnel.handle_response(&response, &mut buffer).unwrap();
    a.parts.sockets.send_to(MAIN, at_b, &buffer[..length]);
    let Slow::Heard(arrival) = b.next_slow() else { panic!("the first keepalive is news") };
    assert_eq!((arrival.slot, arrival.via), (b.tunnel.slot(), Path::Direct(at_a)));
}

#[test]
fn kernel_datapath_carries_packets() {
    let Some((mut a, at_a, mut b, at_b)) = pair() else {
        return;
    };
    shake_hands(&mut a, at_a, &mut b, at_b);
    for (from, to) in [(&a, &b), (&b, &a)] {
        // The kernel makes a new address reachable a moment after it can be bound.
        from.namespace.run(&format!("ping -6 -c 1 -i 0.05 -w 10 {}", to.address()));
        // 1,372 bytes and their headers fill the MTU.
        for size in [0, 56, 1372] {
            let ping = format!("ping -6 -c 3 -i 0.05 -W 10 -s {size} {}", to.address());
            let said = from.namespace.run(&ping);
            assert!(said.contains(" 0% packet loss"), "{said}");
        }
    }
}

/// Bursts of random datagrams, some of them handed to the kernel as one, on several ports: each port gets its own in order
/// and byte by byte, whatever was split, joined and sent together on the way.
#[test]
fn kernel_datapath_gives_what_was_sent_whatever_travels_together() {
    use crate::udp::{Run, Socket};
    use crate::wire::Ecn;
    use rand_chacha::{
        ChaCha8Rng,
        rand_core::{RngCore, SeedableRng},
    };
    let Some((mut a, at_a, mut b, at_b)) = pair() else {
        return;
    };
    shake_hands(&mut a, at_a, &mut b, at_b);
    a.namespace.run(&format!("ping -6 -c 1 -i 0.05 -w 10 {}", b.address()));
    let bind = |machine: &Machine| machine.namespace.enter(|| UdpSocket::bind((machine.address(), 0)).unwrap());
    let receivers: Vec<UdpSocket> = (0..3).map(|_| bind(&b)).collect();
    let senders: Vec<Socket> = (0..3).map(|_| Socket::new(bind(&a), true)).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut below = |limit: usize| rng.next_u32() as usize % limit;
    let mut buffer = [0; 2_000];
    for _ in 0..200 {
        let mut expected = [const { Vec::new() }; 3];
        for _ in 0..1 + below(8) {
            let (port, size, count) = (below(3), 1 + below(1_372), 1 + below(10));
            let bytes: Vec<u8> = (0..size * (count - 1) + 1 + below(size)).map(|_| below(256) as u8).collect();
            let to = receivers[port].local_addr().unwrap();
            senders[port].send_run(&Run { to, ecn: Ecn::NotCapable, bytes: &bytes, size });
            expected[port].extend(bytes.chunks(size).map(<[u8]>::to_vec));
        }
        for (receiver, expected) in receivers.iter().zip(expected) {
            receiver.set_read_timeout(Some(PATIENCE)).unwrap();
            for datagram in expected {
                let len = receiver.recv(&mut buffer).unwrap();
                assert!(buffer[..len] == datagram, "{len} bytes instead of {}", datagram.len());
            }
        }
    }
}

#[test]
fn kernel_datapath_tells_programs_what_the_path_carries() {
    let Some((mut a, at_a, mut b, at_b)) = pair() else {
        return;
    };
    a.mtu = 1300;
    shake_hands(&mut a, at_a, &mut b, at_b);
    a.namespace.run(&format!("ping -6 -c 1 -i 0.05 -w 10 {}", b.address()));
    let ping = |size: u16| {
        let said = a.namespace.output(&format!("ping -6 -M do -c 2 -i 0.2 -W 1 -s {size} {}", b.address()));
        String::from_utf8(said.stdout).unwrap()
    };
    let refused = ping(1300 - 48 + 1);
    assert!(refused.contains("Packet too big: mtu=1300"), "{refused}");
    let carried = ping(1300 - 48);
    assert!(carried.contains(" 0% packet loss"), "{carried}");
    assert!(a.parts.drops.get(Drop::TooBig) > 0);

    let program = a.namespace.enter(|| UdpSocket::bind((a.address(), 0)).unwrap());
    let other = b.namespace.enter(|| UdpSocket::bind((b.address(), 9)).unwrap());
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    program.send_to(&[7; 1372], (b.address(), 9)).unwrap();
    let received = other.recv_from(&mut [0; 2000]).unwrap();
    assert_eq!(received.0, 1372, "the kernel cuts what it knows to be too large");
}

#[test]
fn kernel_datapath_reports_a_link_that_is_too_narrow() {
    let Some((mut a, at_a, mut b, at_b)) = pair() else {
        return;
    };
    shake_hands(&mut a, at_a, &mut b, at_b);
    a.namespace.run("ip link set eth0 mtu 1400");
    let ping = |size: u16| format!("ping -6 -c 1 -W 10 -s {size} {}", b.address());
    assert!(!a.namespace.output(&ping(1372).replace("-W 10", "-W 1")).status.success());
    let Slow::TooBig(hop, inner) = a.next_slow() else { panic!("the node must hear of it") };
    assert_eq!((hop, inner), (Hop::main(at_b), 1420));
    a.namespace.run(&ping(1400 - 60 - 48));
    for machine in [&a, &b] {
        machine.namespace.run("ip link set eth0 mtu 1300");
    }
    a.namespace.run(&ping(1280 - 48));
}

#[test]
fn kernel_datapath_hands_over_what_it_cannot_settle() {
    let Some((mut a, at_a, mut b, at_b)) = pair() else {
        return;
    };
    let to_b = SocketAddr::new(b.address().into(), 9);
    let program = a.namespace.enter(|| UdpSocket::bind((a.address(), 0)).unwrap());
    program.send_to(b"nobody is known", to_b).unwrap();
    a.counts(Drop::NoRoute, 1);
    a.publish(&b, None);
    program.send_to(b"no path", to_b).unwrap();
    let Slow::Packet(packet) = a.next_slow() else { panic!("the packet is for the node to keep") };
    assert!(packet.ends_with(b"no path"));

    shake_hands(&mut a, at_a, &mut b, at_b);
    let (us, them) = (a.overlay.address.node, b.overlay.address.node);
    let ping = control::encode(us, them, &Control::Ping { id: 7 });
    let mut sealed = [0; 2048];
    let length = a.tunnel.seal(&ping, &mut sealed).unwrap();
    a.parts.sockets.send_to(MAIN, at_b, &sealed[..length]);
    let Slow::Control(arrival, opened) = b.next_slow() else { panic!("control packets are for the node") };
    assert_eq!((arrival.via, opened), (Path::Direct(at_a), ping));
}

#[test]
fn kernel_datapath_drops_and_counts_and_never_waits() {
    let Some((a, at_a, _b, _)) = pair() else {
        return;
    };
    let stranger = a.namespace.enter(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    let here = SocketAddr::new([127, 0, 0, 1].into(), at_a.port());
    stranger.send_to(b"garbage", here).unwrap();
    a.counts(Drop::NotOurs, 1);
    // A response for nobody: well-formed, and so for the slow path.
    let mut response = [0; 92];
    response[0] = 2;
    for _ in 0..QUEUE + 2 {
        stranger.send_to(&response, here).unwrap();
    }
    a.counts(Drop::QueueFull, 4);
}

#[test]
fn kernel_datapath_stops_and_says_when_its_device_is_gone() {
    let Some((mut a, _, mut b, _)) = pair() else {
        return;
    };
    a.datapath.take().unwrap().stop();
    a.parts.slow.try_send(Slow::Packet(Vec::new())).expect("nothing else came");
    assert!(matches!(a.next_slow(), Slow::Packet(packet) if packet.is_empty()));
    b.namespace.run("ip link delete pilot0");
    assert!(matches!(b.next_slow(), Slow::Failed(_)));
    drop(b.datapath.take());
}
