//! Nobody learns from the answers who exists.

use super::*;

/// A directory in which node 1 has logged in and is there, node 2 is away, and node 3 never was.
fn populated() -> (Harness, SessionId) {
    let mut harness = Harness::new();
    harness.log_in(key(1), Some("present"));
    let (away, _) = harness.log_in(key(2), Some("away"));
    harness.disconnect(away);
    let (stranger, _) = harness.log_in(key(9), None);
    (harness, stranger)
}

/// Everything that the stranger is sent, byte by byte, and whether it was sent away.
fn answers(message: ClientMessage) -> (Vec<Vec<u8>>, bool) {
    let (mut harness, stranger) = populated();
    harness.say(stranger, message);
    harness.pass(Duration::from_secs(1));
    let sent = harness.take(stranger).into_iter().map(bytes).collect();
    (sent, harness.closed.contains(&stranger))
}

#[test]
fn an_envelope_is_answered_alike_whoever_it_is_for() {
    for durable in [false, true] {
        for number in [1, 2, 3] {
            assert_eq!(answers(deliver(key(number), b"x", durable)), (vec![], false));
        }
    }
}

#[test]
fn a_trust_request_is_answered_alike_whomever_it_names() {
    let by_name = ["present", "away", "nobody"].map(|name| answers(ask_name(7, name, b"x")));
    let ids = [1, 2, 3].map(|number| Harness::new().id(key(number)));
    let by_id = ids.map(|id| answers(ask_id(7, id, b"x")));
    for answer in by_name.iter().chain(&by_id) {
        assert_eq!(answer, &by_name[0]);
    }
    assert_eq!(by_name[0].0.len(), 1);
}

#[test]
fn the_answer_stays_the_same_when_a_mailbox_is_full() {
    let full_or_not = |senders: u64| {
        let (mut harness, stranger) = populated();
        for number in 0..senders {
            let (sender, _) = harness.log_in(key(100 + number), None);
            harness.say(sender, ask_name(1, "away", b"x"));
        }
        harness.say(stranger, ask_name(7, "away", b"x"));
        bytes(harness.only(stranger))
    };
    assert_eq!(full_or_not(0), full_or_not(MAX_PER_TARGET as u64));
}

#[test]
fn a_welcome_says_nothing_of_others() {
    let welcome = |others: u64| {
        let mut harness = Harness::new();
        for number in 0..others {
            harness.log_in(key(100 + number), None);
        }
        let (_, mut welcome) = harness.log_in(key(1), None);
        // Random at each login, whoever else is there.
        welcome.relay_session = 0;
        welcome.relay_key.clear();
        welcome.encode_to_vec()
    };
    assert_eq!(welcome(0), welcome(20));
}

#[test]
fn delivery_numbers_do_not_count_what_others_receive() {
    let numbers = |strangers: u64| {
        let (mut harness, _) = populated();
        for number in 0..strangers {
            let (sender, _) = harness.log_in(key(100 + number), None);
            harness.say(sender, deliver(key(1), b"x", true));
        }
        let (receiver, _) = harness.log_in(key(50), None);
        let (sender, _) = harness.log_in(key(51), None);
        harness.say(sender, deliver(key(50), b"x", true));
        harness.envelopes(receiver)
    };
    assert_eq!(numbers(0), numbers(5));
}
