//! Decisions, one by one.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

mod terms;

use super::*;
use crate::identity::{Identity, TunnelSecret};
use crate::wire::Drop;
use crate::wire::introduction::{Redemption, TrustAnswer, TrustStatement};

fn identity(seed: u64) -> Identity {
    Identity::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

fn key(seed: u64) -> PublicKey {
    identity(seed).public_key()
}

fn id(seed: u64) -> NodeId {
    NodeId::from_bytes([seed as u8; 6])
}

fn now() -> Now {
    Now { monotonic: Instant::now(), unix_millis: 1_000_000_000 }
}

fn book(mutual: Mutual) -> TrustBook {
    TrustBook::new(key(0), id(0), mutual, &Records::default())
}

fn statement(seed: u64, hostname: Option<&str>) -> TrustStatement {
    let hostname = hostname.map(|name| name.parse().unwrap());
    TrustStatement::sign(&identity(seed), [9; 16], Target::Key(key(0)), "please", hostname, 1).unwrap()
}

fn ask(book: &mut TrustBook, seed: u64, known_as: Option<&str>) -> Result<Verdict, Refusal> {
    let known_as: Option<Hostname> = known_as.map(|name| name.parse().unwrap());
    let statement = statement(seed, Some("worker"));
    let asked = Asked { key: key(seed), id: id(seed), known_as: known_as.as_ref(), statement: &statement };
    book.asked(now(), asked)
}

fn answer(nonce: Nonce) -> TrustAnswer {
    TrustAnswer { nonce, approved: true, hostname: None }
}

fn name(text: &str) -> Target {
    Target::Name(text.parse().unwrap())
}

fn changes(book: &mut TrustBook) -> Vec<Change> {
    std::iter::from_fn(|| book.poll_change()).collect()
}

#[test]
fn a_request_out_of_the_blue_waits_for_the_user() {
    let mut book = book(Mutual::Name);
    assert_eq!(ask(&mut book, 1, Some("worker")), Ok(Verdict::Pending));
    assert!(book.peer(&key(1)).is_none());
    let asked = book.approve(now(), &name("worker"), &Terms::default()).unwrap();
    assert_eq!(asked.nonce, [9; 16]);
    assert!(book.peer(&key(1)).is_some() && book.pending().next().is_none());
    let saved = changes(&mut book);
    assert!(matches!(saved[..], [Change::PutPending(_), Change::RemovePending(_), Change::PutPeer(_)]));
}

#[test]
fn our_request_for_the_same_node_is_consent() {
    for target in [Target::Key(key(1)), Target::Node(id(1)), name("worker")] {
        let mut book = book(Mutual::Name);
        book.request(now(), target, [1; 16], String::new(), Terms::default()).unwrap();
        assert_eq!(ask(&mut book, 1, Some("worker")), Ok(Verdict::Approved));
        assert_eq!(ask(&mut book, 1, Some("worker")), Ok(Verdict::Known));
    }
}

#[test]
fn a_name_is_consent_only_if_the_rendezvous_says_it_and_the_policy_allows_it() {
    let cases = [
        (Mutual::Name, None, Verdict::Pending),
        (Mutual::Name, Some("other"), Verdict::Pending),
        (Mutual::Id, Some("worker"), Verdict::Pending),
    ];
    for (mutual, known_as, verdict) in cases {
        let mut book = book(mutual);
        book.request(now(), name("worker"), [1; 16], String::new(), Terms::default()).unwrap();
        assert_eq!(ask(&mut book, 1, known_as), Ok(verdict), "{known_as:?}");
    }
}

#[test]
fn an_answer_counts_once_and_from_whom_we_asked() {
    let mut book = book(Mutual::Name);
    book.request(now(), Target::Node(id(1)), [1; 16], String::new(), Terms::default()).unwrap();
    book.request(now(), Target::Key(key(2)), [2; 16], String::new(), Terms::default()).unwrap();
    let wrong = book.answered(now(), key(3), id(3), &answer([1; 16]));
    assert_eq!(wrong, Err(Drop::Untrusted));
    let wrong = book.answered(now(), key(3), id(2), &answer([2; 16]));
    assert_eq!(wrong, Err(Drop::Untrusted));
    assert_eq!(book.answered(now(), key(1), id(1), &answer([1; 16])), Ok(true));
    assert_eq!(book.answered(now(), key(2), id(2), &answer([2; 16])), Ok(true));
    book.untrust(&Target::Key(key(1))).unwrap();
    let replayed = book.answered(now(), key(1), id(1), &answer([1; 16]));
    assert_eq!(replayed, Err(Drop::Unexpected));
    assert!(book.peer(&key(1)).is_none());
}

#[test]
fn a_refusal_ends_the_request_without_trust() {
    let mut book = book(Mutual::Name);
    book.request(now(), name("worker"), [1; 16], String::new(), Terms::default()).unwrap();
    let refused = TrustAnswer { approved: false, ..answer([1; 16]) };
    assert_eq!(book.answered(now(), key(1), id(1), &refused), Ok(false));
    assert_eq!(book.requests().count(), 0);
}

#[test]
fn asking_again_keeps_the_nonce() {
    let mut book = book(Mutual::Name);
    let first = book.request(now(), name("worker"), [1; 16], "a".into(), Terms::default()).unwrap();
    let second = book.request(now(), name("worker"), [2; 16], "b".into(), Terms::default()).unwrap();
    assert_eq!((first.nonce, second.nonce), ([1; 16], [1; 16]));
    assert_eq!(book.requests().count(), 1);
}

#[test]
fn consent_by_name_is_given_once() {
    let mut book = book(Mutual::Name);
    book.request(now(), name("worker"), [1; 16], String::new(), Terms::default()).unwrap();
    assert_eq!(ask(&mut book, 1, Some("worker")), Ok(Verdict::Approved));
    book.untrust(&Target::Key(key(1))).unwrap();
    assert_eq!(ask(&mut book, 1, Some("worker")), Ok(Verdict::Pending));
    let late = book.answered(now(), key(1), id(1), &answer([1; 16]));
    assert_eq!(late, Err(Drop::Unexpected));
}

#[test]
fn a_full_book_refuses_the_newest() {
    let mut book = book(Mutual::Name);
    for seed in 1..=MAX_PENDING as u64 {
        assert_eq!(ask(&mut book, seed, None), Ok(Verdict::Pending));
    }
    assert_eq!(ask(&mut book, 5000, None), Err(Refusal::Full));
    assert_eq!(ask(&mut book, 1, None), Ok(Verdict::Pending));
}

#[test]
fn two_keys_with_one_id_are_never_both_trusted() {
    let mut book = book(Mutual::Name);
    assert_eq!(book.trust(now(), key(1), id(1), None, Via::Key), Ok(true));
    assert_eq!(book.trust(now(), key(1), id(1), None, Via::Key), Ok(false));
    let second = book.trust(now(), key(2), id(1), None, Via::Key);
    assert_eq!(second, Err(Refusal::IdTaken));
    let ours = book.trust(now(), key(2), id(0), None, Via::Key);
    assert_eq!(ours, Err(Refusal::IdTaken));
}

#[test]
fn a_name_that_two_peers_claim_is_ambiguous() {
    let mut book = book(Mutual::Name);
    for seed in [1, 2] {
        let hostname = "worker".parse().ok();
        book.trust(now(), key(seed), id(seed), hostname, Via::Key).unwrap();
    }
    assert_eq!(book.find(&name("worker")).err(), Some(Refusal::Ambiguous));
    assert!(book.untrust(&name("worker")).is_err());
    book.untrust(&Target::Node(id(1))).unwrap();
    assert_eq!(book.find(&name("worker")).unwrap().key, key(2));
}

fn invite(book: &mut TrustBook, uses_left: u32) {
    invite_on(book, uses_left, Terms::default());
}

fn invite_on(book: &mut TrustBook, uses_left: u32, terms: Terms) {
    let (secret, expires) = (Zeroizing::new([5; 16]), now().unix_seconds() + 60);
    let record = InviteRecord { secret, expires, uses_left, admitted: Vec::new(), terms };
    book.invite(now(), record).unwrap();
}

fn redemption(seed: u64, secret: [u8; 16]) -> Redemption {
    Redemption::new(&secret, &key(0), &key(seed), [3; 16], None)
}

#[test]
fn an_invite_admits_as_many_as_it_has_uses() {
    let mut book = book(Mutual::Name);
    invite(&mut book, 2);
    for seed in [1, 2] {
        let redemption = redemption(seed, [5; 16]);
        assert_eq!(book.redeemed(now(), key(seed), id(seed), &redemption), Ok(true));
        assert_eq!(book.redeemed(now(), key(seed), id(seed), &redemption), Ok(false));
    }
    let third = book.redeemed(now(), key(3), id(3), &redemption(3, [5; 16]));
    assert_eq!(third, Err(Drop::Untrusted));
    let last = changes(&mut book).pop();
    assert!(matches!(last, Some(Change::RemoveInvite(_))));
}

#[test]
fn a_proof_is_for_one_secret_one_joiner_and_a_time() {
    let mut book = book(Mutual::Name);
    invite(&mut book, 2);
    assert!(!book.admits(now(), &key(1), &redemption(1, [6; 16])));
    assert!(!book.admits(now(), &key(1), &redemption(2, [5; 16])));
    assert!(book.admits(now(), &key(1), &redemption(1, [5; 16])));
    let later = now().after(Duration::from_secs(60));
    assert!(!book.admits(later, &key(1), &redemption(1, [5; 16])));
    book.expire(later);
    assert_eq!(book.invited(), 0);
}

#[test]
fn who_is_untrusted_cannot_come_back_by_the_same_token() {
    let mut book = book(Mutual::Name);
    invite(&mut book, 2);
    let redemption = redemption(1, [5; 16]);
    book.redeemed(now(), key(1), id(1), &redemption).unwrap();
    book.untrust(&Target::Key(key(1))).unwrap();
    let again = book.redeemed(now(), key(1), id(1), &redemption);
    assert_eq!(again, Err(Drop::Untrusted));
}

#[test]
fn who_is_untrusted_cannot_come_back_by_what_was_asked_by_name() {
    let mut book = book(Mutual::Name);
    book.request(now(), name("worker"), [1; 16], String::new(), Terms::default()).unwrap();
    ask(&mut book, 1, None).unwrap();
    book.approve(now(), &Target::Key(key(1)), &Terms::default()).unwrap();
    book.untrust(&Target::Key(key(1))).unwrap();
    assert!(!book.is_awaited(&answer([1; 16])));
    assert_eq!(book.answered(now(), key(1), id(1), &answer([1; 16])), Err(Drop::Unexpected));
    assert_eq!(ask(&mut book, 1, Some("worker")), Ok(Verdict::Pending), "nor by asking under that name");
    assert!(changes(&mut book).contains(&Change::RemoveRequest([1; 16])));
}

#[test]
fn certificates_and_floors_only_go_up() {
    let mut book = book(Mutual::Name);
    book.trust(now(), key(1), id(1), None, Via::Key).unwrap();
    let certificate = |secret, serial| {
        let secret = TunnelSecret::from_bytes([secret; 32]);
        TunnelCertificate::issue(&identity(1), &secret, serial)
    };
    assert!(book.set_certificate(&key(1), certificate(1, 5)));
    assert!(book.set_certificate(&key(1), certificate(1, 5)));
    assert!(!book.set_certificate(&key(1), certificate(2, 5)));
    assert!(!book.set_certificate(&key(1), certificate(2, 4)));
    assert!(book.set_certificate(&key(1), certificate(2, 6)));
    assert!(!book.set_certificate(&key(2), certificate(2, 7)));
    assert!(book.raise_floor(&key(1), [2; 12]));
    assert!(!book.raise_floor(&key(1), [2; 12]) && !book.raise_floor(&key(1), [1; 12]));
    assert!(!book.raise_floor(&key(2), [3; 12]));
}

#[test]
fn a_wall_clock_that_jumps_back_ends_nothing() {
    let mut book = book(Mutual::Name);
    book.request(now(), name("worker"), [1; 16], String::new(), Terms::default()).unwrap();
    invite(&mut book, 1);
    let earlier = Now { unix_millis: 5, ..now() };
    book.expire(earlier);
    assert_eq!((book.requests().count(), book.invited()), (1, 1));
    let later = Now { unix_millis: now().unix_millis + REQUEST_LIFETIME_MS + 1, ..now() };
    book.expire(later);
    assert_eq!((book.requests().count(), book.invited()), (0, 0));
}

#[test]
fn what_was_saved_is_what_is_found_again() {
    let mut first = book(Mutual::Name);
    first.trust(now(), key(1), id(1), "one".parse().ok(), Via::Key).unwrap();
    ask(&mut first, 2, None).unwrap();
    first.request(now(), name("three"), [3; 16], String::new(), Terms::default()).unwrap();
    invite(&mut first, 4);
    let records = Records {
        peers: first.peers().cloned().collect(),
        pending: first.pending().cloned().collect(),
        requests: first.requests().cloned().collect(),
        invites: first.invites.clone(),
        ..Records::default()
    };
    let second = TrustBook::new(key(0), id(0), Mutual::Name, &records);
    assert_eq!(second.find(&name("one")).unwrap().key, key(1));
    assert_eq!(second.pending().count(), 1);
    assert_eq!((second.requests().count(), second.invited()), (1, 4));
}
