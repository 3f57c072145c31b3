use super::*;
use crate::services::api;
use proptest::prelude::*;
use prost::Message;

fn stamp() -> Stamp {
    Stamp::new("a1b2.c3d4.e5f6".parse().unwrap(), 7)
}

fn stamped(event: &api::Event, seq: u64) -> Result<api::Event, Error> {
    let body = event.encode_to_vec();
    let mut out = Vec::new();
    EventView::parse(&body)?.offer().put_stamped(&stamp(), seq, &mut out);
    let batch = api::EventBatch::decode(&out[..]).unwrap();
    assert_eq!(batch.events.len(), 1);
    Ok(batch.events[0].clone())
}

fn event(topic: &str) -> api::Event {
    api::Event { topic: topic.into(), data: "{}".into(), ..Default::default() }
}

fn header(name: &str, value: &str) -> api::Header {
    api::Header { name: name.into(), value: value.into() }
}

#[test]
fn the_stamp_is_ours_whatever_the_publisher_says() {
    let forged = api::Event { seq: 1, source: "ffff.ffff.ffff".into(), time_unix_micros: 1, ..event("a.b") };
    let seen = stamped(&forged, 300).unwrap();
    assert_eq!((seen.seq, seen.source.as_str(), seen.time_unix_micros), (300, "a1b2.c3d4.e5f6", 7));
    assert_eq!((seen.topic.as_str(), &seen.data[..]), ("a.b", &b"{}"[..]));
}

#[test]
fn unknown_fields_are_not_passed_on() {
    let mut body = BytesMut::from(&event("a").encode_to_vec()[..]);
    put_bytes(&mut body, 77, b"smuggled");
    let view = EventView::parse(&body).unwrap();
    let mut out = Vec::new();
    view.offer().put_stamped(&stamp(), 1, &mut out);
    assert!(!out.windows(8).any(|window| window == b"smuggled"));
    assert!(!view.is_of(""));
}

#[test]
fn limits_are_enforced_and_named() {
    let many = vec![header("n", "v"); MAX_HEADERS + 1];
    let long = vec![header("n", &"v".repeat(MAX_HEADER_BYTES))];
    for (event, code) in [
        (event(""), "invalid_topic"),
        (event("a.*"), "invalid_topic"),
        (api::Event::default(), "invalid_topic"),
        (api::Event { reply_to: "a b".into(), ..event("a") }, "invalid_topic"),
        (api::Event { content_type: "x".repeat(129), ..event("a") }, "bad_argument"),
        (api::Event { headers: vec![header("a:b", "")], ..event("a") }, "bad_argument"),
        (api::Event { headers: vec![header("a", "b\nc")], ..event("a") }, "bad_argument"),
        (api::Event { headers: many, ..event("a") }, "too_large"),
        (api::Event { headers: long, ..event("a") }, "too_large"),
    ] {
        assert_eq!(stamped(&event, 1).unwrap_err().code, code, "{event:?}");
    }
    let twice = [event("a").encode_to_vec(), event("b").encode_to_vec()].concat();
    assert!(EventView::parse(&twice).unwrap_err().message.contains("twice"));
}

proptest! {
    #[test]
    fn what_is_published_is_what_prost_reads(
        data: Vec<u8>,
        kind in "[a-z/]{0,20}",
        headers in prop::collection::vec(("[a-z]{1,8}", "[ -~]{0,20}"), 0..5),
        seq: u64,
    ) {
        let new = NewEvent { topic: "a.b", data: &data, content_type: &kind, headers: &headers, reply_to: "r" };
        let mut sent = BytesMut::new();
        new.put(&mut sent);
        let sent = api::LinkRequest::decode(&sent[..]).unwrap().publish.remove(0);
        let expected: Vec<_> = headers.iter().map(|(name, value)| header(name, value)).collect();
        prop_assert_eq!(&sent.headers, &expected);
        let seen = stamped(&sent, seq).unwrap();
        prop_assert_eq!((&seen.data[..], &seen.content_type, seen.seq), (&data[..], &kind, seq));
        prop_assert_eq!((&seen.headers, seen.reply_to.as_str()), (&expected, "r"));
        let body = seen.encode_to_vec();
        let view = EventView::parse(&body).unwrap();
        let read: Vec<_> = view.headers().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        prop_assert_eq!(read, headers);
        prop_assert!(view.is_of("a1b2.c3d4.e5f6") && view.seq == seq && view.time == 7);
    }

    #[test]
    fn any_bytes_are_survived_and_what_passes_is_readable(bytes: Vec<u8>) {
        if let Ok(view) = EventView::parse(&bytes) {
            let mut out = Vec::new();
            view.offer().put_stamped(&stamp(), 1, &mut out);
            prop_assert!(api::EventBatch::decode(&out[..]).is_ok());
        }
    }
}
