//! The past of peers for one subscription: a connection to each, that asks for what it remembers and then goes on.
//!
//! In: a subscription that wants more than what happens from now on. Out: events of peers in its queue; a peer that
//! restarts is asked for what came after the last event that we had of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Bytes, BytesMut};
use prost::Message;
use tokio::task::{AbortHandle, JoinSet};

use super::ask::Ask;
use super::batch::{Item, items};
use super::dial::Frames;
use super::event::EventView;
use super::facade::{Inner, now};
use super::links::Pause;
use super::run::Run;
use super::subscription::Subscription;
use super::wire::{put_bytes, put_number};
use crate::control::Error;
use crate::identity::NodeId;
use crate::services::api::SubscribeRequest;
use crate::services::directory::Member;

/// Brings the events of one peer, or of all, present and future, until dropped.
pub(super) fn relays(inner: Arc<Inner>, to: Arc<Subscription>, ask: Ask, only: Option<NodeId>) -> JoinSet<()> {
    let mut relays = JoinSet::new();
    relays.spawn(follow(inner, to, ask, only, now()));
    relays
}

/// Keeps a relay to each peer that is trusted.
async fn follow(inner: Arc<Inner>, to: Arc<Subscription>, ask: Ask, only: Option<NodeId>, since: u64) {
    let mut directory = inner.directory.clone();
    let (mut tasks, mut relays) = (JoinSet::new(), HashMap::<NodeId, AbortHandle>::new());
    loop {
        let roster = directory.roster();
        relays.retain(|id, relay| {
            let stays = roster.peers.contains_key(id);
            if !stays {
                relay.abort();
            }
            stays
        });
        let meant = roster.peers.values().filter(|peer| only.is_none_or(|only| only == peer.id));
        for peer in meant {
            relays.entry(peer.id).or_insert_with(|| {
                let relay = Relay { inner: inner.clone(), to: to.clone(), peer: peer.clone(), since, seen: None };
                tasks.spawn(relay.run(ask.request()))
            });
        }
        if !directory.changed().await {
            return;
        }
        while tasks.try_join_next().is_some() {}
    }
}

struct Relay {
    inner: Arc<Inner>,
    to: Arc<Subscription>,
    peer: Arc<Member>,
    /// When the subscription began, microseconds since 1970.
    since: u64,
    /// The last event that came.
    seen: Option<u64>,
}

impl Relay {
    async fn run(mut self, ask: SubscribeRequest) {
        let mut pause = Pause::default();
        loop {
            match self.converse(&ask).await {
                Ok(()) => pause = Pause::default(),
                Err(error) => tracing::debug!(peer = %self.peer.id, %error, "no events of the past"),
            }
            pause.wait(&self.inner.directory, self.peer.id).await;
        }
    }

    /// The request, so that nothing comes that came already.
    fn request(&self, ask: &SubscribeRequest) -> Bytes {
        let mut ask = ask.clone();
        if let Some(seen) = self.seen {
            (ask.since_seq, ask.since_millis, ask.last) = (Some(seen), None, false);
        } else if let Some(millis) = &mut ask.since_millis {
            *millis += now().saturating_sub(self.since) / 1_000;
        }
        let mut request = BytesMut::new();
        put_bytes(&mut request, 4, &ask.encode_to_vec());
        put_number(&mut request, 5, 1);
        request.freeze()
    }

    async fn converse(&mut self, ask: &SubscribeRequest) -> Result<(), Error> {
        let mut frames = Frames::connect(&*self.inner.dial, &self.peer).await?;
        let broken = |error: std::io::Error| Error::new("unreachable", error.to_string());
        frames.send(&self.request(ask)).await.map_err(broken)?;
        while let Some(frame) = frames.next().await.map_err(broken)? {
            self.take(&frame)?;
        }
        Ok(())
    }

    fn take(&mut self, frame: &Bytes) -> Result<(), Error> {
        let source = self.peer.id.to_string();
        for item in items(frame) {
            match item? {
                Item::Missed(count) => self.to.queue().push_missed(count),
                Item::Refused(error) => return Err(error),
                Item::Event { body, element } => match EventView::parse(body).ok().filter(|event| event.is_of(&source))
                {
                    Some(event) => {
                        self.seen = self.seen.max(Some(event.seq));
                        let run = Run { bytes: frame.slice_ref(element), count: 1, whole: frame.len() };
                        self.to.queue().push(&run, None);
                        self.inner.counters.received.fetch_add(1, Relaxed);
                    }
                    None => drop(self.inner.counters.foreign.fetch_add(1, Relaxed)),
                },
                _ => {}
            }
        }
        self.to.queue().wake();
        Ok(())
    }
}
