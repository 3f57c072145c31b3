//! Tunnels back to back, for the tests of this room.

use std::net::Ipv6Addr;
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{Limiter, Opened, Party, Slot, Tunnel};
use crate::identity::{Identity, TunnelKey, TunnelSecret};
use crate::wire::Drop;

pub(super) const SLOT_A: u32 = 3;
pub(super) const SLOT_B: u32 = 5;

pub(super) fn secret(seed: u64) -> TunnelSecret {
    TunnelSecret::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

pub(super) fn limiter(ours: &TunnelSecret) -> Limiter {
    Limiter::new(ours.public(), 1_000_000)
}

pub(super) fn tunnel(ours: &TunnelSecret, theirs: TunnelKey, slot: u32) -> Arc<Tunnel> {
    let slot = Slot::new(slot).unwrap();
    Arc::new(Tunnel::new(ours, theirs, slot, &limiter(ours)))
}

/// Two ends of one tunnel.
pub(super) struct Pair {
    pub(super) a: Arc<Tunnel>,
    pub(super) b: Arc<Tunnel>,
}

impl Pair {
    /// Without a session.
    pub(super) fn new() -> Pair {
        let (a, b) = (secret(1), secret(2));
        Pair { a: tunnel(&a, b.public(), SLOT_A), b: tunnel(&b, a.public(), SLOT_B) }
    }

    /// With a session that both may send in; a initiated it.
    pub(super) fn connected() -> Pair {
        let pair = Pair::new();
        let keepalive = respond(&pair.a, &answer(&pair.b, &initiate(&pair.a)).unwrap()).unwrap();
        open(&pair.b, &keepalive).unwrap();
        assert!(pair.a.has_session() && pair.b.has_session());
        pair
    }
}

/// The party that a seed makes, and its tunnel secret.
pub(super) fn party(seed: u64) -> (TunnelSecret, Party) {
    let identity = Identity::generate(&mut ChaCha20Rng::seed_from_u64(seed));
    let secret = secret(seed);
    let party = Party { identity: identity.public_key(), tunnel: secret.public() };
    (secret, party)
}

/// A tunnel that wants lanes.
pub(super) fn tunnel_with_lane(ours: (&TunnelSecret, Party), theirs: Party, slot: u32) -> Arc<Tunnel> {
    let (secret, party) = ours;
    let slot = Slot::new(slot).unwrap();
    let tunnel = Tunnel::new(secret, theirs.tunnel, slot, &limiter(secret));
    Arc::new(tunnel.with_lane(party, theirs))
}

type Bytes = Result<Vec<u8>, Drop>;

fn buffered<E>(run: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<Vec<u8>, E> {
    let mut out = vec![0; 65_536];
    let len = run(&mut out)?;
    out.truncate(len);
    Ok(out)
}

/// An initiation, later than all before: a virtual clock stands still by itself.
pub(super) fn initiate(tunnel: &Tunnel) -> Vec<u8> {
    #[cfg(feature = "sim")]
    super::advance_clock(std::time::Duration::from_millis(1));
    buffered(|out| tunnel.initiate(out).ok_or(())).unwrap()
}

pub(super) fn answer(tunnel: &Tunnel, initiation: &[u8]) -> Bytes {
    buffered(|out| tunnel.handle_initiation(initiation, out))
}

pub(super) fn respond(tunnel: &Tunnel, response: &[u8]) -> Bytes {
    buffered(|out| tunnel.handle_response(response, out))
}

pub(super) fn seal(tunnel: &Tunnel, packet: &[u8]) -> Option<Vec<u8>> {
    buffered(|out| tunnel.seal(packet, out).ok_or(())).ok()
}

pub(super) fn open(tunnel: &Tunnel, datagram: &[u8]) -> Result<(Vec<u8>, bool), Drop> {
    let mut out = vec![0; 65_536];
    let Opened { len, confirmed } = tunnel.open(datagram, &mut out)?;
    out.truncate(len);
    Ok((out, confirmed))
}

/// An IPv6 packet of UDP, or of whatever else `next_header` says.
pub(super) fn packet(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let mut bytes = vec![0x60, 0, 0, 0, high, low, next_header, 64];
    bytes.extend_from_slice(&source.octets());
    bytes.extend_from_slice(&destination.octets());
    bytes.extend_from_slice(payload);
    bytes
}

/// A packet that only has to be one.
pub(super) fn any_packet(payload: &[u8]) -> Vec<u8> {
    packet(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, 17, payload)
}
