//! The client against a server played by the test.

mod check;
mod stream;

use std::time::{Duration, Instant};

use super::kept::LOSS_WINDOW;
use super::*;
use crate::wire::path::MAIN;
use crate::wire::relay;
use crate::wire::rendezvous::{Delivered, HostnameSet, ServerMessage, Welcome, client_message};
use crate::wire::stun;

const KEY: [u8; 32] = [7; 32];

fn endpoint(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn start() -> Now {
    Now { monotonic: Instant::now(), unix_millis: 1_000 }
}

fn relay_id() -> RelayId {
    let mut rng = ChaCha20Rng::from_seed([2; 32]);
    RelayId::of(&crate::identity::Identity::generate(&mut rng).public_key())
}

fn client(now: Now) -> Client {
    Client::new(Network(3), "worker".parse().ok(), relay_id(), [1; 32], now)
}

fn up() -> LinkEvent {
    let [first, second] = ["192.0.2.1:9001", "192.0.2.1:9002"].map(endpoint);
    LinkEvent::Up { stun: vec![first, second], relay: vec![first, endpoint("[2001:db8::1]:9001")] }
}

fn welcome(session: u64) -> LinkEvent {
    let message: ServerMessage = Welcome {
        relay_session: session,
        relay_key: KEY.to_vec(),
        relay_allocation: 77,
        hostname: Some("worker".into()),
        hostname_taken: false,
    }
    .into();
    LinkEvent::Message(message)
}

#[derive(Default)]
struct Out {
    sent: Vec<client_message::Body>,
    transmitted: Vec<(SocketAddr, Vec<u8>)>,
    notices: Vec<Notice>,
    frames: Vec<Vec<u8>>,
    wish: Option<Wish>,
}

fn drain(client: &mut Client) -> Out {
    let mut out = Out::default();
    while let Some(output) = client.poll_output() {
        match output {
            Output::Send(message) => out.sent.extend(message.body),
            Output::OpenSpares(_) | Output::CloseSpares => {}
            Output::Transmit { to, payload, .. } => out.transmitted.push((to, payload)),
            Output::Frame(frame) => out.frames.push(frame),
            Output::Stream(wish) => out.wish = Some(wish),
            Output::Notice(notice) => out.notices.push(notice),
        }
    }
    out
}

/// Answers what was sent: STUN with this endpoint for each port, Binds at `relay`.
fn answer(client: &mut Client, now: Now, out: &Out, outside: [&str; 2], relay: SocketAddr) {
    for (to, payload) in &out.transmitted {
        let mut answer = [0; 100];
        let seen = endpoint(outside[usize::from(to.port() != 9001)]);
        if let Ok(stun::Reflection { len, .. }) = stun::respond(payload, seen, None, &mut answer) {
            client.handle_stun(now, MAIN, *to, &answer[..len]).unwrap();
        } else if let Ok(Frame::Bind(bind)) = Frame::parse(payload)
            && *to == relay
        {
            let bound = relay::bound(bind.session, &KEY, bind.nonce);
            client.handle_relay(now, *to, &bound).unwrap();
        }
    }
}

const SAME: [&str; 2] = ["198.51.100.1:40000"; 2];
const OTHER: [&str; 2] = ["198.51.100.1:40000", "198.51.100.1:40001"];

fn logged_in(now: Now, outside: [&str; 2]) -> Client {
    let mut client = client(now);
    let relay = endpoint("192.0.2.1:9001");
    client.handle_link(now, up()).unwrap();
    let out = drain(&mut client);
    answer(&mut client, now, &out, outside, relay);
    client.handle_link(now, welcome(1)).unwrap();
    let out = drain(&mut client);
    answer(&mut client, now, &out, outside, relay);
    client
}

#[test]
fn hello_first_then_gathering_then_one_word_that_it_is_done() {
    let now = start();
    let mut client = client(now);
    client.handle_link(now, up()).unwrap();
    let out = drain(&mut client);
    let [client_message::Body::Hello(hello)] = &out.sent[..] else {
        panic!("{:?}", out.sent);
    };
    assert_eq!((hello.network, hello.hostname.as_deref()), (3, Some("worker")));
    assert_eq!(client.state(), &State::LoggingIn);

    let mut client = logged_in(now, SAME);
    let out = drain(&mut client);
    assert_eq!(out.notices, [Notice::Gathered]);
    assert_eq!(client.reflexive(), [endpoint(SAME[0])]);
    assert_eq!(client.relay_address().unwrap().allocation.0, 77);
    assert_eq!(client.nat().mapping, Mapping::EndpointIndependent);
}

#[test]
fn two_ports_that_see_different_endpoints_show_a_mapping_per_destination() {
    let client = logged_in(start(), OTHER);
    assert_eq!(client.nat().mapping, Mapping::AddressAndPortDependent);
    assert_eq!(client.reflexive().len(), 2);
}

#[test]
fn a_silent_server_is_not_waited_for() {
    let now = start();
    let mut client = client(now);
    client.handle_link(now, up()).unwrap();
    client.handle_link(now, welcome(1)).unwrap();
    drain(&mut client);
    let later = now.after(Duration::from_millis(500));
    client.handle_timeout(later);
    assert_eq!(drain(&mut client).notices, [Notice::Gathered]);
    assert_eq!(client.relay_address(), None);
    assert_eq!(client.nat().mapping, Mapping::Unknown);
}

#[test]
fn an_address_of_the_relay_that_does_not_answer_gives_way_to_the_next() {
    let now = start();
    let mut client = client(now);
    client.handle_link(now, up()).unwrap();
    client.handle_link(now, welcome(1)).unwrap();
    let second = endpoint("[2001:db8::1]:9001");
    for tenth in 0..50 {
        let now = now.after(Duration::from_millis(100) * tenth);
        client.handle_timeout(now);
        let out = drain(&mut client);
        answer(&mut client, now, &out, SAME, second);
    }
    assert_eq!(client.relay_address().unwrap().server, second);
}

#[test]
fn answers_that_were_not_asked_for_count_for_nothing() {
    let now = start();
    let mut client = logged_in(now, SAME);
    drain(&mut client);
    let (right, wrong) = (endpoint("192.0.2.1:9001"), endpoint("192.0.2.66:9001"));
    let later = now.after(Duration::from_secs(15));
    client.handle_timeout(later);
    let out = drain(&mut client);
    let (_, bind) = out.transmitted.iter().find(|(_, p)| p[0] == 0x10).unwrap();
    let Ok(Frame::Bind(bind)) = Frame::parse(bind) else {
        panic!("no Bind");
    };
    let bound = relay::bound(bind.session, &KEY, bind.nonce);
    let forged = relay::bound(bind.session, &[8; 32], bind.nonce);
    let older = relay::bound(bind.session, &KEY, bind.nonce - 1);
    assert_eq!(client.handle_relay(later, wrong, &bound), Err(Drop::Unexpected));
    assert_eq!(client.handle_relay(later, right, &older), Err(Drop::Unexpected));
    assert_eq!(client.handle_relay(later, right, &forged), Err(Drop::RelayBadMac));
    assert_eq!(client.handle_relay(later, right, &bound), Ok(()));
    assert_eq!(client.handle_relay(later, right, &bound), Err(Drop::Unexpected));
    let mut answer = [0; 100];
    let len = stun::respond(&stun::request([9; 12]), wrong, None, &mut answer).unwrap().len;
    assert_eq!(client.handle_stun(later, MAIN, right, &answer[..len]), Err(Drop::Unexpected));
    assert_eq!(client.reflexive(), [endpoint(SAME[0])]);
}

#[test]
fn a_new_login_keeps_the_former_relay_session_until_it_is_bound() {
    let now = start();
    let mut client = logged_in(now, SAME);
    drain(&mut client);
    let reason = "gone".to_owned();
    client.handle_link(now, LinkEvent::Down { reason }).unwrap();
    assert_eq!(client.relay_credential().unwrap().session, 1);
    client.handle_link(now, up()).unwrap();
    client.handle_link(now, welcome(2)).unwrap();
    assert_eq!(client.relay_credential().unwrap().session, 1);
    let out = drain(&mut client);
    answer(&mut client, now, &out, SAME, endpoint("192.0.2.1:9001"));
    assert_eq!(client.relay_credential().unwrap().session, 2);
}

#[test]
fn a_relay_that_falls_silent_is_given_up_and_found_again() {
    let now = start();
    let mut client = logged_in(now, SAME);
    drain(&mut client);
    let mut lost_at = None;
    for second in 0..40 {
        let now = now.after(Duration::from_secs(1) * second);
        client.handle_timeout(now);
        drain(&mut client);
        if client.relay_address().is_none() {
            lost_at.get_or_insert(second);
        }
    }
    assert!(lost_at.is_some_and(|second| (15..25).contains(&second)), "{lost_at:?}");
    let later = now.after(Duration::from_secs(41));
    for second in 0..30 {
        let later = later.after(Duration::from_secs(1) * second);
        client.handle_timeout(later);
        // What answers lead to is answered, too.
        for _ in 0..2 {
            let out = drain(&mut client);
            answer(&mut client, later, &out, SAME, endpoint("192.0.2.1:9001"));
        }
    }
    assert!(client.relay_address().is_some());
}

#[test]
fn a_network_change_forgets_what_was_seen_and_gathers_anew() {
    let now = start();
    let mut client = logged_in(now, SAME);
    drain(&mut client);
    client.network_changed(now);
    assert!(client.reflexive().is_empty());
    let out = drain(&mut client);
    let moved = ["198.51.100.9:5000"; 2];
    answer(&mut client, now, &out, moved, endpoint("192.0.2.1:9001"));
    assert_eq!(client.reflexive(), [endpoint(moved[0])]);
    assert!(drain(&mut client).notices.contains(&Notice::Gathered));
}

#[test]
fn what_cannot_be_sent_waits_and_what_a_break_may_have_lost_is_sent_again() {
    let now = start();
    let mut client = client(now);
    let message = |delivery| crate::wire::rendezvous::Acknowledge { delivery };
    client.send_now(message(1).into());
    assert!(client.send(now, message(2).into()));
    let sent = |client: &mut Client| {
        let sent = drain(client).sent.into_iter();
        let number = |body| match body {
            client_message::Body::Acknowledge(message) => Some(message.delivery),
            _ => None,
        };
        sent.filter_map(number).collect::<Vec<_>>()
    };
    client.handle_link(now, up()).unwrap();
    assert_eq!(sent(&mut client), [0; 0]);
    client.handle_link(now, welcome(1)).unwrap();
    assert_eq!(sent(&mut client), [2]);
    let later = now.after(LOSS_WINDOW);
    client.send(later, message(3).into());
    assert_eq!(sent(&mut client), [3]);
    let reason = "gone".to_owned();
    client.handle_link(later, LinkEvent::Down { reason }).unwrap();
    client.handle_link(later, up()).unwrap();
    client.handle_link(later, welcome(2)).unwrap();
    assert_eq!(sent(&mut client), [3]);
}

#[test]
fn a_full_queue_refuses_the_newest() {
    let now = start();
    let mut client = client(now);
    let message = || crate::wire::rendezvous::Acknowledge { delivery: 1 };
    let taken = (0..MAX_UNSENT + 5).filter(|_| client.send(now, message().into()));
    assert_eq!(taken.count(), MAX_UNSENT);
}

#[test]
fn the_servers_word_is_checked() {
    let now = start();
    let mut client = logged_in(now, SAME);
    drain(&mut client);
    let refuse =
        |client: &mut Client, message: ServerMessage| client.handle_link(now, LinkEvent::Message(message)).err();
    assert_eq!(refuse(&mut client, ServerMessage { body: None }), Some(Drop::MalformedRendezvous));
    let LinkEvent::Message(again) = welcome(5) else {
        return;
    };
    assert_eq!(refuse(&mut client, again), Some(Drop::Unexpected));
    let requested = crate::wire::rendezvous::TrustRequested {
        delivery: 1,
        sender_key: vec![0; 31],
        sender_hostname: String::new(),
        statement: Vec::new(),
    };
    assert_eq!(refuse(&mut client, requested.into()), Some(Drop::MalformedRendezvous));
    let sealed = vec![1, 2, 3];
    assert_eq!(refuse(&mut client, Delivered { sealed, delivery: 4 }.into()), None);
    assert_eq!(refuse(&mut client, HostnameSet { request: 1, taken: true }.into()), None);
    let refused = crate::wire::rendezvous::Refused { code: "full".into(), message: "come\u{1b}[2J back".into() };
    assert_eq!(refuse(&mut client, refused.into()), None);
    let notices = drain(&mut client).notices;
    let reason = "refused (full): come[2J back".to_owned();
    assert_eq!(notices.last(), Some(&Notice::Down { reason }));
}

#[test]
fn deadlines_always_lie_ahead() {
    let mut now = start();
    let mut client = logged_in(now, SAME);
    for _ in 0..500 {
        let (due, why) = client.poll_timeout().unwrap();
        assert!(due > now.monotonic, "{why}");
        now = now.after(due - now.monotonic);
        client.handle_timeout(now);
        drain(&mut client);
    }
}
