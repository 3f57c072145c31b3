use super::*;

fn taken(message: server_message::Body) -> bool {
    match message {
        server_message::Body::HostnameSet(set) => set.taken,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_belongs_to_one_node_also_while_it_is_away() {
    let mut harness = Harness::new();
    let (owner, _) = harness.log_in(key(1), Some("worker"));
    harness.disconnect(owner);
    let mut harness = harness.restart();
    let (other, welcome) = harness.log_in(key(2), Some("worker"));
    assert!(welcome.hostname_taken);
    assert_eq!(welcome.hostname, None);
    harness.say(other, take_name(Some("worker")));
    assert!(taken(harness.only(other)));

    let (_, welcome) = harness.log_in(key(1), None);
    assert_eq!(welcome.hostname.as_deref(), Some("worker"));
}

#[test]
fn a_name_that_was_given_up_or_changed_is_free() {
    let mut harness = Harness::new();
    let (first, _) = harness.log_in(key(1), Some("alpha"));
    let (second, _) = harness.log_in(key(2), Some("beta"));
    harness.say(first, take_name(None));
    harness.say(second, take_name(Some("alpha")));
    assert!(!taken(harness.only(first)));
    assert!(!taken(harness.only(second)));
    harness.say(first, take_name(Some("beta")));
    assert!(!taken(harness.only(first)));
    assert_eq!(harness.directory.counters().hostnames, 2);
}

#[test]
fn a_refused_claim_keeps_the_name_that_was_held() {
    let mut harness = Harness::new();
    harness.log_in(key(1), Some("alpha"));
    let (second, _) = harness.log_in(key(2), Some("beta"));
    harness.say(second, take_name(Some("alpha")));
    assert!(taken(harness.only(second)));
    let (third, _) = harness.log_in(key(3), None);
    harness.say(third, ask_name(1, "beta", b"please"));
    assert_eq!(harness.requests(second).len(), 1);
}

#[test]
fn names_are_unique_in_one_network_only() {
    let mut harness = Harness::new();
    harness.log_in(key(1), Some("worker"));
    let session = harness.connect(key(2));
    harness.say(session, Hello { version: 1, network: 7, hostname: Some("worker".into()) }.into());
    let server_message::Body::Welcome(welcome) = harness.only(session) else { panic!() };
    assert_eq!(welcome.hostname.as_deref(), Some("worker"));
}

#[test]
fn a_node_away_for_too_long_loses_its_name_and_one_that_stays_does_not() {
    let mut harness = Harness::new();
    let (gone, _) = harness.log_in(key(1), Some("alpha"));
    harness.disconnect(gone);
    harness.log_in(key(2), Some("beta"));
    let lifetime = Duration::from_secs(REGISTRATION_DAYS * 24 * 60 * 60);
    harness.pass(lifetime + Duration::from_secs(61));
    let (_, third) = harness.log_in(key(3), Some("alpha"));
    assert!(!third.hostname_taken);
    let (_, fourth) = harness.log_in(key(4), Some("beta"));
    assert!(fourth.hostname_taken);
    assert!(harness.saved.registrations.iter().all(|node| node.key != key(1)));
}
