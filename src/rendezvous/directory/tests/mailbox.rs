use super::*;

#[test]
fn an_envelope_that_is_not_durable_is_delivered_now_or_never() {
    let mut harness = Harness::new();
    let (sender, _) = harness.log_in(key(1), None);
    harness.say(sender, deliver(key(2), b"lost", false));
    let (receiver, _) = harness.log_in(key(2), None);
    assert!(harness.take(receiver).is_empty());
    harness.say(sender, deliver(key(2), b"found", false));
    assert_eq!(harness.envelopes(receiver), [(b"found".to_vec(), 0)]);
    assert_eq!(harness.saved.items, []);
}

#[test]
fn a_durable_envelope_waits_through_restarts_until_it_is_acknowledged() {
    let mut harness = Harness::new();
    let (sender, _) = harness.log_in(key(1), None);
    harness.say(sender, deliver(key(2), b"first", true));
    harness.say(sender, deliver(key(2), b"second", true));
    for _ in 0..2 {
        harness = harness.restart();
        let (receiver, _) = harness.log_in(key(2), None);
        let got = harness.envelopes(receiver);
        // The first login leaves without acknowledging, so that the next one gets the same.
        assert_eq!(got, [(b"first".to_vec(), 1), (b"second".to_vec(), 2)]);
    }
    let (receiver, _) = harness.log_in(key(2), None);
    harness.take(receiver);
    harness.acknowledge(receiver, 1);
    harness.acknowledge(receiver, 1);
    harness.acknowledge(receiver, 77);
    let mut harness = harness.restart();
    let (receiver, _) = harness.log_in(key(2), None);
    assert_eq!(harness.envelopes(receiver), [(b"second".to_vec(), 1)]);
}

#[test]
fn a_node_acknowledges_its_own_deliveries_only() {
    let mut harness = Harness::new();
    let (first, _) = harness.log_in(key(1), None);
    let (second, _) = harness.log_in(key(2), None);
    harness.say(first, deliver(key(2), b"x", true));
    harness.acknowledge(first, 1);
    assert_eq!(harness.saved.items.len(), 1);
    assert_eq!(harness.envelopes(second).len(), 1);
    harness.acknowledge(second, 1);
    assert_eq!(harness.saved.items, []);
}

#[test]
fn a_trust_request_reaches_the_name_with_the_proven_sender() {
    let mut harness = Harness::new();
    let (sender, _) = harness.log_in(key(1), Some("asker"));
    let (target, _) = harness.log_in(key(2), Some("worker"));
    harness.say(sender, ask_name(5, "worker", b"please"));
    let requests = harness.requests(target);
    let expected = TrustRequested {
        delivery: 1,
        sender_key: key(1).as_bytes().to_vec(),
        sender_hostname: "asker".into(),
        statement: b"please".to_vec(),
    };
    assert_eq!(requests, [expected]);
}

#[test]
fn a_trust_request_waits_for_an_id_or_a_name_that_nobody_has_yet() {
    let mut harness = Harness::new();
    let (sender, _) = harness.log_in(key(1), None);
    let id = harness.id(key(2));
    harness.say(sender, ask_id(1, id, b"by id"));
    harness.say(sender, ask_name(2, "worker", b"by name"));
    let mut harness = harness.restart();
    let (target, _) = harness.log_in(key(2), None);
    let statements =
        |requests: Vec<TrustRequested>| -> Vec<_> { requests.into_iter().map(|request| request.statement).collect() };
    assert_eq!(statements(harness.requests(target)), [b"by id".to_vec()]);
    harness.say(target, take_name(Some("worker")));
    assert_eq!(statements(harness.requests(target)), [b"by name".to_vec()]);
}

#[test]
fn asking_again_takes_the_place_of_the_former_request() {
    let mut harness = Harness::new();
    let (sender, _) = harness.log_in(key(1), None);
    for statement in [b"first", b"again"] {
        harness.say(sender, ask_name(1, "worker", statement));
    }
    let mut harness = harness.restart();
    let (target, _) = harness.log_in(key(2), Some("worker"));
    let requests = harness.requests(target);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].statement, b"again");
}

#[test]
fn what_is_a_week_old_is_gone() {
    let mut harness = Harness::new();
    let (sender, _) = harness.log_in(key(1), None);
    harness.say(sender, deliver(key(2), b"x", true));
    harness.pass(Duration::from_secs(LIFETIME - 60));
    assert_eq!(harness.saved.items.len(), 1);
    harness.pass(Duration::from_secs(61));
    assert_eq!(harness.saved.items, []);
    let (receiver, _) = harness.log_in(key(2), None);
    assert!(harness.take(receiver).is_empty());
}

#[test]
fn networks_do_not_mix() {
    let mut harness = Harness::new();
    let (sender, _) = harness.log_in(key(1), None);
    let receiver = harness.connect(key(2));
    harness.say(receiver, Hello { version: 1, network: 7, hostname: Some("worker".into()) }.into());
    harness.take(receiver);
    let id = harness.id(key(2));
    for message in
        [deliver(key(2), b"x", false), deliver(key(2), b"x", true), ask_name(1, "worker", b"x"), ask_id(2, id, b"x")]
    {
        harness.say(sender, message);
    }
    assert!(harness.take(receiver).is_empty());
}

#[test]
fn a_full_mailbox_arrives_in_steps_of_acknowledgements() {
    let mut harness = Harness::new();
    for number in 0..MAX_PER_TARGET as u64 {
        let (sender, _) = harness.log_in(key(100 + number), None);
        harness.say(sender, deliver(key(1), &number.to_be_bytes(), true));
    }
    let (receiver, _) = harness.log_in(key(1), None);
    let mut got = harness.envelopes(receiver);
    assert_eq!(got.len(), 32);
    let mut next = 0;
    while next < got.len() {
        harness.acknowledge(receiver, got[next].1);
        got.extend(harness.envelopes(receiver));
        next += 1;
    }
    let numbers: Vec<_> = got.iter().map(|(content, _)| u64::from_be_bytes(content[..].try_into().unwrap())).collect();
    assert_eq!(numbers, (0..MAX_PER_TARGET as u64).collect::<Vec<_>>());
    assert_eq!(harness.saved.items, []);
}
