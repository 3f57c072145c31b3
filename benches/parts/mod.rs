//! The parts of the fast path with fixed inputs: what `fast_path` times and `instructions` counts.

use std::hint::black_box;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use pilot::identity::{Address, Network, NodeId, Prefix, TunnelSecret};
use pilot::peer::{Entry, Inbound, Limiter, Outbound, Overlay, PeerTable, Slot, Tunnel};
use pilot::wire::path::MAIN;
use pilot::wire::{Mtu, Path};

/// Packets of the size that bulk traffic has, and of 64 bytes of UDP payload.
pub const SIZES: [usize; 2] = [1420, 112];
/// How many peers a table has.
pub const CROWDS: [u32; 3] = [1, 100, 10_000];

const BUFFER: usize = 2048;
const A: u64 = 0xa1b2_c3d4_e5f6;
const B: u64 = 0xb1b2_c3d4_e5f6;

/// A part: each call does it once.
pub type Part = Box<dyn FnMut()>;

/// What prepares a part: some need seconds for it.
pub type Prepare = Box<dyn FnOnce() -> Part>;

/// All parts, by name.
pub fn all() -> Vec<(String, Prepare)> {
    let mut parts: Vec<(String, Prepare)> = Vec::new();
    for size in SIZES {
        parts.push((format!("seal/{size}"), Box::new(move || seal(size))));
        parts.push((format!("seal-and-open/{size}"), Box::new(move || seal_and_open(size))));
        parts.push((format!("outbound/{size}"), Box::new(move || outbound(size))));
        parts.push((format!("outbound-and-inbound/{size}"), Box::new(move || outbound_and_inbound(size))));
    }
    for peers in CROWDS {
        parts.push((format!("look-up-address/{peers}"), Box::new(move || look_up_address(peers))));
        parts.push((format!("look-up-slot/{peers}"), Box::new(move || look_up_slot(peers))));
    }
    parts
}

fn seal(size: usize) -> Part {
    let ((a, _), packet, mut out) = (connected(), packet(size), [0; BUFFER]);
    Box::new(move || {
        black_box(a.seal(black_box(&packet), &mut out).expect("there is a session"));
    })
}

/// A datagram opens only once, so that opening comes with sealing.
fn seal_and_open(size: usize) -> Part {
    let ((a, b), packet) = (connected(), packet(size));
    let (mut sealed, mut opened) = ([0; BUFFER], [0; BUFFER]);
    Box::new(move || {
        let len = a.seal(black_box(&packet), &mut sealed).expect("there is a session");
        black_box(b.open(&sealed[..len], &mut opened).expect("it is for b"));
    })
}

fn outbound(size: usize) -> Part {
    let ((a, _), packet, mut out) = (connected(), packet(size), [0; BUFFER]);
    let table = table(A, vec![entry(B, Some(a))]);
    Box::new(move || {
        let sent = table.outbound(black_box(&packet), &mut out);
        assert!(matches!(sent, Outbound::Send { .. }), "{sent:?}");
    })
}

fn outbound_and_inbound(size: usize) -> Part {
    let ((a, b), packet) = (connected(), packet(size));
    let (mut sealed, mut opened) = ([0; BUFFER], [0; BUFFER]);
    let (here, there) = (table(A, vec![entry(B, Some(a))]), table(B, vec![entry(A, Some(b))]));
    Box::new(move || {
        let sent = here.outbound(black_box(&packet), &mut sealed);
        let Outbound::Send { range, .. } = sent else { panic!("{sent:?}") };
        let received = there.inbound(MAIN, endpoint(), &sealed[range], &mut opened);
        assert!(matches!(received, Inbound::Packet { .. }), "{received:?}");
    })
}

fn look_up_address(peers: u32) -> Part {
    let (table, mut next) = (crowd(peers), 0);
    Box::new(move || {
        next = (next + 7919) % peers;
        black_box(table.by_address(black_box(ip(B + u64::from(next))))).expect("it is known");
    })
}

fn look_up_slot(peers: u32) -> Part {
    let (table, mut next) = (crowd(peers), 0);
    Box::new(move || {
        next = (next + 7919) % peers;
        black_box(table.by_slot(black_box(Slot::new(next).expect("24 bits")))).expect("it is known");
    })
}

fn crowd(peers: u32) -> PeerTable {
    // Making a tunnel multiplies points; the look-up sees the slot only.
    let (ours, theirs) = (secret(1), secret(2).public());
    let limiter = Limiter::new(ours.public(), 1_000_000);
    let tunnel = |slot| Arc::new(Tunnel::new(&ours, theirs, Slot::new(slot).expect("24 bits"), &limiter));
    table(A, (0..peers).map(|slot| entry(B + u64::from(slot), Some(tunnel(slot)))).collect())
}

fn table(us: u64, entries: Vec<Entry>) -> PeerTable {
    PeerTable::new(Overlay { prefix: Prefix::default(), address: address(us) }, None, entries)
}

fn entry(number: u64, tunnel: Option<Arc<Tunnel>>) -> Entry {
    let (id, path) = (Some(address(number).node), Some(Path::Direct(endpoint())));
    Entry { tunnel, id, address: ip(number), path, mtu: Mtu::fixed(1420) }
}

/// Two ends of one tunnel that may both send.
fn connected() -> (Arc<Tunnel>, Arc<Tunnel>) {
    let (a, b) = (secret(1), secret(2));
    let end = |ours: &TunnelSecret, theirs: &TunnelSecret, slot| {
        let (limiter, slot) = (Limiter::new(ours.public(), 1_000_000), Slot::new(slot).expect("24 bits"));
        Arc::new(Tunnel::new(ours, theirs.public(), slot, &limiter))
    };
    let (near, far) = (end(&a, &b, 3), end(&b, &a, 5));
    let mut out = [[0; BUFFER]; 4];
    let [initiation, response, keepalive, opened] = &mut out;
    let len = near.initiate(initiation).expect("the buffer is large enough");
    let len = far.handle_initiation(&initiation[..len], response).expect("it is for b");
    let len = near.handle_response(&response[..len], keepalive).expect("it is for a");
    far.open(&keepalive[..len], opened).expect("it is for b");
    (near, far)
}

/// An IPv6 packet of UDP from a to b, of so many bytes in all.
fn packet(size: usize) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend_from_slice(&((size - 40) as u16).to_be_bytes());
    bytes.extend_from_slice(&[17, 64]);
    bytes.extend_from_slice(&ip(A).octets());
    bytes.extend_from_slice(&ip(B).octets());
    bytes.resize(size, 0x5a);
    bytes
}

fn secret(number: u8) -> TunnelSecret {
    TunnelSecret::from_bytes([number; 32])
}

fn address(number: u64) -> Address {
    Address { network: Network(0), node: NodeId::from_u64(number).expect("48 bits") }
}

fn ip(number: u64) -> Ipv6Addr {
    Prefix::default().ipv6(address(number))
}

fn endpoint() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5000))
}
