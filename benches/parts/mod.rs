//! The parts of the fast path with fixed inputs: what `fast_path` times and `instructions` counts.

mod super_packet;

use std::hint::black_box;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use pilot::identity::{Address, Identity, Network, NodeId, Prefix, TunnelSecret};
use pilot::peer::{Cipher, Entry, Inbound, Limiter, Outbound, Overlay, Party, PeerTable, Slot, Tunnel};
use pilot::tun::Transport;
use pilot::wire::control::Control;
use pilot::wire::path::MAIN;
use pilot::wire::{Mtu, Path};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

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
        for cipher in [Cipher::ChaCha20Poly1305, Cipher::Aes256Gcm] {
            let name = cipher.name();
            parts.push((format!("seal/{name}/{size}"), Box::new(move || seal(cipher, size))));
            parts.push((format!("seal-and-open/{name}/{size}"), Box::new(move || seal_and_open(cipher, size))));
            parts.push((format!("out-and-in/{name}/{size}"), Box::new(move || out_and_in(cipher, size))));
        }
        parts.push((format!("way/{size}"), Box::new(move || way(size))));
    }
    for (transport, name) in [(Transport::Tcp, "tcp"), (Transport::Udp, "udp")] {
        parts.push((format!("split/{name}"), Box::new(move || super_packet::split_one(transport))));
        parts.push((format!("join/{name}"), Box::new(move || super_packet::join_one(transport))));
    }
    for peers in CROWDS {
        parts.push((format!("look-up-address/{peers}"), Box::new(move || look_up_address(peers))));
        parts.push((format!("look-up-slot/{peers}"), Box::new(move || look_up_slot(peers))));
    }
    parts
}

fn seal(cipher: Cipher, size: usize) -> Part {
    let ((a, _), packet, mut out) = (connected(cipher), packet(size), [0; BUFFER]);
    Box::new(move || {
        black_box(a.seal(black_box(&packet), &mut out).expect("there is a session"));
    })
}

/// A datagram opens only once, so that opening comes with sealing.
fn seal_and_open(cipher: Cipher, size: usize) -> Part {
    let ((a, b), packet) = (connected(cipher), packet(size));
    let (mut sealed, mut opened) = ([0; BUFFER], [0; BUFFER]);
    Box::new(move || {
        let len = a.seal(black_box(&packet), &mut sealed).expect("there is a session");
        black_box(b.open(&sealed[..len], &mut opened).expect("it is for b"));
    })
}

/// What decides where a packet goes, without sealing it.
fn way(size: usize) -> Part {
    let ((a, _), packet) = (connected(Cipher::ChaCha20Poly1305), packet(size));
    let table = table(A, vec![entry(B, Some(a))]);
    Box::new(move || {
        black_box(table.way(black_box(&packet))).unwrap_or_else(|outcome| panic!("{outcome:?}"));
    })
}

fn out_and_in(cipher: Cipher, size: usize) -> Part {
    let ((a, b), packet) = (connected(cipher), packet(size));
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
    let (table, mut next) = (crowd(peers), 0_u32);
    Box::new(move || {
        next = (next + 7919) % peers;
        black_box(table.by_address(black_box(ip(B + u64::from(next))))).expect("it is known");
    })
}

fn look_up_slot(peers: u32) -> Part {
    let (table, mut next) = (crowd(peers), 0_u32);
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
    Entry { tunnel, id, address: ip(number), path, mtu: Mtu::fixed(1420), gate: None }
}

/// Two ends of one tunnel that may both send.
fn connected(cipher: Cipher) -> (Arc<Tunnel>, Arc<Tunnel>) {
    let (near, far) = (end(1, 2, 3), end(2, 1, 5));
    let mut out = [[0; BUFFER]; 4];
    let [initiation, response, keepalive, opened] = &mut out;
    let len = near.initiate(initiation).expect("the buffer is large enough");
    let len = far.handle_initiation(&initiation[..len], response).expect("it is for b");
    let len = near.handle_response(&response[..len], keepalive).expect("it is for a");
    far.open(&keepalive[..len], opened).expect("it is for b");
    if cipher == Cipher::Aes256Gcm {
        agree(&near, &far);
    }
    assert_eq!(near.cipher(), Some(cipher));
    (near, far)
}

fn end(ours: u8, theirs: u8, slot: u32) -> Arc<Tunnel> {
    let (secret, theirs) = (secret(ours), party(theirs));
    let (limiter, slot) = (Limiter::new(secret.public(), 1_000_000), Slot::new(slot).expect("24 bits"));
    Arc::new(Tunnel::new(&secret, theirs.tunnel, slot, &limiter).with_lane(party(ours), theirs))
}

fn party(number: u8) -> Party {
    let identity = Identity::generate(&mut ChaCha20Rng::seed_from_u64(number.into())).public_key();
    Party { identity, tunnel: secret(number).public() }
}

/// Gives the tunnel a lane, which is offered once there is a packet to carry.
fn agree(near: &Arc<Tunnel>, far: &Tunnel) {
    let sent = table(A, vec![entry(B, Some(near.clone()))]).outbound(&packet(SIZES[1]), &mut [0; BUFFER]);
    assert!(matches!(sent, Outbound::Send { .. }), "{sent:?}");
    let (now, mut rng) = (Instant::now(), ChaCha20Rng::seed_from_u64(7));
    let Some(Control::LaneOffer(offer)) = near.tend_lane(now, &mut rng) else { panic!("no offer") };
    let Ok(Control::LaneAccept(accept)) = far.handle_lane_offer(now, offer, &mut rng) else { panic!("refused") };
    let (mut keepalive, mut opened) = ([0; BUFFER], [0; BUFFER]);
    let len = near.handle_lane_accept(now, accept, &mut keepalive).expect("a accepts");
    far.open(&keepalive[..len], &mut opened).expect("it is for b");
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
