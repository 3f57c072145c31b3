//! What the timers do over minutes, under the virtual clock.

use super::*;

/// Lets this time pass for both ends, a quarter of a second at a time, and carries what they send;
/// gives the initiations that were sent.
fn pass(pair: &Pair, seconds: u64) -> usize {
    let mut initiations = 0;
    for _ in 0..seconds * 4 {
        advance_clock(Duration::from_millis(250));
        for (us, them) in [(&pair.a, &pair.b), (&pair.b, &pair.a)] {
            initiations += usize::from(turn(us, them));
        }
    }
    initiations
}

/// One tick of one end; whether it initiated.
fn turn(us: &Tunnel, them: &Tunnel) -> bool {
    let mut out = [0; MIN_BUFFER];
    match us.tick(&mut out) {
        Tick::Initiation(len) => {
            let response = answer(them, &out[..len]).unwrap();
            open(them, &respond(us, &response).unwrap()).unwrap();
            true
        }
        Tick::Keepalive(len) => {
            open(them, &out[..len]).unwrap();
            false
        }
        Tick::Expired | Tick::Idle => false,
    }
}

/// A packet each way.
fn exchange(pair: &Pair) {
    for (us, them) in [(&pair.a, &pair.b), (&pair.b, &pair.a)] {
        let sealed = seal(us, &any_packet(b"x")).unwrap();
        open(them, &sealed).unwrap();
    }
}

#[test]
fn a_busy_tunnel_renews_its_session_in_time() {
    let pair = Pair::connected();
    let mut initiations = 0;
    for _ in 0..120 {
        exchange(&pair);
        initiations += pass(&pair, 10);
        assert!(pair.a.has_session() && pair.b.has_session());
    }
    // 1,200 s: one each 120 s and what idle gaps add.
    assert!((9..=12).contains(&initiations), "{initiations}");
}

/// An hour with gaps of all lengths up to a minute: neither side ever goes deaf.
#[test]
fn gaps_cost_handshakes_but_no_packet() {
    let pair = Pair::connected();
    let (mut passed, mut initiations) = (0, 0);
    while passed < 3600 {
        let gap = 1 + passed * 7 % 60;
        initiations += pass(&pair, gap);
        exchange(&pair);
        passed += gap;
    }
    assert!(initiations < 200, "{initiations}");
}

#[test]
fn an_unused_session_ends() {
    let pair = Pair::connected();
    pass(&pair, 179);
    assert!(pair.a.has_session());
    pass(&pair, 3);
    assert!(!pair.a.has_session() && !pair.b.has_session());
    assert_eq!(seal(&pair.a, &any_packet(b"late")), None);
    assert_eq!(pair.a.session_age(), None);
}

#[test]
fn an_unanswered_initiation_is_repeated_then_given_up_and_can_be_revived() {
    let pair = Pair::new();
    let mut out = [0; MIN_BUFFER];
    initiate(&pair.a);
    let mut repeated = 0;
    let mut last = Tick::Idle;
    for _ in 0..100 * 4 {
        advance_clock(Duration::from_millis(250));
        last = pair.a.tick(&mut out);
        repeated += usize::from(matches!(last, Tick::Initiation(_)));
    }
    assert_eq!((repeated, last), (17, Tick::Expired));
    let response = answer(&pair.b, &initiate(&pair.a)).unwrap();
    let keepalive = respond(&pair.a, &response).unwrap();
    assert_eq!(open(&pair.b, &keepalive), Ok((vec![], true)));
    assert_eq!(pair.a.tick(&mut out), Tick::Idle);
    assert!(pair.a.has_session());
}

/// Tunnels that nobody ticks for long, as a node does with those that rest.
#[test]
fn a_session_made_after_a_long_rest_lasts() {
    let pair = Pair::new();
    advance_clock(Duration::from_secs(3600));
    let response = answer(&pair.b, &initiate(&pair.a)).unwrap();
    open(&pair.b, &respond(&pair.a, &response).unwrap()).unwrap();
    pass(&pair, 2);
    assert!(pair.a.has_session() && pair.b.has_session());
    exchange(&pair);
}

#[test]
fn an_expired_tunnel_is_revived_by_the_peer() {
    let pair = Pair::new();
    let mut out = [0; MIN_BUFFER];
    initiate(&pair.a);
    for _ in 0..100 * 4 {
        advance_clock(Duration::from_millis(250));
        pair.a.tick(&mut out);
    }
    assert_eq!(pair.a.tick(&mut out), Tick::Expired);
    let response = answer(&pair.a, &initiate(&pair.b)).unwrap();
    open(&pair.a, &respond(&pair.b, &response).unwrap()).unwrap();
    pass(&pair, 2);
    exchange(&pair);
}
