//! The engine's traps, one a test.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::peer::slot::index;
use crate::peer::testing::*;
use crate::wire::datagram::{COOKIE_LEN, INITIATION_LEN, RESPONSE_LEN};

#[test]
fn a_handshake_and_packets_both_ways() {
    let pair = Pair::connected();
    for (from, to) in [(&pair.a, &pair.b), (&pair.b, &pair.a)] {
        let packet = any_packet(b"hello");
        let sealed = seal(from, &packet).unwrap();
        assert_eq!(sealed.len(), packet.len() + OVERHEAD);
        assert_eq!(open(to, &sealed), Ok((packet, false)));
    }
    assert!(pair.a.session_age().unwrap() < Duration::from_secs(60));
}

#[test]
fn without_a_session_nothing_is_sealed_and_nothing_is_kept() {
    let pair = Pair::new();
    assert_eq!(seal(&pair.a, &any_packet(b"early")), None);
    assert_eq!(pair.a.session_age(), None);
    let response = answer(&pair.b, &initiate(&pair.a)).unwrap();
    let keepalive = respond(&pair.a, &response).unwrap();
    assert_eq!(keepalive.len(), OVERHEAD);
    assert_eq!(open(&pair.b, &keepalive), Ok((vec![], true)));
}

#[test]
fn a_responder_sends_only_after_it_has_heard() {
    let pair = Pair::new();
    let response = answer(&pair.b, &initiate(&pair.a)).unwrap();
    assert!(!pair.b.has_session());
    assert_eq!(seal(&pair.b, &any_packet(b"early")), None);
    let keepalive = respond(&pair.a, &response).unwrap();
    assert!(pair.a.has_session() && !pair.b.has_session());
    assert_eq!(open(&pair.b, &keepalive), Ok((vec![], true)));
    assert!(pair.b.has_session());
    let late = seal(&pair.b, &any_packet(b"late")).unwrap();
    assert_eq!(open(&pair.a, &late), Ok((any_packet(b"late"), false)));
}

#[test]
fn a_packet_instead_of_the_keepalive_proves_the_session_too() {
    let pair = Pair::new();
    let response = answer(&pair.b, &initiate(&pair.a)).unwrap();
    respond(&pair.a, &response).unwrap();
    let sealed = seal(&pair.a, &any_packet(b"first")).unwrap();
    assert_eq!(open(&pair.b, &sealed), Ok((any_packet(b"first"), true)));
}

/// Both sides initiate at once and have packets to send all the while.
#[test]
fn simultaneous_handshakes_do_not_multiply() {
    let pair = Pair::new();
    let tunnels = [&pair.a, &pair.b];
    let mut inputs = [vec![initiate(&pair.b)], vec![initiate(&pair.a)]];
    let mut sent = inputs.concat();
    for turn in 0..40 {
        let (us, them) = (turn % 2, (turn + 1) % 2);
        let mut output = vec![];
        for datagram in std::mem::take(&mut inputs[us]) {
            let reply = match datagram[0] {
                1 => Some(answer(tunnels[us], &datagram).unwrap()),
                2 => Some(respond(tunnels[us], &datagram).unwrap()),
                _ => open(tunnels[us], &datagram).map(|_| None).unwrap(),
            };
            output.extend(reply);
        }
        output.extend(seal(tunnels[us], &any_packet(b"queued")));
        sent.extend_from_slice(&output);
        inputs[them].append(&mut output);
    }
    let of_kind = |kind| sent.iter().filter(|sent| sent[0] == kind).count();
    assert_eq!((of_kind(1), of_kind(2)), (2, 2));
    assert!(pair.a.has_session() && pair.b.has_session());
}

#[test]
fn duplicates_of_an_initiation_are_refused_and_harm_nothing() {
    let pair = Pair::new();
    let initiation = initiate(&pair.a);
    let response = answer(&pair.b, &initiation).unwrap();
    for _ in 0..10 {
        assert_eq!(answer(&pair.b, &initiation), Err(Drop::Replayed));
    }
    let keepalive = respond(&pair.a, &response).unwrap();
    assert_eq!(respond(&pair.a, &response), Err(Drop::BadHandshake));
    assert_eq!(open(&pair.b, &keepalive), Ok((vec![], true)));
    assert_eq!(answer(&pair.b, &initiation), Err(Drop::Replayed));
    assert!(seal(&pair.b, &any_packet(b"still")).is_some());
}

#[test]
fn the_response_to_the_initiation_before_the_last_still_counts() {
    let pair = Pair::new();
    let first = answer(&pair.b, &initiate(&pair.a)).unwrap();
    initiate(&pair.a);
    let keepalive = respond(&pair.a, &first).unwrap();
    assert_eq!(open(&pair.b, &keepalive), Ok((vec![], true)));
}

/// Unanswered initiations come around the ring of sessions to the one in use.
#[test]
fn a_lost_session_is_never_replaced_by_an_unproven_one() {
    let pair = Pair::connected();
    let mut response = vec![];
    for n in 1..=8 {
        response = answer(&pair.b, &initiate(&pair.a)).unwrap();
        assert_eq!(pair.b.has_session(), n < 8, "after {n}");
        assert_eq!(seal(&pair.b, &any_packet(b"x")).is_some(), n < 8, "after {n}");
    }
    let keepalive = respond(&pair.a, &response).unwrap();
    assert_eq!(open(&pair.b, &keepalive), Ok((vec![], true)));
    let sealed = seal(&pair.b, &any_packet(b"again")).unwrap();
    assert_eq!(open(&pair.a, &sealed), Ok((any_packet(b"again"), false)));
}

#[test]
fn a_second_handshake_keeps_the_first_session_open() {
    let pair = Pair::connected();
    let on_the_way = seal(&pair.a, &any_packet(b"old")).unwrap();
    let response = answer(&pair.a, &initiate(&pair.b)).unwrap();
    let keepalive = respond(&pair.b, &response).unwrap();
    assert_eq!(open(&pair.a, &keepalive), Ok((vec![], false)));
    assert_eq!(open(&pair.b, &on_the_way), Ok((any_packet(b"old"), false)));
}

#[test]
fn replayed_tampered_truncated_and_strange_data_is_refused() {
    let pair = Pair::connected();
    let sealed = seal(&pair.a, &any_packet(b"hello")).unwrap();
    let mut tampered = sealed.clone();
    *tampered.last_mut().unwrap() ^= 1;
    assert_eq!(open(&pair.b, &tampered), Err(Drop::Forged));
    assert_eq!(open(&pair.b, &sealed[..sealed.len() - 1]), Err(Drop::Forged));
    assert_eq!(open(&pair.b, &sealed[..31]), Err(Drop::NotOurs));
    assert!(open(&pair.b, &sealed).is_ok());
    assert_eq!(open(&pair.b, &sealed), Err(Drop::Replayed));
    assert_eq!(open(&pair.a, &sealed), Err(Drop::UnknownSession));
    let mut strange = sealed;
    strange[4] ^= 1;
    assert_eq!(open(&pair.b, &strange), Err(Drop::UnknownSession));
    let high = [&strange[..8], &[0xff; 8], &strange[16..]].concat();
    assert_eq!(open(&pair.b, &high), Err(Drop::Forged));
}

/// The engine takes nothing at all for a wish to drain its queue, and any kind of message anywhere.
#[test]
fn each_message_has_its_own_way_in() {
    let pair = Pair::connected();
    let sealed = seal(&pair.a, &any_packet(b"x")).unwrap();
    let initiation = initiate(&pair.a);
    for other in [&[][..], &sealed, &[0; COOKIE_LEN], &[0; RESPONSE_LEN]] {
        assert_eq!(answer(&pair.b, other), Err(Drop::NotOurs));
        assert_eq!(respond(&pair.b, other), Err(Drop::NotOurs));
        assert_eq!(pair.b.handle_cookie(other), Err(Drop::NotOurs));
    }
    assert_eq!(open(&pair.b, &initiation), Err(Drop::NotOurs));
    assert_eq!(respond(&pair.b, &initiation), Err(Drop::NotOurs));
    assert!(open(&pair.b, &sealed).is_ok() && answer(&pair.b, &initiation).is_ok());
}

#[test]
fn what_is_no_ip_packet_is_refused_after_it_proved_the_session() {
    let pair = Pair::new();
    let response = answer(&pair.b, &initiate(&pair.a)).unwrap();
    respond(&pair.a, &response).unwrap();
    let sealed = seal(&pair.a, b"no packet").unwrap();
    assert_eq!(open(&pair.b, &sealed), Err(Drop::MalformedPacket));
    assert!(pair.b.has_session());
}

#[test]
fn padding_behind_a_packet_is_cut_off() {
    let pair = Pair::connected();
    let packet = any_packet(b"12345");
    let padded = [&packet[..], &[0; 3]].concat();
    let sealed = seal(&pair.a, &padded).unwrap();
    assert_eq!(open(&pair.b, &sealed), Ok((packet, false)));
}

#[test]
fn the_peer_is_who_the_tunnel_is_for() {
    let stranger = tunnel(&secret(3), secret(2).public(), 1);
    let pair = Pair::new();
    assert_eq!(answer(&pair.b, &initiate(&stranger)), Err(Drop::Stranger));
    assert_eq!(answer(&pair.a, &initiate(&stranger)), Err(Drop::BadMac));
}

#[test]
fn short_buffers_never_panic() {
    let pair = Pair::new();
    let initiation = initiate(&pair.a);
    for len in 0..MIN_BUFFER {
        let out = &mut vec![0; len];
        assert_eq!(pair.b.initiate(out), None);
        assert_eq!(pair.b.tick(out), Tick::Idle);
        assert_eq!(pair.b.handle_initiation(&initiation, out), Err(Drop::Oversized));
    }
    let response = answer(&pair.b, &initiation).unwrap();
    for len in 0..MIN_BUFFER {
        let out = &mut vec![0; len];
        assert_eq!(pair.a.handle_response(&response, out), Err(Drop::Oversized));
    }
    respond(&pair.a, &response).unwrap();
    let packet = any_packet(&[0; 200]);
    for len in [0, 20, MIN_BUFFER, packet.len() + OVERHEAD - 1] {
        assert_eq!(pair.a.seal(&packet, &mut vec![0; len]), None);
    }
    let sealed = seal(&pair.a, &packet).unwrap();
    for len in 0..sealed.len() {
        let opened = pair.b.open(&sealed, &mut vec![0; len]);
        assert_eq!(opened, Err(Drop::Oversized));
    }
    assert_eq!(open(&pair.b, &sealed), Ok((packet, true)));
}

#[test]
fn an_idle_tunnel_asks_for_nothing() {
    let pair = Pair::connected();
    let mut out = [0; MIN_BUFFER];
    assert_eq!(pair.a.tick(&mut out), Tick::Idle);
    assert_eq!(Pair::new().a.tick(&mut out), Tick::Idle);
}

#[test]
fn under_load_an_initiation_needs_a_cookie_that_comes_back() {
    let (a, b) = (secret(1), secret(2));
    let [ours, theirs] = [tunnel(&a, b.public(), 1), tunnel(&b, a.public(), 2)];
    let limiter = Limiter::new(b.public(), 1);
    let mut out = [0; MIN_BUFFER];
    let home = "192.0.2.1".parse().unwrap();
    let elsewhere = "192.0.2.2".parse().unwrap();
    let mut admit = |initiation: &[u8], from| limiter.admit(from, initiation, &mut out);

    assert_eq!(admit(&initiate(&ours), home), Ok(Admission::Admitted));
    let refused = admit(&initiate(&ours), home);
    assert_eq!(refused, Ok(Admission::Cookie(COOKIE_LEN)));
    assert_eq!(ours.handle_cookie(&out[..COOKIE_LEN]), Ok(()));
    let mut admit = |initiation: &[u8], from| limiter.admit(from, initiation, &mut out);
    let with_cookie = initiate(&ours);
    assert_eq!(admit(&with_cookie, home), Ok(Admission::Admitted));
    let stolen = admit(&with_cookie, elsewhere);
    assert_eq!(stolen, Ok(Admission::Cookie(COOKIE_LEN)));
    assert!(answer(&theirs, &with_cookie).is_ok());
}

#[test]
fn the_limiter_stays_silent_to_who_does_not_know_our_key() {
    let initiation = initiate(&Pair::new().a);
    let limiter = Limiter::new(secret(3).public(), 0);
    let mut out = [0; MIN_BUFFER];
    let from = "192.0.2.1".parse().unwrap();
    let mut admit = |bytes: &[u8]| limiter.admit(from, bytes, &mut out);
    assert_eq!(admit(&initiation), Err(Drop::BadMac));
    assert_eq!(admit(&initiation[..147]), Err(Drop::NotOurs));
    assert_eq!(admit(&[0; INITIATION_LEN]), Err(Drop::NotOurs));
}

#[test]
fn a_strange_cookie_is_refused() {
    let pair = Pair::new();
    let mut cookie = [0; COOKIE_LEN];
    cookie[0] = 3;
    assert!(pair.a.handle_cookie(&cookie).is_err());
    initiate(&pair.a);
    assert!(pair.a.handle_cookie(&cookie).is_err());
}

#[test]
fn debug_shows_no_secret() {
    let text = format!("{:?}", Pair::new().a);
    let key = secret(2).public();
    assert_eq!(text, format!("Tunnel {{ slot: Slot(3), peer_key: TunnelKey({key}), .. }}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_messages_never_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        kind in 0..6_u8,
        len in prop::sample::select(vec![0, 31, 32, RESPONSE_LEN, COOKIE_LEN, INITIATION_LEN, 199]),
    ) {
        let pair = Pair::connected();
        bytes.resize(len, 7);
        if let Some(head) = bytes.first_chunk_mut() {
            *head = u32::from(kind).to_le_bytes();
        }
        if let Some(index) = bytes.get_mut(4..8) {
            index.copy_from_slice(&((SLOT_B << 8) + 1).to_le_bytes());
        }
        prop_assert!(open(&pair.b, &bytes).is_err());
        prop_assert!(answer(&pair.b, &bytes).is_err());
        prop_assert!(respond(&pair.b, &bytes).is_err());
        prop_assert!(pair.b.handle_cookie(&bytes).is_err());
        prop_assert!(pair.b.has_session());
    }

    /// Whatever is lost or delayed, nobody sends in a session that the other side never had.
    #[test]
    fn nobody_sends_in_an_unproven_session(steps in prop::collection::vec((0..6_u8, any::<bool>()), 1..120)) {
        let pair = Pair::new();
        let tunnels = [&pair.a, &pair.b];
        let mut inputs: [Vec<Vec<u8>>; 2] = Default::default();
        let mut sessions: [BTreeSet<Option<u32>>; 2] = Default::default();
        for (step, side) in steps {
            let (us, them) = (usize::from(side), usize::from(!side));
            match step {
                0 => inputs[them].push(initiate(tunnels[us])),
                1 => drop(tunnels[us].tick(&mut [0; MIN_BUFFER])),
                2 => {
                    if let Some(sealed) = seal(tunnels[us], &any_packet(b"x")) {
                        prop_assert!(sessions[them].contains(&index(&sealed, 4)));
                        prop_assert!(tunnels[us].has_session());
                        inputs[them].push(sealed);
                    }
                }
                _ => {
                    let Some(datagram) = inputs[us].pop() else { continue };
                    let reply = match datagram[0] {
                        1 => answer(tunnels[us], &datagram)
                            .inspect(|response| { sessions[us].insert(index(response, 4)); }),
                        2 => respond(tunnels[us], &datagram)
                            .inspect(|_| { sessions[us].insert(index(&datagram, 8)); }),
                        _ => open(tunnels[us], &datagram).map(|_| vec![]),
                    };
                    inputs[them].extend(reply.ok().filter(|reply| !reply.is_empty() && step < 5));
                }
            }
        }
    }
}

#[cfg(feature = "sim")]
mod virtual_time;
