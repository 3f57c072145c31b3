use super::*;

#[test]
fn one_sender_never_fills_a_mailbox() {
    let mut harness = Harness::new();
    let (flooder, _) = harness.log_in(key(1), None);
    for number in 0..100_u8 {
        harness.say(flooder, deliver(key(9), &[number], true));
    }
    assert_eq!(harness.saved.items.len(), MAX_PER_PAIR);
    assert_eq!(harness.directory.counters().refused, 100 - MAX_PER_PAIR as u64);
    let (other, _) = harness.log_in(key(2), None);
    harness.say(other, deliver(key(9), b"honest", true));
    let (receiver, _) = harness.log_in(key(9), None);
    assert!(harness.envelopes(receiver).iter().any(|(content, _)| content == b"honest"));
}

#[test]
fn one_sender_stores_a_bounded_number_in_all() {
    let mut harness = Harness::new();
    let (flooder, _) = harness.log_in(key(1), None);
    for number in 0..100 {
        harness.say(flooder, ask_name(number, &format!("name-{number}"), b"x"));
    }
    assert_eq!(harness.saved.items.len(), MAX_PER_SENDER);
}

#[test]
fn one_target_keeps_a_bounded_number() {
    let mut harness = Harness::new();
    for number in 0..MAX_PER_TARGET as u64 + 10 {
        let (sender, _) = harness.log_in(key(100 + number), None);
        harness.say(sender, ask_name(1, "worker", b"x"));
    }
    assert_eq!(harness.saved.items.len(), MAX_PER_TARGET);
}

#[test]
fn what_was_delivered_makes_room_again() {
    let mut harness = Harness::new();
    let (sender, _) = harness.log_in(key(1), None);
    let (receiver, _) = harness.log_in(key(2), None);
    for _ in 0..3 * MAX_PER_SENDER {
        harness.say(sender, deliver(key(2), b"x", true));
        let got = harness.envelopes(receiver);
        assert_eq!(got.len(), 1);
        harness.acknowledge(receiver, got[0].1);
    }
}

#[test]
fn messages_out_of_bounds_end_the_session() {
    use crate::wire::rendezvous::{MAX_SEALED, MAX_STATEMENT};
    let no_key = Deliver { recipient: vec![2; 31], sealed: vec![], durable: false };
    let no_target = RequestTrust { request: 1, target: None, sender_statement: vec![] };
    let target = Some(request_trust::Target::NodeId(1 << 48));
    let no_id = RequestTrust { request: 1, target, sender_statement: vec![] };
    let cases: [ClientMessage; 7] = [
        no_key.into(),
        no_target.into(),
        no_id.into(),
        deliver(key(2), &vec![0; MAX_SEALED + 1], true),
        ask_name(1, "worker", &vec![0; MAX_STATEMENT + 1]),
        ask_name(1, "not a name", b"x"),
        take_name(Some("-")),
    ];
    let mut harness = Harness::new();
    for message in cases {
        let (session, _) = harness.log_in(key(1), None);
        harness.say(session, message);
        assert_eq!(harness.refused(session), "malformed");
    }
    let (session, _) = harness.log_in(key(1), None);
    harness.say(session, deliver(key(2), &vec![0; MAX_SEALED], true));
    harness.say(session, ask_name(1, "worker", &vec![0; MAX_STATEMENT]));
    assert_eq!(harness.saved.items.len(), 2);
}

#[test]
fn new_keys_queue_up_to_a_bound_and_known_ones_pass_by() {
    let mut harness = Harness::new();
    let (known, _) = harness.log_in(key(1), None);
    harness.disconnect(known);
    harness.holds_derivations = true;
    for number in 0..MAX_DERIVING as u64 {
        let session = harness.connect(key(1000 + number));
        harness.say(session, hello(None));
    }
    assert_eq!(harness.derivations.len(), MAX_DERIVING);
    let late = harness.connect(key(2));
    harness.say(late, hello(None));
    assert_eq!(harness.refused(late), "busy");
    harness.log_in(key(1), None);
}

#[test]
fn connections_are_bounded() {
    let mut harness = Harness::new();
    let known = key(1);
    let first = harness.connect(known);
    for _ in 1..MAX_SESSIONS {
        harness.connect(known);
    }
    let late = harness.connect(known);
    assert_eq!(harness.refused(late), "full");
    harness.disconnect(first);
    harness.log_in(key(2), None);
}
