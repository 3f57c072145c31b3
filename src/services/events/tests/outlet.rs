//! One subscriber behind a connection that takes little at once, to which publishers write by themselves.

use std::sync::Arc;

use bytes::BytesMut;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::world::{World, soon};
use crate::services::api;
use crate::services::directory::Caller;
use crate::services::events::event::NewEvent;
use crate::services::events::frame::put_frame;
use crate::services::events::link::{Conversation, serve_frames};

async fn receive(stream: &mut DuplexStream) -> api::EventBatch {
    let length = soon(stream.read_u32()).await.unwrap();
    let mut frame = vec![0; length as usize];
    soon(stream.read_exact(&mut frame)).await.unwrap();
    api::EventBatch::decode(&frame[..]).unwrap()
}

#[tokio::test]
async fn what_publishers_write_and_what_waits_for_room_stays_in_order() {
    let node = World::new().start(1, &[]).await;
    let conversation = Conversation::new(node.events.clone(), Caller::Local(node.events.inner.directory.me()));
    let (ours, mut theirs) = duplex(150);
    let serving = tokio::spawn(serve_frames(Arc::new(conversation), ours));
    let subscribe = api::SubscribeRequest { patterns: vec!["*".to_owned()], ..Default::default() };
    let mut ask = BytesMut::new();
    put_frame(&mut ask, &api::LinkRequest { subscribe: Some(subscribe), ..Default::default() }.encode_to_vec());
    put_frame(&mut ask, &api::LinkRequest { flush: 1, ..Default::default() }.encode_to_vec());
    theirs.write_all(&ask).await.unwrap();
    assert_eq!(receive(&mut theirs).await.flushed, 1);

    let (mut published, mut seen) = (0, 0);
    for count in [1, 1, 1, 40, 1, 300, 1, 1] {
        for _ in 0..count {
            published += 1;
            let data = published.to_string();
            node.events.publish(&NewEvent { topic: "t", data: data.as_bytes(), ..NewEvent::default() }).unwrap();
        }
        while seen < published {
            let batch = receive(&mut theirs).await;
            assert!(batch.missed.is_none());
            for event in batch.events {
                seen += 1;
                assert_eq!((event.seq, &event.data[..]), (seen, seen.to_string().as_bytes()));
            }
        }
    }
    drop(theirs);
    let _ = soon(serving).await;
}

#[tokio::test]
async fn a_single_event_is_on_the_connection_when_it_is_published() {
    let node = World::new().start(1, &[]).await;
    let conversation = Conversation::new(node.events.clone(), Caller::Local(node.events.inner.directory.me()));
    let (ours, mut theirs) = duplex(1 << 10);
    let _serving = tokio::spawn(serve_frames(Arc::new(conversation), ours));
    let subscribe = api::SubscribeRequest { patterns: vec!["*".to_owned()], ..Default::default() };
    let mut ask = BytesMut::new();
    put_frame(
        &mut ask,
        &api::LinkRequest { subscribe: Some(subscribe), flush: 1, ..Default::default() }.encode_to_vec(),
    );
    theirs.write_all(&ask).await.unwrap();
    assert_eq!(receive(&mut theirs).await.flushed, 1);

    node.events.publish(&NewEvent { topic: "t", data: b"1", ..NewEvent::default() }).unwrap();
    let mut some = [0; 1];
    let read = std::pin::pin!(theirs.read(&mut some));
    // Nobody else has had a turn on this runtime of one thread.
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(read.poll(&mut context).is_ready());
}
