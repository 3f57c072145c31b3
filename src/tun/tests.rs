//! The device on the real kernel, each test in a network namespace of its own.

use super::{netns::Namespace, *};
use std::{net::Ipv6Addr, os::fd::AsFd};

const OURS: &str = "fd50:494c:4f54::a1b2:c3d4:e5f6";

fn ours() -> Ipv6Addr {
    OURS.parse().unwrap()
}

fn open_in(namespace: &Namespace, name: &str) -> Result<Device, TunError> {
    namespace.enter(|| open(name, ours(), 64, 1280, 1))
}

#[test]
fn names_and_mtu_are_checked_before_anything_is_made() {
    for name in ["", ".", "..", "a/b", "pilot 0", "sixteen-letters-", "tun%d"] {
        assert!(matches!(open(name, ours(), 64, 1280, 1), Err(TunError::BadName { .. })), "{name:?}");
    }
    assert!(matches!(open("pilot0", ours(), 64, 1279, 1), Err(TunError::SmallMtu { mtu: 1279 })));
}

#[test]
fn kernel_tun_has_address_route_mtu() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let device = open_in(&namespace, "pilot0").unwrap();
    namespace.enter(|| std::net::TcpListener::bind((ours(), 7)).unwrap());
    let link = namespace.run("ip -6 address show dev pilot0");
    assert!(link.contains("mtu 1280") && link.contains("UP"), "{link}");
    let address = format!("inet6 {OURS}/64 scope global nodad");
    assert!(link.contains(&address), "{link}");
    let route = namespace.run("ip -6 route get fd50:494c:4f54::1");
    assert!(route.contains("dev pilot0") && route.contains(OURS), "{route}");
    assert!(namespace.run("ip -o link show dev pilot0").starts_with(&format!("{}: ", device.index())));
    assert_eq!(device.name(), "pilot0");
}

#[test]
fn kernel_tun_moves_packets_both_ways_and_never_blocks() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let device = open_in(&namespace, "pilot0").unwrap();
    let queue = device.queues().next().unwrap();
    let socket = namespace.enter(|| std::net::UdpSocket::bind((ours(), 7)).unwrap());
    let peer: Ipv6Addr = "fd50:494c:4f54::1".parse().unwrap();
    socket.send_to(b"hello", (peer, 7)).unwrap();
    let mut buffer = [0; 2048];
    let sent = loop {
        let mut wait = [PollFd::new(queue.as_fd(), PollFlags::POLLIN)];
        assert!(poll(&mut wait, PollTimeout::from(10_000u16)).unwrap() > 0, "no packet came");
        let (offload, range) = queue.read(&mut buffer).unwrap();
        let packets = testing::split_all(&offload, &mut buffer[range]);
        if let Some(packet) = packets.into_iter().find(|packet| packet.ends_with(b"hello")) {
            break packet;
        }
    };
    let mut answer = sent;
    let (source, destination) = (answer[8..24].to_vec(), answer[24..40].to_vec());
    answer[8..24].copy_from_slice(&destination);
    answer[24..40].copy_from_slice(&source);
    let patience = std::time::Duration::from_millis(50);
    socket.set_read_timeout(Some(patience)).unwrap();
    // The kernel makes a new address reachable a moment after it can be bound: repeat, as every transport does.
    let received = (0..200).find_map(|_| {
        device.write(&answer).unwrap();
        socket.recv_from(&mut buffer).ok()
    });
    assert_eq!(received, Some((5, (peer, 7).into())));
    while queue.read(&mut buffer).is_ok() {}
    assert_eq!(queue.read(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn kernel_tun_vanishes_with_its_device_and_comes_back() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    drop(open_in(&namespace, "pilot0").unwrap());
    assert!(!namespace.output("ip link show dev pilot0").status.success());
    open_in(&namespace, "pilot0").unwrap();
}

#[test]
fn kernel_tun_left_over_and_persistent_is_taken_over() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.run("ip tuntap add dev pilot0 mode tun");
    namespace.run("ip link set pilot0 up");
    namespace.run(&format!("ip address add {OURS}/64 dev pilot0"));
    open_in(&namespace, "pilot0").unwrap();
}

#[test]
fn kernel_tun_says_who_is_in_the_way() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let _first = open_in(&namespace, "pilot0").unwrap();
    let same = open_in(&namespace, "pilot0").err().unwrap();
    assert!(matches!(same, TunError::Busy { .. }), "{same}");
    let taken = open_in(&namespace, "pilot1").err().unwrap();
    assert!(matches!(&taken, TunError::NetworkTaken { other, .. } if other == "pilot0"), "{taken}");
    let other_network = "fd50:494c:4f54:7::1".parse().unwrap();
    namespace.enter(|| open("pilot7", other_network, 64, 1280, 1)).unwrap();
    namespace.run("ip link add bridge9 type bridge");
    let foreign = namespace.enter(|| open("bridge9", "fd00::1".parse().unwrap(), 64, 1280, 1)).err().unwrap();
    assert!(matches!(foreign, TunError::NotTun { .. }), "{foreign}");
}

#[test]
fn kernel_tun_with_several_queues_is_nobody_elses() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let open_with = |queues| namespace.enter(|| open("pilot0", ours(), 64, 1280, queues));
    let first = open_with(4).unwrap();
    assert_eq!(first.queues().count(), 4);
    for queues in [1, 4] {
        let second = open_with(queues).err().unwrap();
        assert!(matches!(second, TunError::Busy { .. }), "{second}");
    }
    assert!(namespace.run("ip -6 address show dev pilot0").contains("UP"));
    drop(first);
    namespace.run("ip tuntap add dev pilot0 mode tun");
    assert_eq!(open_with(4).unwrap().queues().count(), 1, "what was left over has one");
}

/// What is written by the queue of a flow is answered by that queue.
#[test]
fn kernel_tun_answers_by_the_queue_that_it_was_asked_by() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let device = namespace.enter(|| open("pilot0", ours(), 64, 1280, 4)).unwrap();
    let answering = namespace.enter(|| std::net::UdpSocket::bind((ours(), 7)).unwrap());
    answering.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
    let (mut buffer, mut used) = ([0; 2048], std::collections::BTreeSet::new());
    for port in 1000..1020 {
        let mut asked = Vec::new();
        let peer: Ipv6Addr = "fd50:494c:4f54::1".parse().unwrap();
        let builder = etherparse::PacketBuilder::ipv6(peer.octets(), ours().octets(), 64).udp(port, 7);
        builder.write(&mut asked, b"hello").unwrap();
        // The kernel makes a new address reachable a moment after it can be bound.
        let from = (0..200).find_map(|_| {
            device.write(&asked).unwrap();
            answering.recv_from(&mut buffer).ok()
        });
        answering.send_to(b"welcome", from.unwrap().1).unwrap();
        let mut by = device.queues().enumerate().filter(|(_, queue)| {
            std::iter::from_fn(|| queue.read(&mut buffer).ok().map(|(_, packet)| packet))
                .any(|packet| packet.len() == 40 + 8 + 7)
        });
        let place = flow::place(flow::tag(&asked), 4);
        assert_eq!(by.next().map(|(number, _)| number), Some(place), "port {port}");
        used.insert(place);
    }
    assert_eq!(used.len(), 4, "{used:?}");
}

#[test]
fn kernel_tun_switches_ipv6_on_where_containers_switch_it_off() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
    let _device = open_in(&namespace, "pilot0").unwrap();
    assert!(namespace.run("ip -6 address show dev pilot0").contains(OURS));
}

#[test]
fn kernel_tun_without_privilege_says_what_to_do() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let error = namespace.enter_as_nobody(|| open("pilot0", ours(), 64, 1280, 1));
    let error = error.err().unwrap();
    assert!(matches!(error, TunError::NotPermitted { .. }), "{error}");
    assert!(error.to_string().contains("sudo"), "{error}");
}

/// A file that is larger than any packet crosses a device whose other end is the test, split and joined again.
#[test]
fn kernel_tun_splits_and_joins_what_programs_send() {
    use std::io::{Read, Write};
    let (Some(here), Some(there)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    let theirs: Ipv6Addr = "fd50:494c:4f54::1".parse().unwrap();
    let devices =
        [here.enter(|| open("pilot0", ours(), 64, 1420, 1)), there.enter(|| open("pilot0", theirs, 64, 1420, 1))];
    let [a, b] = devices.map(|device| std::sync::Arc::new(device.unwrap()));
    assert!(a.offloads().tcp, "this kernel has it");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let largest = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let carriers = [(a.clone(), b.clone()), (b, a)].map(|(from, to)| {
        let (stop, largest) = (stop.clone(), largest.clone());
        std::thread::spawn(move || carry(&from, &to, &stop, &largest))
    });
    let listener = there.enter(|| std::net::TcpListener::bind((theirs, 7)).unwrap());
    let sent: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    let received = std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut all = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
            all
        });
        let mut program = here.enter(|| std::net::TcpStream::connect((theirs, 7)).unwrap());
        program.write_all(&sent).unwrap();
        drop(program);
        server.join().unwrap()
    });
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for carrier in carriers {
        carrier.join().unwrap();
    }
    assert!(received == sent);
    let largest = largest.load(std::sync::atomic::Ordering::Relaxed);
    assert!(largest > 10_000, "nothing was joined: {largest}");
}

/// Splits what comes from one device, and joins it for the other.
fn carry(from: &Device, to: &Device, stop: &std::sync::atomic::AtomicBool, largest: &std::sync::atomic::AtomicUsize) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::sync::atomic::Ordering::Relaxed;
    let from = from.queues().next().unwrap();
    let mut buffer = vec![0; 70_000];
    let mut coalescer = Coalescer::new(to.offloads());
    while !stop.load(Relaxed) {
        poll(&mut [PollFd::new(from.as_fd(), PollFlags::POLLIN)], PollTimeout::from(20u16)).unwrap();
        while let Ok((offload, range)) = from.read(&mut buffer) {
            let packets = testing::split_all(&offload, &mut buffer[range]);
            assert!(packets.iter().all(|packet| packet.len() <= 1420));
            let joined = packets.concat();
            let mut start = 0;
            for packet in &packets {
                coalescer.push(&joined, start..start + packet.len());
                start += packet.len();
            }
            coalescer.flush(&joined, |offload, headers, rest| {
                largest.fetch_max(rest.iter().map(|part| part.len()).sum(), Relaxed);
                to.write_parts(offload, headers, rest).unwrap();
            });
        }
    }
}
