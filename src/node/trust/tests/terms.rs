//! Terms that are said before there is trust: with a request of ours, with an invite.

use super::*;

/// Terms of these many seconds; of none where that is zero.
fn terms(grant: &str, seconds: u64) -> Terms {
    let lifetime = Some(Duration::from_secs(seconds)).filter(|lifetime| !lifetime.is_zero());
    Terms { grant: Some(grant.parse().unwrap()), lifetime }
}

/// What the peer may open, and for how many seconds from now.
fn trusted(book: &TrustBook, seed: u64) -> (String, Option<u64>) {
    let peer = book.peer(&key(seed)).unwrap();
    let seconds = peer.expires_unix_ms.map(|end| (end - now().unix_millis) / 1000);
    (peer.grant.to_string(), seconds)
}

#[test]
fn asking_again_changes_the_terms_that_it_says() {
    let again = Terms { lifetime: Some(Duration::from_secs(60)), ..Terms::default() };
    let cases = [
        (Terms::default(), ("inbox", None)),
        (again, ("inbox", Some(60))),
        (terms("all", 0), ("all", None)),
        (terms("none", 9), ("none", Some(9))),
    ];
    for (said, (grant, seconds)) in cases {
        let mut book = book(Mutual::Name);
        book.request(now(), name("worker"), [1; 16], String::new(), terms("inbox", 0)).unwrap();
        book.request(now(), name("worker"), [2; 16], String::new(), said).unwrap();
        book.answered(now(), key(1), id(1), &answer([1; 16])).unwrap();
        assert_eq!(trusted(&book, 1), (grant.to_owned(), seconds));
    }
}

#[test]
fn the_terms_of_our_request_hold_for_who_had_asked_as_well() {
    for target in [Target::Key(key(1)), Target::Node(id(1)), name("worker")] {
        let mut book = book(Mutual::Name);
        book.request(now(), target, [1; 16], String::new(), terms("udp:53", 60)).unwrap();
        assert_eq!(ask(&mut book, 1, Some("worker")), Ok(Verdict::Approved));
        assert_eq!(trusted(&book, 1), ("udp:53".to_owned(), Some(60)));
    }
}

#[test]
fn of_several_requests_that_mean_one_node_the_last_word_holds() {
    let earlier = Now { unix_millis: now().unix_millis - 1, ..now() };
    let asked = || {
        let mut book = book(Mutual::Name);
        book.request(earlier, Target::Key(key(1)), [2; 16], String::new(), terms("inbox", 60)).unwrap();
        book.request(now(), Target::Node(id(1)), [1; 16], String::new(), terms("events", 0)).unwrap();
        book
    };
    let expected = ("events".to_owned(), Some(60));
    let mut answered = asked();
    answered.answered(now(), key(1), id(1), &answer([2; 16])).unwrap();
    assert_eq!(trusted(&answered, 1), expected);
    let mut mutual = asked();
    ask(&mut mutual, 1, None).unwrap();
    assert_eq!(trusted(&mutual, 1), expected);
}

#[test]
fn a_late_answer_leaves_the_terms_of_who_is_trusted_already() {
    let mut book = book(Mutual::Name);
    book.request(now(), name("worker"), [1; 16], String::new(), terms("inbox", 60)).unwrap();
    book.trust_on(now(), key(1), id(1), None, Via::Key, &terms("events", 0)).unwrap();
    assert_eq!(book.answered(now(), key(1), id(1), &answer([1; 16])), Ok(false));
    assert_eq!(trusted(&book, 1), ("events".to_owned(), None));
}

#[test]
fn the_terms_of_an_invite_hold_from_each_redemption_and_redeeming_again_changes_nothing() {
    let mut book = book(Mutual::Name);
    invite_on(&mut book, 2, terms("inbox", 60));
    let redemption = redemption(1, [5; 16]);
    assert_eq!(book.redeemed(now(), key(1), id(1), &redemption), Ok(true));
    let later = now().after(Duration::from_secs(30));
    assert_eq!(book.redeemed(later, key(1), id(1), &redemption), Ok(false));
    assert_eq!(trusted(&book, 1), ("inbox".to_owned(), Some(60)));
    assert_eq!(book.redeemed(later, key(2), id(2), &self::redemption(2, [5; 16])), Ok(true));
    assert_eq!(trusted(&book, 2), ("inbox".to_owned(), Some(90)));
}
