//! Two tunnels with lanes back to back.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::session::{REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME};
use super::*;
use crate::peer::testing::{seal, *};
use crate::peer::{Cipher, Tunnel};

const SECOND: Duration = Duration::from_secs(1);

/// Two ends and what they roll dice with.
struct Lanes {
    a: Arc<Tunnel>,
    b: Arc<Tunnel>,
    rng: ChaCha20Rng,
    now: Instant,
}

impl Lanes {
    /// Without a session.
    fn new() -> Lanes {
        let ((a, party_a), (b, party_b)) = (party(1), party(2));
        Lanes {
            a: tunnel_with_lane((&a, party_a), party_b, SLOT_A),
            b: tunnel_with_lane((&b, party_b), party_a, SLOT_B),
            rng: ChaCha20Rng::seed_from_u64(7),
            now: Instant::now(),
        }
    }

    /// With a session that a initiated, and its lane.
    fn connected() -> Lanes {
        let mut lanes = Lanes::new();
        lanes.shake();
        lanes.agree();
        assert_eq!(lanes.ciphers(), [Cipher::Aes256Gcm; 2].map(Some));
        lanes
    }

    /// A handshake that a initiates because of a packet of its programs.
    fn shake(&self) {
        self.shake_idly();
        self.a.traffic().count_sent(100);
    }

    /// The same when there is nothing to carry.
    fn shake_idly(&self) {
        let keepalive = respond(&self.a, &answer(&self.b, &initiate(&self.a)).unwrap()).unwrap();
        open(&self.b, &keepalive).unwrap();
    }

    fn agree(&mut self) {
        let proof = self.offer().and_then(|offer| self.offered(offer)).and_then(|accept| self.accepted(accept));
        open(&self.b, &proof.unwrap()).unwrap();
    }

    /// What a has to say.
    fn offer(&mut self) -> Result<Control, Drop> {
        self.a.tend_lane(self.now, &mut self.rng).ok_or(Drop::Unexpected)
    }

    /// What b answers.
    fn offered(&mut self, control: Control) -> Result<Control, Drop> {
        let Control::LaneOffer(share) = control else { panic!("{control:?}") };
        self.b.handle_lane_offer(self.now, share, &mut self.rng)
    }

    /// What a proves its keys with.
    fn accepted(&self, control: Control) -> Result<Vec<u8>, Drop> {
        let Control::LaneAccept(share) = control else { panic!("{control:?}") };
        let mut out = vec![0; 200];
        let len = self.a.handle_lane_accept(self.now, share, &mut out)?;
        out.truncate(len);
        Ok(out)
    }

    fn ciphers(&self) -> [Option<Cipher>; 2] {
        [self.a.cipher(), self.b.cipher()]
    }

    fn tend(&mut self) -> [Option<Control>; 2] {
        [&self.a, &self.b].map(|tunnel| tunnel.tend_lane(self.now, &mut self.rng))
    }
}

#[test]
fn packets_go_both_ways_in_the_lane() {
    let lanes = Lanes::connected();
    for (from, to) in [(&lanes.a, &lanes.b), (&lanes.b, &lanes.a)] {
        let packet = any_packet(b"hello");
        let sealed = seal(from, &packet).unwrap();
        assert_eq!((sealed[..4].to_vec(), sealed.len()), (vec![5, 0, 0, 0], packet.len() + 32));
        assert_eq!(open(to, &sealed), Ok((packet, false)));
    }
}

#[test]
fn what_wireguard_must_see_stays_there() {
    let lanes = Lanes::connected();
    let mut out = [0; 200];
    let len = lanes.a.seal_in_wireguard(&any_packet(b"probe"), &mut out).unwrap();
    assert_eq!(out[0], 4);
    assert_eq!(open(&lanes.b, &out[..len]), Ok((any_packet(b"probe"), false)));
}

#[test]
fn each_end_seals_only_when_the_other_can_open() {
    let mut lanes = Lanes::new();
    lanes.shake();
    let wireguard = Some(Cipher::ChaCha20Poly1305);
    let offer = lanes.offer().unwrap();
    let acceptance = lanes.offered(offer).unwrap();
    assert_eq!(lanes.ciphers(), [wireguard; 2], "the responder was not heard in it yet");
    let proof = lanes.accepted(acceptance).unwrap();
    assert_eq!(lanes.ciphers(), [Some(Cipher::Aes256Gcm), wireguard]);
    assert_eq!(open(&lanes.b, &proof), Ok((vec![], false)));
    assert_eq!(lanes.ciphers(), [Some(Cipher::Aes256Gcm); 2]);
}

#[test]
fn lost_words_are_said_again_and_lost_proofs_too() {
    let mut lanes = Lanes::new();
    lanes.shake();
    lanes.offer().unwrap();
    assert!(lanes.offer().is_err(), "not at once");
    lanes.now += SECOND;
    let offer = lanes.offer().unwrap();
    let first = lanes.offered(offer.clone()).unwrap();
    assert_eq!(lanes.offered(offer), Ok(first.clone()), "a repeated offer gets the same acceptance");
    lanes.accepted(first.clone()).unwrap();
    lanes.now += SECOND;
    let [nothing, again] = lanes.tend();
    assert_eq!((nothing, again.clone()), (None, Some(first)), "b was not heard from");
    let proof = lanes.accepted(again.unwrap()).unwrap();
    open(&lanes.b, &proof).unwrap();
    lanes.now += SECOND * 60;
    assert_eq!(lanes.tend(), [None, None]);
}

#[test]
fn who_never_answers_is_asked_six_times_and_then_once_a_handshake() {
    let mut lanes = Lanes::new();
    for expected in [6, 1, 1] {
        lanes.shake();
        let mut said = 0;
        for _ in 0..240 {
            said += usize::from(lanes.offer().is_ok());
            lanes.now += SECOND / 4;
        }
        assert_eq!(said, expected);
    }
    lanes.shake();
    lanes.agree();
}

#[test]
fn nobody_is_asked_for_a_lane_until_programs_say_something() {
    let mut lanes = Lanes::connected();
    for is_sent in [true, false] {
        lanes.shake_idly();
        for _ in 0..60 {
            assert_eq!(lanes.tend(), [None, None], "there is nothing to carry");
            lanes.now += SECOND / 4;
        }
        match is_sent {
            true => lanes.a.traffic().count_sent(100),
            false => lanes.a.traffic().count_received(100),
        }
        lanes.agree();
        assert_eq!(lanes.ciphers(), [Cipher::Aes256Gcm; 2].map(Some));
    }
}

#[test]
fn what_was_carried_while_a_handshake_was_under_way_asks_for_its_lane() {
    let mut lanes = Lanes::connected();
    let initiation = initiate(&lanes.a);
    lanes.a.traffic().count_received(100);
    let keepalive = respond(&lanes.a, &answer(&lanes.b, &initiation).unwrap()).unwrap();
    open(&lanes.b, &keepalive).unwrap();
    lanes.agree();
    assert_eq!(lanes.ciphers(), [Cipher::Aes256Gcm; 2].map(Some));
}

#[test]
fn offers_and_acceptances_that_were_not_asked_for_are_refused() {
    let mut lanes = Lanes::new();
    lanes.shake();
    let Ok(Control::LaneOffer(offer)) = lanes.offer() else { panic!("an offer") };
    let other = LaneShare { responder: offer.responder + 1, ..offer };
    assert_eq!(lanes.offered(Control::LaneOffer(other)), Err(Drop::Unexpected));
    assert_eq!(lanes.accepted(Control::LaneAccept(other)), Err(Drop::Unexpected));
    let weak = LaneShare { ephemeral: [0; 32], ..offer };
    assert_eq!(lanes.accepted(Control::LaneAccept(weak)), Err(Drop::BadHandshake));
    let acceptance = lanes.offered(Control::LaneOffer(offer)).unwrap();
    let second = LaneShare { ephemeral: [9; 32], ..offer };
    assert_eq!(lanes.offered(Control::LaneOffer(second)), Err(Drop::Unexpected), "one lane a handshake");
    assert_eq!(lanes.accepted(acceptance), Err(Drop::Unexpected), "the secret was used");
    let off = Pair::connected();
    assert_eq!(off.b.handle_lane_offer(lanes.now, offer, &mut lanes.rng), Err(Drop::Unexpected));
    assert_eq!(off.a.tend_lane(lanes.now, &mut lanes.rng), None);
}

#[test]
fn a_new_handshake_falls_back_until_its_lane_is_there_and_the_former_can_still_be_opened() {
    let mut lanes = Lanes::connected();
    let late = seal(&lanes.a, &any_packet(b"late")).unwrap();
    lanes.shake();
    assert_eq!(lanes.ciphers(), [Some(Cipher::ChaCha20Poly1305); 2], "the peer might have lost its keys");
    lanes.agree();
    assert_eq!(open(&lanes.b, &late), Ok((any_packet(b"late"), false)));
    assert_eq!(lanes.ciphers(), [Some(Cipher::Aes256Gcm); 2]);
}

#[test]
fn old_keys_are_refused() {
    let mut lanes = Lanes::connected();
    let sealed = [b"1", b"2"].map(|text| seal(&lanes.a, &any_packet(text)).unwrap());
    lanes.now += REJECT_AFTER_TIME - SECOND;
    lanes.tend();
    assert!(open(&lanes.b, &sealed[0]).is_ok());
    lanes.now += SECOND;
    lanes.tend();
    assert_eq!(open(&lanes.b, &sealed[1]), Err(Drop::UnknownSession));
    assert_ne!(lanes.a.cipher(), Some(Cipher::Aes256Gcm));
}

#[test]
fn keys_that_others_replaced_are_kept_for_what_is_under_way() {
    let mut lanes = Lanes::connected();
    let late = [b"1", b"2"].map(|text| seal(&lanes.a, &any_packet(text)).unwrap());
    lanes.now += 120 * SECOND;
    lanes.shake();
    lanes.agree();
    lanes.now += 9 * SECOND;
    lanes.tend();
    assert!(open(&lanes.b, &late[0]).is_ok());
    lanes.now += SECOND;
    lanes.tend();
    assert_eq!(open(&lanes.b, &late[1]), Err(Drop::UnknownSession));
    assert_eq!(lanes.ciphers(), [Some(Cipher::Aes256Gcm); 2]);
}

#[test]
fn keys_are_not_replaced_by_those_of_a_handshake_that_may_have_crossed_theirs() {
    let mut lanes = Lanes::connected();
    let sealed = seal(&lanes.a, &any_packet(b"1")).unwrap();
    lanes.now += 2 * SECOND;
    lanes.shake();
    lanes.agree();
    lanes.now += 120 * SECOND;
    lanes.tend();
    assert!(open(&lanes.b, &sealed).is_ok());
}

#[test]
fn a_worn_key_asks_for_another_and_then_seals_nothing() {
    let ((_, ours), (_, theirs)) = (party(1), party(2));
    let lane = Lane::new(ours, theirs);
    lane.follow(Some(1));
    let agreement = |secret: u8, theirs: u8| {
        let secret = x25519_dalek::StaticSecret::from([secret; 32]);
        (x25519_dalek::PublicKey::from(&secret).to_bytes(), secret.diffie_hellman(&[theirs; 32].into()))
    };
    let (public, shared) = agreement(3, 9);
    let handshake = Handshake { local: 1, remote: 2, is_ours: true };
    lane.install(Instant::now(), &Agreement { handshake, shared, ours: public, theirs: [9; 32] }).unwrap();
    lane.choose(&lane.exchange.lock());
    assert!(!lane.wants_handshake(SECOND));
    let session = lane.session(1).unwrap();
    session.set_sent(REJECT_AFTER_MESSAGES - 1);
    assert!(lane.wants_handshake(SECOND) && !lane.wants_handshake(SECOND), "said once");
    assert!(lane.seal(b"last", &mut [0; 100]).is_some());
    assert!(lane.seal(b"none", &mut [0; 100]).is_none());
}

/// Why b refuses a datagram.
fn refused(lanes: &Lanes, datagram: &[u8]) -> Drop {
    open(&lanes.b, datagram).unwrap_err()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// In any order, with any repetitions: each packet arrives once, and what came before is refused.
    #[test]
    fn reordered_datagrams_arrive_once_and_replayed_ones_never(
        order in proptest::collection::vec(0usize..40, 1..120),
    ) {
        let lanes = Lanes::connected();
        let packets: Vec<_> = (0..40u8).map(|n| any_packet(&[n; 9])).collect();
        let sealed: Vec<_> = packets.iter().map(|packet| seal(&lanes.a, packet).unwrap()).collect();
        let mut seen = std::collections::BTreeSet::new();
        for n in order {
            match seen.insert(n) {
                true => prop_assert_eq!(open(&lanes.b, &sealed[n]), Ok((packets[n].clone(), false))),
                false => prop_assert_eq!(refused(&lanes, &sealed[n]), Drop::Replayed),
            }
        }
    }

    /// A datagram that is shorter, or differs in any bit, is refused and takes no counter.
    #[test]
    fn truncated_and_altered_datagrams_are_refused(text: Vec<u8>, cut: prop::sample::Index, bit: prop::sample::Index) {
        let lanes = Lanes::connected();
        let packet = any_packet(&text);
        let sealed = seal(&lanes.a, &packet).unwrap();
        let short = &sealed[..cut.index(sealed.len())];
        prop_assert!(matches!(refused(&lanes, short), Drop::Forged | Drop::NotOurs));
        let mut altered = sealed.clone();
        let bit = bit.index(sealed.len() * 8);
        altered[bit / 8] ^= 1 << (bit % 8);
        let reasons = [Drop::Forged, Drop::NotOurs, Drop::UnknownSession, Drop::Replayed];
        prop_assert!(reasons.contains(&refused(&lanes, &altered)));
        prop_assert_eq!(open(&lanes.b, &sealed), Ok((packet, false)));
    }

    /// What was sealed in one session opens in no other: neither the next one, nor another pair's, nor back home.
    #[test]
    fn datagrams_of_another_session_are_refused(text: Vec<u8>) {
        let mut lanes = Lanes::connected();
        let sealed = seal(&lanes.a, &any_packet(&text)).unwrap();
        let mut reflected = sealed.clone();
        reflected[4..8].copy_from_slice(&seal(&lanes.b, &[]).unwrap()[4..8]);
        prop_assert_eq!(open(&lanes.a, &reflected), Err(Drop::Forged));
        prop_assert_eq!(open(&lanes.a, &sealed), Err(Drop::UnknownSession));
        lanes.shake();
        lanes.agree();
        let mut moved = sealed;
        moved[4..8].copy_from_slice(&seal(&lanes.a, &[]).unwrap()[4..8]);
        prop_assert_eq!(refused(&lanes, &moved), Drop::Forged);
        let mut foreign = Lanes::connected();
        foreign.shake();
        foreign.rng = ChaCha20Rng::seed_from_u64(8);
        foreign.agree();
        let sealed = seal(&foreign.a, &any_packet(&text)).unwrap();
        prop_assert_eq!(refused(&lanes, &sealed), Drop::Forged);
    }

    #[test]
    fn arbitrary_datagrams_are_refused(mut bytes: Vec<u8>, is_known: bool) {
        let lanes = Lanes::connected();
        let real = seal(&lanes.a, &[]).unwrap();
        let front = bytes.len().min(8);
        bytes[..front].copy_from_slice(&real[..front]);
        if !is_known && bytes.len() > 4 {
            bytes[4] ^= 1;
        }
        refused(&lanes, &bytes);
    }
}

/// Several threads seal and open at once: no counter is used twice, nothing is lost.
#[test]
fn threads_share_a_session() {
    let lanes = Lanes::connected();
    let received = Mutex::new(std::collections::BTreeSet::new());
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let (lanes, received) = (&lanes, &received);
            scope.spawn(move || {
                for n in 0..200u8 {
                    let sealed = seal(&lanes.a, &any_packet(&[thread, n])).unwrap();
                    let (packet, _) = open(&lanes.b, &sealed).unwrap();
                    assert!(received.lock().insert(packet));
                }
            });
        }
    });
    assert_eq!(received.lock().len(), 800);
}

/// WireGuard's timers see no packet of the lane: they would let the session end.
#[cfg(feature = "sim")]
#[test]
fn what_the_lane_carried_asks_for_a_handshake_after_two_minutes() {
    for carries in [true, false] {
        let lanes = Lanes::connected();
        if carries {
            let sealed = seal(&lanes.b, &any_packet(b"one way")).unwrap();
            open(&lanes.a, &sealed).unwrap();
        }
        let mut asked = Vec::new();
        for second in 0..150 {
            crate::peer::advance_clock(SECOND);
            let mut out = [0; 200];
            for (name, tunnel) in [("a", &lanes.a), ("b", &lanes.b)] {
                assert!(!matches!(tunnel.tick(&mut out), crate::peer::Tick::Initiation(_)));
                asked.extend(tunnel.wants_handshake().then_some((name, second + 1)));
            }
        }
        let expected: &[_] = if carries { &[("a", 120)] } else { &[] };
        assert_eq!(asked, expected, "the initiator, once");
    }
}
