use std::time::Duration;

use rand_core::SeedableRng;

use super::*;
use crate::identity::Identity;
use crate::wire::relay::{HEADER, bind, send_header};

struct Harness {
    relay: Relay,
    drops: Arc<Drops>,
    now: Instant,
}

fn credential(session: u64, allocation: u64) -> RelayCredential {
    RelayCredential { session, key: [session as u8; 32], allocation: Allocation(allocation) }
}

/// The node that logged in with a session.
fn owner(session: u64) -> PublicKey {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(session);
    Identity::generate(&mut rng).public_key()
}

/// A stream of the node that logged in with a session.
fn stream(number: u64, session: u64) -> Endpoint {
    Endpoint::Stream { number, key: owner(session) }
}

fn at(port: u16) -> Endpoint {
    Endpoint::Udp { socket: usize::from(port % 2), remote: SocketAddr::from(([192, 0, 2, 1], port)) }
}

impl Harness {
    fn new() -> Harness {
        Harness::with(SESSION_RATE)
    }

    fn with(rate: Rate) -> Harness {
        let drops = Arc::new(Drops::default());
        Harness { relay: Relay::new(rate, drops.clone()), drops, now: Instant::now() }
    }

    fn open(&mut self, credential: &RelayCredential) {
        self.relay.open(self.now, owner(credential.session), credential.clone());
    }

    /// What the relay sends for a datagram, or why nothing.
    fn take(&mut self, from: Endpoint, datagram: &[u8]) -> Result<(Endpoint, Vec<u8>), Drop> {
        let before: Vec<_> = self.drops.iter().collect();
        let mut buffer = datagram.to_vec();
        match self.relay.handle_datagram(self.now, from, &mut buffer) {
            Some((to, len)) => {
                assert!(len <= datagram.len());
                Ok((to, buffer[..len].to_vec()))
            }
            None => {
                let changed = |((reason, was), (_, is)): ((Drop, u64), (Drop, u64))| (is > was).then_some(reason);
                Err(before.into_iter().zip(self.drops.iter()).find_map(changed).expect("every refusal is counted"))
            }
        }
    }

    fn bind(&mut self, credential: &RelayCredential, nonce: u64, from: Endpoint) -> Result<(), Drop> {
        let (to, answer) = self.take(from, &bind(credential, nonce))?;
        assert_eq!(to, from);
        let Ok(Frame::Bound(binding)) = Frame::parse(&answer) else { panic!("not a Bound") };
        assert_eq!((binding.session, binding.nonce), (credential.session, nonce));
        assert_eq!(binding.verify(&credential.key), Ok(()));
        Ok(())
    }

    fn send(&mut self, session: u64, from: Endpoint, to: u64, payload: &[u8]) -> Result<(Endpoint, Vec<u8>), Drop> {
        self.take(from, &[&send_header(session, Allocation(to))[..], payload].concat())
    }
}

/// Two nodes, bound at ports 1 and 2.
fn pair(harness: &mut Harness) -> (RelayCredential, RelayCredential) {
    let (first, second) = (credential(10, 100), credential(20, 200));
    for (credential, port) in [(&first, 1), (&second, 2)] {
        harness.open(credential);
        harness.bind(credential, 1, at(port)).unwrap();
    }
    (first, second)
}

#[test]
fn a_payload_is_delivered_with_its_source() {
    let mut harness = Harness::new();
    pair(&mut harness);
    let (to, delivered) = harness.send(10, at(1), 200, b"sealed").unwrap();
    assert_eq!(to, at(2));
    let expected = Frame::Deliver { source: Allocation(100), destination: Allocation(200), payload: b"sealed" };
    assert_eq!(Frame::parse(&delivered), Ok(expected));
    let bytes = (HEADER + b"sealed".len()) as u64;
    assert_eq!(harness.relay.counters(), Counters { bound: 2, datagrams: 1, bytes });
}

#[test]
fn nothing_is_forwarded_before_both_sides_have_bound() {
    let mut harness = Harness::new();
    let (first, second) = (credential(10, 100), credential(20, 200));
    harness.open(&first);
    harness.open(&second);
    assert_eq!(harness.send(10, at(1), 200, b"x"), Err(Drop::RelayUnbound));
    harness.bind(&first, 1, at(1)).unwrap();
    assert_eq!(harness.send(10, at(1), 200, b"x"), Err(Drop::RelayUnbound));
    harness.bind(&second, 1, at(2)).unwrap();
    assert!(harness.send(10, at(1), 200, b"x").is_ok());
}

#[test]
fn strangers_forgers_and_unknown_destinations_get_nothing() {
    let mut harness = Harness::new();
    let (first, _) = pair(&mut harness);
    assert_eq!(harness.send(11, at(1), 200, b"x"), Err(Drop::RelayUnknownSession));
    assert_eq!(harness.send(10, at(3), 200, b"x"), Err(Drop::RelayWrongEndpoint));
    let other_socket = Endpoint::Udp { socket: 5, remote: SocketAddr::from(([192, 0, 2, 1], 1)) };
    assert_eq!(harness.send(10, other_socket, 200, b"x"), Err(Drop::RelayWrongEndpoint));
    assert_eq!(harness.send(10, at(1), 201, b"x"), Err(Drop::RelayUnknownDestination));
    let forged = RelayCredential { key: [0; 32], ..credential(10, 100) };
    assert_eq!(harness.bind(&forged, 9, at(3)), Err(Drop::RelayBadMac));
    assert_eq!(harness.bind(&credential(11, 100), 9, at(3)), Err(Drop::RelayUnknownSession));
    let bound = relay::bound(first.session, &first.key, 1);
    assert_eq!(harness.take(at(1), &bound), Err(Drop::Unexpected));
    assert_eq!(harness.take(at(1), b"\x12 short"), Err(Drop::MalformedRelay));
    assert!(harness.send(10, at(1), 200, b"x").is_ok());
}

#[test]
fn a_session_moves_with_a_newer_bind_and_not_with_a_recorded_one() {
    let mut harness = Harness::new();
    let (first, _) = pair(&mut harness);
    harness.bind(&first, 5, at(1)).unwrap();
    assert_eq!(harness.bind(&first, 5, at(3)), Err(Drop::Replayed));
    assert_eq!(harness.bind(&first, 1, at(3)), Err(Drop::Replayed));
    assert_eq!(harness.send(20, at(2), 100, b"x").unwrap().0, at(1));
    // From where it is bound a repetition changes nothing, and may be one that the network doubled.
    harness.bind(&first, 5, at(1)).unwrap();
    harness.bind(&first, 6, at(3)).unwrap();
    assert_eq!(harness.send(20, at(2), 100, b"x").unwrap().0, at(3));
    harness.now += Duration::from_secs(2);
    assert_eq!(harness.send(10, at(1), 200, b"x"), Err(Drop::RelayWrongEndpoint));
}

#[test]
fn traffic_goes_on_through_a_new_login() {
    let mut harness = Harness::new();
    let (first, _) = pair(&mut harness);
    let again = credential(11, 100);
    harness.open(&again);
    assert_eq!(harness.send(20, at(2), 100, b"x").unwrap().0, at(1));
    assert!(harness.send(10, at(1), 200, b"x").is_ok());
    harness.bind(&again, 1, at(3)).unwrap();
    assert_eq!(harness.send(20, at(2), 100, b"x").unwrap().0, at(3));
    assert_eq!(harness.send(10, at(1), 200, b"x"), Err(Drop::RelayUnknownSession));
    harness.relay.close(first.session);
    assert_eq!(harness.relay.counters().bound, 2);
    assert!(harness.send(11, at(3), 200, b"x").is_ok());
}

#[test]
fn logins_that_never_bind_leave_nothing_behind() {
    let mut harness = Harness::new();
    pair(&mut harness);
    for session in 1000..2000 {
        harness.open(&credential(session, 100));
        harness.open(&credential(session + 10_000, 300));
    }
    assert_eq!(harness.relay.sessions.len(), 4);
    harness.relay.close(10);
    harness.bind(&credential(1999, 100), 1, at(3)).unwrap();
    for session in [1999, 11_999, 20] {
        harness.relay.close(session);
    }
    assert!(harness.relay.sessions.is_empty());
    assert_eq!(harness.relay.counters().bound, 0);
}

#[test]
fn a_closed_session_neither_sends_nor_receives() {
    let mut harness = Harness::new();
    pair(&mut harness);
    harness.relay.close(20);
    assert_eq!(harness.send(10, at(1), 200, b"x"), Err(Drop::RelayUnknownDestination));
    assert_eq!(harness.send(20, at(2), 100, b"x"), Err(Drop::RelayUnknownSession));
}

#[test]
fn who_sends_too_much_is_cut_to_the_rate_and_nobody_else_is() {
    let mut harness = Harness::with(Rate { per_second: 10_000, burst: 1000 });
    pair(&mut harness);
    let payload = [0; 100 - HEADER];
    let passed = (0..50).filter(|_| harness.send(10, at(1), 200, &payload).is_ok()).count();
    assert_eq!(passed, 10);
    assert_eq!(harness.send(10, at(1), 200, &payload), Err(Drop::RateLimited));
    assert!(harness.send(20, at(2), 100, &payload).is_ok());
    harness.now += Duration::from_millis(50);
    let passed = (0..50).filter(|_| harness.send(10, at(1), 200, &payload).is_ok()).count();
    assert_eq!(passed, 5);
}

#[test]
fn a_full_relay_opens_no_more() {
    let mut harness = Harness::new();
    for number in 0..MAX_SESSIONS as u64 + 5 {
        harness.open(&credential(number, number));
    }
    assert_eq!(harness.relay.sessions.len(), MAX_SESSIONS);
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(kind in 0x0f_u8..0x15, bytes: Vec<u8>) {
        let mut harness = Harness::new();
        pair(&mut harness);
        let framed = [&[kind, 0, 0, 0][..], &bytes].concat();
        for datagram in [bytes, framed] {
            let _ = harness.take(at(1), &datagram);
        }
    }
}

#[test]
fn a_session_moves_between_udp_and_its_own_nodes_streams() {
    let mut harness = Harness::new();
    let (first, _) = pair(&mut harness);
    harness.bind(&first, 2, stream(1, 10)).unwrap();
    assert_eq!(harness.send(20, at(2), 100, b"x").unwrap().0, stream(1, 10));
    assert_eq!(harness.send(10, stream(1, 10), 200, b"x").unwrap().0, at(2));
    assert_eq!(harness.send(10, at(1), 200, b"x").unwrap().0, at(2), "what was under way when it moved");
    harness.now += Duration::from_secs(2);
    assert_eq!(harness.send(10, at(1), 200, b"x"), Err(Drop::RelayWrongEndpoint));
    assert_eq!(harness.send(10, stream(2, 10), 200, b"x"), Err(Drop::RelayWrongEndpoint), "another stream");
    assert_eq!(harness.bind(&first, 2, at(1)), Err(Drop::Replayed), "a recorded Bind moves nothing");
    harness.bind(&first, 3, at(1)).unwrap();
    assert_eq!(harness.send(20, at(2), 100, b"x").unwrap().0, at(1));
}

#[test]
fn a_stream_of_another_node_binds_nothing() {
    let mut harness = Harness::new();
    let (first, _) = pair(&mut harness);
    assert_eq!(harness.bind(&first, 2, stream(1, 20)), Err(Drop::RelayWrongKey));
    assert_eq!(harness.send(20, at(2), 100, b"x").unwrap().0, at(1), "the binding stays");
}

/// What of a run is sent: where to, and the datagrams.
fn take_run(harness: &mut Harness, from: Endpoint, run: &[u8], size: usize) -> Vec<(Endpoint, Vec<u8>)> {
    let (mut buffer, mut forwards) = (run.to_vec(), Vec::new());
    harness.relay.handle_run(harness.now, from, &mut buffer, size, |forward| forwards.push(forward));
    let each = |Forward { to, range, size }| buffer[range].chunks(size).map(move |one| (to, one.to_vec())).collect();
    forwards.into_iter().flat_map::<Vec<_>, _>(each).collect()
}

#[test]
fn a_run_of_one_leg_stays_one() {
    let mut harness = Harness::new();
    pair(&mut harness);
    let mut run = [&send_header(10, Allocation(200))[..], &[7; 1_400]].concat().repeat(40);
    run.truncate(39 * 1_420 + 300);
    let mut forwards = Vec::new();
    harness.relay.handle_run(harness.now, at(1), &mut run, 1_420, |forward| forwards.push(forward));
    assert_eq!(forwards, [Forward { to: at(2), range: 0..run.len(), size: 1_420 }]);
    let counters = harness.relay.counters();
    assert_eq!((counters.datagrams, counters.bytes), (40, run.len() as u64));
}

#[test]
fn what_the_rate_cuts_out_of_a_run_is_counted_and_the_rest_passes() {
    let mut harness = Harness::with(Rate { per_second: 10_000, burst: 1_050 });
    pair(&mut harness);
    let mut run = [&send_header(10, Allocation(200))[..], &[7; 80]].concat().repeat(20);
    run.truncate(19 * 100 + 40);
    let sent: Vec<usize> = take_run(&mut harness, at(1), &run, 100).iter().map(|(_, one)| one.len()).collect();
    assert_eq!(sent, [vec![100; 10], vec![40]].concat(), "the short one still fits");
    assert_eq!(harness.drops.get(Drop::RateLimited), 9);
}

/// A datagram of one of the kinds that a relay gets, with a payload of so many bytes.
fn some_datagram(kind: u8, len: usize) -> Vec<u8> {
    let payload = vec![kind; len];
    let front = match kind {
        0..4 => send_header(10, Allocation(200)).to_vec(),
        4 => send_header(10, Allocation(300)).to_vec(),
        5 => send_header(11, Allocation(200)).to_vec(),
        6 => send_header(20, Allocation(100)).to_vec(),
        7 => bind(&credential(10, 100), 7).to_vec(),
        8 => send_header(10, Allocation(100)).to_vec(),
        _ => vec![0x12, 0, 0],
    };
    [front, payload].concat()
}

proptest::proptest! {
    #[test]
    fn a_run_is_handled_like_its_datagrams_one_by_one(
        kinds in proptest::collection::vec((0..10_u8, 1..12_usize), 0..12),
        size in 1..120_usize,
        last in 1..120_usize,
        burst in 1_u64..3_000,
    ) {
        let rate = Rate { per_second: 1_000, burst };
        let mut run: Vec<u8> = kinds.into_iter().flat_map(|(kind, many)| {
            let mut datagram = some_datagram(kind, 120);
            datagram.truncate(size);
            datagram.repeat(many)
        }).collect();
        run.truncate(run.len().saturating_sub(size) + last.min(size));
        let [mut joined, mut single] = [Harness::with(rate), Harness::with(rate)];
        single.now = joined.now;
        for harness in [&mut joined, &mut single] {
            pair(harness);
        }
        let sent = take_run(&mut joined, at(1), &run, size);
        let each: Vec<_> = run.chunks(size).filter_map(|one| single.take(at(1), one).ok()).collect();
        proptest::prop_assert_eq!(sent, each);
        proptest::prop_assert_eq!(joined.relay.counters(), single.relay.counters());
        proptest::prop_assert_eq!(joined.drops.iter().collect::<Vec<_>>(), single.drops.iter().collect::<Vec<_>>());
    }
}
