//! The bus, as publishers and subscribers see it.

mod outlet;
mod stories;
mod world;

use std::sync::Arc;

use bytes::BytesMut;

use super::batch::{Item, elements, items};
use super::bus::{Bus, Mark};
use super::event::{EventView, NewEvent};
use super::queue::Segment;
use super::run::Turn;
use super::sequence::Volatile;
use super::subscriber::{Origin, Scope};
use super::subscription::{Since, Subscription, Wish};
use super::topic::Pattern;
use super::wishes::Wanted;
use super::{Settings, topic};
use crate::identity::NodeId;

fn me() -> NodeId {
    "0000.0000.0001".parse().unwrap()
}

fn peer() -> NodeId {
    "0000.0000.0002".parse().unwrap()
}

fn bus() -> Arc<Bus> {
    Bus::new(Settings::default(), me(), 1, Arc::new(Volatile))
}

fn wanted(pattern: &str, group: Option<&str>) -> Wanted {
    Wanted { pattern: Pattern::parse(pattern).unwrap(), group: group.map(Into::into) }
}

fn wish(pattern: &str) -> Wish {
    Wish::new(vec![wanted(pattern, None)], Scope::All)
}

fn member(bus: &Arc<Bus>, group: &str) -> Subscription {
    bus.subscribe(Wish::new(vec![wanted("*", Some(group))], Scope::All)).unwrap()
}

fn publish(bus: &Arc<Bus>, origin: Origin, events: &[(&str, &str)]) -> u64 {
    publish_at(bus, origin, events, 1)
}

fn publish_at(bus: &Arc<Bus>, origin: Origin, events: &[(&str, &str)], now: u64) -> u64 {
    let mut sent = BytesMut::new();
    for (topic, data) in events {
        NewEvent { topic, data: data.as_bytes(), ..NewEvent::default() }.put(&mut sent);
    }
    let views: Vec<_> = elements(&sent).map(|(_, body)| EventView::parse(body).unwrap().offer()).collect();
    bus.publish(origin, &views, now).unwrap().seq
}

fn data(segments: &[Segment]) -> Vec<String> {
    let bodies = segments.iter().flat_map(|segment| elements(&segment.bytes).map(|(_, body)| body));
    bodies.map(|body| String::from_utf8_lossy(EventView::parse(body).unwrap().data).into_owned()).collect()
}

fn taken(subscription: &Subscription) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let segments = subscription.try_take(usize::MAX).unwrap();
        if segments.is_empty() {
            return data(&all);
        }
        all.extend(segments);
    }
}

#[test]
fn each_subscriber_gets_what_matches_in_order_and_once() {
    let bus = bus();
    let all = bus.subscribe(wish("*")).unwrap();
    let metrics = bus.subscribe(wish("metrics.*")).unwrap();
    let twice = Wish::new(vec![wanted("metrics.*", None), wanted("*.cpu", None)], Scope::All);
    let twice = bus.subscribe(twice).unwrap();
    publish(&bus, Origin::Local, &[("metrics.cpu", "1"), ("alerts", "2"), ("metrics.cpu", "3"), ("a.cpu", "4")]);
    publish(&bus, Origin::Local, &[("metrics.mem", "5")]);
    assert_eq!(taken(&all), ["1", "2", "3", "4", "5"]);
    assert_eq!(taken(&metrics), ["1", "3", "5"]);
    assert_eq!(taken(&twice), ["1", "3", "4", "5"]);
}

#[test]
fn numbers_have_no_gaps_and_the_source_is_the_node() {
    let bus = bus();
    let all = bus.subscribe(wish("*")).unwrap();
    assert_eq!(publish(&bus, Origin::Local, &[("a", ""), ("b", "")]), 2);
    assert_eq!(publish(&bus, Origin::Local, &[("a", "")]), 3);
    assert_eq!(publish(&bus, Origin::Peer(peer()), &[("a", "")]), 0);
    let segments = all.try_take(usize::MAX).unwrap();
    let bodies = segments.iter().flat_map(|segment| elements(&segment.bytes).map(|(_, body)| body));
    let seen: Vec<_> = bodies.map(|body| EventView::parse(body).unwrap()).map(|e| (e.seq, e.source)).collect();
    assert_eq!(seen[..3], [(1, "0000.0000.0001"), (2, "0000.0000.0001"), (3, "0000.0000.0001")]);
    assert_eq!(seen[3], (0, "0000.0000.0002"));
}

#[test]
fn what_a_peer_says_goes_to_this_node_alone() {
    let bus = bus();
    let local = bus.subscribe(wish("*")).unwrap();
    let remote = bus.subscribe(Wish { scope: Scope::Own, ..wish("*") }).unwrap();
    let of_peer = bus.subscribe(Wish { scope: Scope::From(peer()), ..wish("*") }).unwrap();
    publish(&bus, Origin::Peer(peer()), &[("a", "theirs")]);
    publish(&bus, Origin::Local, &[("a", "ours")]);
    assert_eq!(taken(&local), ["theirs", "ours"]);
    assert_eq!(taken(&remote), ["ours"]);
    assert_eq!(taken(&of_peer), ["theirs"]);
}

#[test]
fn a_subscriber_that_is_gone_gets_nothing_and_holds_nothing() {
    let bus = bus();
    let gone = bus.subscribe(wish("*")).unwrap();
    publish(&bus, Origin::Local, &[("a", "1")]);
    let delivered = bus.budget.delivered.load(std::sync::atomic::Ordering::Relaxed);
    drop(gone);
    publish(&bus, Origin::Local, &[("a", "2")]);
    assert_eq!(bus.budget.delivered.load(std::sync::atomic::Ordering::Relaxed), delivered);
    assert_eq!(bus.state.lock().wishes.subscribers(), 0);
}

#[test]
fn one_of_a_group_gets_each_event_and_all_get_their_share() {
    let bus = bus();
    let (one, two, other) = (member(&bus, "g"), member(&bus, "g"), member(&bus, "h"));
    let events: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    let events: Vec<_> = events.iter().map(|number| ("a", number.as_str())).collect();
    publish(&bus, Origin::Local, &events);
    assert_eq!(taken(&one), ["0", "2", "4", "6", "8"]);
    assert_eq!(taken(&two), ["1", "3", "5", "7", "9"]);
    assert_eq!(taken(&other).len(), 10);
    drop(one);
    publish(&bus, Origin::Local, &events);
    assert_eq!(taken(&two).len(), 10);
}

#[test]
fn a_group_on_another_node_has_its_turn_as_one_member() {
    let bus = bus();
    let here = member(&bus, "g");
    let there = Wish { is_link: true, ..Wish::new(vec![wanted("*", Some("g"))], Scope::Own) };
    let there = bus.subscribe(there).unwrap();
    publish(&bus, Origin::Local, &[("a", "1"), ("a", "2")]);
    assert_eq!(taken(&here), ["1"]);
    let segments = there.try_take(usize::MAX).unwrap();
    let batch = segments[0].clone().into_batch();
    let said: Vec<_> = items(&batch).map(Result::unwrap).take(2).collect();
    assert_eq!(said, [Item::Group("g"), Item::GroupsOnly]);
    there.replace(vec![wanted("*", Some("g")), wanted("a", None)]).unwrap();
    publish(&bus, Origin::Local, &[("a", "3"), ("a", "4")]);
    assert_eq!(taken(&here), ["3"]);
    let segments = there.try_take(usize::MAX).unwrap();
    assert_eq!(data(&segments), ["3", "4"]);
    assert_eq!(segments[0].turn, None);
    assert_eq!(segments[1].turn.as_deref(), Some(&Turn { groups: vec!["g".into()], is_exclusive: false }));
}

#[test]
fn events_of_a_peer_reach_the_groups_whose_turn_it_is() {
    let bus = bus();
    let (plain, grouped, other) = (bus.subscribe(wish("*")).unwrap(), member(&bus, "g"), member(&bus, "h"));
    let pass = |turn: Option<Turn>| {
        let mut sent = BytesMut::new();
        NewEvent { topic: "a", data: b"x", ..NewEvent::default() }.put(&mut sent);
        let marks = [Mark { topic: "a", start: 0, end: sent.len() }];
        bus.pass(Origin::Link(peer(), turn.map(Arc::new)), sent.freeze(), &marks);
        [taken(&plain).len(), taken(&grouped).len(), taken(&other).len()]
    };
    assert_eq!(pass(None), [1, 0, 0]);
    assert_eq!(pass(Some(Turn { groups: vec!["g".into()], is_exclusive: false })), [1, 1, 0]);
    assert_eq!(pass(Some(Turn { groups: vec!["h".into()], is_exclusive: true })), [0, 0, 1]);
}

#[test]
fn the_past_joins_the_present_without_a_gap_and_nothing_twice() {
    let bus = bus();
    let big = "x".repeat(10_000);
    let numbered: Vec<_> = (1..=200).map(|number| format!("{number} {big}")).collect();
    numbered[..100].iter().for_each(|text| {
        publish(&bus, Origin::Local, &[("a", text), ("b", "no")]);
    });
    let late = bus.subscribe(Wish { since: Some(Since::Seq(20)), ..wish("a") }).unwrap();
    let mut seen = data(&late.try_take(1).unwrap());
    numbered[100..].iter().for_each(|text| {
        publish(&bus, Origin::Local, &[("a", text)]);
    });
    publish(&bus, Origin::Peer(peer()), &[("a", "handed in")]);
    seen.extend(taken(&late));
    let (handed_in, ours): (Vec<_>, Vec<_>) = seen.into_iter().partition(|text| text == "handed in");
    assert_eq!(handed_in.len(), 1);
    assert!(ours == numbered[10..]);
}

#[test]
fn the_past_can_begin_at_a_time() {
    let bus = bus();
    publish_at(&bus, Origin::Local, &[("a", "old")], 1_000);
    publish_at(&bus, Origin::Local, &[("a", "new")], 2_000);
    let since = |time| bus.subscribe(Wish { since: Some(Since::Time(time)), ..wish("a") }).unwrap();
    assert_eq!(taken(&since(1_500)), ["new"]);
    assert_eq!(taken(&since(0)), ["old", "new"]);
    assert!(taken(&since(3_000)).is_empty());
}

#[test]
fn what_is_not_remembered_any_more_is_counted() {
    let settings = Settings { retention_bytes: 1_000, ..Settings::default() };
    let bus = Bus::new(settings, me(), 1, Arc::new(Volatile));
    (0..100).for_each(|_| {
        publish(&bus, Origin::Local, &[("a", "some data")]);
    });
    let late = bus.subscribe(Wish { since: Some(Since::Seq(10)), ..wish("a") }).unwrap();
    let segments = late.try_take(usize::MAX).unwrap();
    let (missed, count): (u64, usize) = segments.iter().fold((0, 0), |(m, c), s| (m + s.missed, c + s.count));
    assert!(count > 0 && missed as usize + count == 90, "{missed} {count}");
}

#[test]
fn the_last_event_of_each_topic_comes_first() {
    let bus = bus();
    publish(&bus, Origin::Local, &[("a.x", "1"), ("a.y", "2"), ("a.x", "3"), ("b", "4"), ("_reply.a", "5")]);
    let late = bus.subscribe(Wish { last: true, ..wish("a.*") }).unwrap();
    publish(&bus, Origin::Local, &[("a.x", "6")]);
    assert_eq!(taken(&late), ["2", "3", "6"]);
    assert_eq!(bus.last(|_| true).len(), 3);
}

#[test]
fn a_peer_is_asked_for_as_little_as_covers_everything() {
    let bus = bus();
    let other: NodeId = "0000.0000.0003".parse().unwrap();
    let _held = [
        bus.subscribe(wish("metrics.*")).unwrap(),
        bus.subscribe(wish("metrics.cpu")).unwrap(),
        bus.subscribe(wish("metrics.*")).unwrap(),
        bus.subscribe(wish("_reply.x")).unwrap(),
        bus.subscribe(Wish { scope: Scope::From(peer()), ..wish("alerts") }).unwrap(),
        bus.subscribe(Wish { scope: Scope::Own, ..wish("own") }).unwrap(),
        member(&bus, "g"),
    ];
    let of = |node| bus.state.lock().wishes.of_peer(node);
    let plain = |text| wanted(text, None);
    assert_eq!(of(peer()), [plain("alerts"), plain("metrics.*"), wanted("*", Some("g"))]);
    assert_eq!(of(other), [plain("metrics.*"), wanted("*", Some("g"))]);
    drop(_held);
    assert!(of(peer()).is_empty());
}

#[test]
fn limits_are_named() {
    let bus = Bus::new(Settings { subscriptions: 1, ..Settings::default() }, me(), 1, Arc::new(Volatile));
    let code = |wish: Wish| bus.subscribe(wish).map(drop).unwrap_err().code;
    assert_eq!(code(Wish { queue: u32::MAX, ..wish("*") }), "bad_argument");
    assert_eq!(code(Wish { wanted: Vec::new(), ..wish("*") }), "bad_argument");
    assert_eq!(code(Wish { wanted: vec![wanted("*", None); 1_025], ..wish("*") }), "too_many");
    let _one = bus.subscribe(wish("*")).unwrap();
    assert_eq!(code(wish("*")), "too_many");
}

#[test]
fn concurrent_publishers_and_subscribers_lose_nothing() {
    let bus = bus();
    let subscriptions: Vec<_> = (0..4).map(|_| bus.subscribe(wish("t.*")).unwrap()).collect();
    std::thread::scope(|scope| {
        for publisher in 0..4 {
            let bus = &bus;
            scope.spawn(move || {
                for number in 0..500 {
                    let (topic, text) = (format!("t.{publisher}"), number.to_string());
                    publish(bus, Origin::Local, &[(&topic, &text), (&topic, "x")]);
                    assert!(topic::topic(topic.as_bytes()).is_ok());
                }
            });
        }
    });
    for subscription in subscriptions {
        let all = subscription.try_take(usize::MAX).unwrap();
        assert_eq!(data(&all).len(), 4 * 1_000);
    }
}
