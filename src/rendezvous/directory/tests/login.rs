use super::*;

#[test]
fn a_welcome_comes_after_the_id_and_names_the_relay_session() {
    let mut harness = Harness::new();
    harness.holds_derivations = true;
    let session = harness.connect(key(1));
    harness.say(session, hello(Some("worker")));
    assert!(harness.take(session).is_empty());
    assert_eq!(harness.derivations, [key(1)]);

    harness.answer_derivation(key(1));
    let server_message::Body::Welcome(welcome) = harness.only(session) else { panic!() };
    assert_eq!((welcome.hostname.as_deref(), welcome.hostname_taken), (Some("worker"), false));
    let credential = harness.relay.pop().unwrap();
    assert_eq!((credential.session, credential.allocation.0), (welcome.relay_session, welcome.relay_allocation));
    assert_eq!(credential.key.as_slice(), welcome.relay_key);
}

#[test]
fn a_known_key_is_not_derived_again_even_after_a_restart() {
    let mut harness = Harness::new();
    let (session, _) = harness.log_in(key(1), None);
    harness.disconnect(session);
    let mut harness = harness.restart();
    harness.holds_derivations = true;
    harness.log_in(key(1), None);
    assert!(harness.derivations.is_empty());
}

#[test]
fn the_allocation_outlives_a_restart_and_the_secrets_do_not_outlive_a_login() {
    let mut harness = Harness::new();
    let (_, first) = harness.log_in(key(1), None);
    let (_, second) = harness.log_in(key(1), None);
    let (_, other) = harness.log_in(key(2), None);
    let (_, third) = harness.restart().log_in(key(1), None);
    assert_eq!(first.relay_allocation, second.relay_allocation);
    assert_eq!(first.relay_allocation, third.relay_allocation);
    assert_ne!(first.relay_allocation, other.relay_allocation);
    assert_ne!(first.relay_session, second.relay_session);
    assert_ne!(first.relay_key, second.relay_key);
}

#[test]
fn another_secret_makes_other_allocations() {
    let (_, ours) = Harness::new().log_in(key(1), None);
    let other = Settings { secret: Zeroizing::new([9; 32]), ..settings() };
    let (_, theirs) = Harness::with(other, Saved::default(), START).log_in(key(1), None);
    assert_ne!(ours.relay_allocation, theirs.relay_allocation);
}

#[test]
fn a_newer_login_replaces_the_older() {
    let mut harness = Harness::new();
    let (older, _) = harness.log_in(key(1), Some("worker"));
    let (newer, welcome) = harness.log_in(key(1), Some("worker"));
    assert_eq!(harness.refused(older), "replaced");
    assert!(!welcome.hostname_taken);

    let (sender, _) = harness.log_in(key(2), None);
    harness.say(sender, deliver(key(1), b"hi", false));
    assert_eq!(harness.envelopes(newer), [(b"hi".to_vec(), 0)]);
    // The older connection's end says nothing of the newer.
    harness.disconnect(older);
    assert_eq!(harness.directory.counters().sessions, 2);
}

#[test]
fn the_first_key_keeps_an_id() {
    let mut harness = Harness::new();
    let (session, _) = harness.log_in(key(1), None);
    harness.disconnect(session);
    let id = harness.id(key(1));
    harness.ids.insert(key(2), id);
    let late = harness.connect(key(2));
    harness.say(late, hello(None));
    assert_eq!(harness.refused(late), "node_id_taken");
    harness.log_in(key(1), None);
}

#[test]
fn versions_networks_and_orders_that_do_not_fit_are_refused() {
    let hello = |version, network| Hello { version, network, hostname: None }.into();
    let bad_name = Hello { version: 1, network: 0, hostname: Some("No Name".into()) }.into();
    let cases: [(ClientMessage, &str); 6] = [
        (hello(2, 0), "version"),
        (hello(1, 8), "network"),
        (hello(1, 65_536), "network"),
        (bad_name, "malformed"),
        (deliver(key(2), b"x", false), "malformed"),
        (ClientMessage { body: None }, "malformed"),
    ];
    let settings = Settings { network: Some(Network(0)), ..settings() };
    let mut harness = Harness::with(settings, Saved::default(), START);
    for (message, code) in cases {
        let session = harness.connect(key(1));
        harness.say(session, message);
        assert_eq!(harness.refused(session), code);
    }
    let (session, _) = harness.log_in(key(1), None);
    harness.say(session, hello(1, 0));
    assert_eq!(harness.refused(session), "malformed");
}

#[test]
fn who_says_nothing_is_sent_away() {
    let mut harness = Harness::new();
    let (talker, _) = harness.log_in(key(1), None);
    let silent = harness.connect(key(2));
    harness.pass(LOGIN_TIME);
    assert_eq!(harness.refused(silent), "silent");
    assert!(!harness.closed.contains(&talker));
}

#[test]
fn a_session_that_is_over_is_not_heard() {
    let mut harness = Harness::new();
    let (session, _) = harness.log_in(key(1), None);
    let (receiver, _) = harness.log_in(key(2), None);
    harness.disconnect(session);
    harness.say(session, deliver(key(2), b"x", true));
    assert!(harness.take(receiver).is_empty());
}

#[test]
fn the_relay_serves_on_for_a_while_after_the_connection_broke() {
    let mut harness = Harness::new();
    let (session, welcome) = harness.log_in(key(1), None);
    harness.disconnect(session);
    harness.pass(RELAY_LINGER - Duration::from_secs(1));
    assert!(harness.relay_closed.is_empty());
    harness.pass(Duration::from_secs(1));
    assert_eq!(harness.relay_closed, [welcome.relay_session]);
}

#[test]
fn who_leaves_before_the_id_is_known_is_forgotten() {
    let mut harness = Harness::new();
    harness.holds_derivations = true;
    let session = harness.connect(key(1));
    harness.say(session, hello(None));
    harness.disconnect(session);
    harness.answer_derivation(key(1));
    assert_eq!(harness.saved, Saved::default());
    assert_eq!(harness.directory.counters(), Counters::default());
}
