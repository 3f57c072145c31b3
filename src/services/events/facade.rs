//! The events of this node, as the daemon, the doors and other services use them.
//!
//! In: callers with what they publish and what they want. Out: numbers, refusals, and feeds of events. Who may do what
//! is decided here: only programs of this machine name other nodes, and what a peer publishes stays on this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::ask::Ask;
use super::batch::{element_len, elements};
use super::bus::{Bus, Published};
use super::dial::Dial;
use super::event::{EventView, NewEvent, Offer};
use super::feed::Feed;
use super::frame::MAX_FRAME;
use super::hand::Hands;
use super::sequence::Reservation;
use super::settings::Settings;
use super::subscriber::{Origin, Scope};
use super::subscription::{Since, Wish};
use super::topic::REPLY_PREFIX;
use super::{relay, wire};
use crate::control::Error;
use crate::identity::NodeId;
use crate::services::directory::{Caller, Directory, Member};

/// Refusals of one batch that are told one by one.
const TOLD: usize = 16;

/// Bytes that a `flush` takes in a frame, at most.
const FLUSH: usize = 16;

/// What came of a batch, or of several.
#[derive(Debug, Default)]
pub struct Intake {
    /// What was published.
    pub published: Published,
    /// How many events were not.
    pub refused_count: u64,
    /// Why; of many, the first.
    pub refused: Vec<Error>,
}

impl Intake {
    /// Notes that an event was refused.
    pub fn refuse(&mut self, error: Error) {
        self.refused_count += 1;
        if self.refused.len() < TOLD {
            self.refused.push(error);
        }
    }

    /// Notes what came of the next batch.
    pub fn add(&mut self, next: Intake) {
        self.published.seq = self.published.seq.max(next.published.seq);
        self.published.count += next.published.count;
        self.refused_count += next.refused_count;
        self.refused.extend(next.refused);
        self.refused.truncate(TOLD);
    }

    /// What is told of it where something was published, or nothing refused.
    ///
    /// # Errors
    /// The first refusal, where there is nothing else to tell.
    pub fn outcome(self) -> Result<Intake, Error> {
        match self.refused.first() {
            Some(error) if self.published.count == 0 => Err(error.clone()),
            _ => Ok(self),
        }
    }
}

/// Counters that are not the bus's.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) handed_in: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) foreign: AtomicU64,
    pub(super) links: AtomicU64,
}

pub(super) struct Inner {
    pub(super) bus: Arc<Bus>,
    pub(super) directory: Directory,
    pub(super) dial: Arc<dyn Dial>,
    pub(super) counters: Counters,
    hands: Hands,
}

/// The events of this node; clones are the same.
#[derive(Clone)]
pub struct Events {
    pub(super) inner: Arc<Inner>,
}

/// Microseconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

impl Events {
    /// The events of `directory`'s node, numbered from `first_seq` on, that reaches peers by `dial`.
    pub fn new(
        settings: Settings,
        directory: Directory,
        dial: Arc<dyn Dial>,
        first_seq: u64,
        reservation: Arc<dyn Reservation>,
    ) -> Events {
        let bus = Bus::new(settings, directory.me().id, first_seq, reservation);
        let (counters, hands) = (Counters::default(), Hands::new(dial.clone()));
        Events { inner: Arc::new(Inner { bus, directory, dial, counters, hands }) }
    }

    /// The paths and the gRPC service, for port 1002 and for the local socket.
    pub fn router(&self) -> axum::Router {
        let service = super::grpc::EventsService { events: self.clone() };
        super::http::router(self.clone()).merge(crate::services::door::grpc(service))
    }

    /// The same in JSON lines.
    pub fn lines(&self) -> Arc<dyn crate::services::door::Lines> {
        Arc::new(super::lines::EventLines { events: self.clone() })
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.inner.bus.me()
    }

    /// The number of the next event: what a clean stop writes down.
    pub fn next_seq(&self) -> u64 {
        self.inner.bus.next_seq()
    }

    /// Publishes one event in the name of this node.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn publish(&self, event: &NewEvent<'_>) -> Result<Published, Error> {
        let mut element = BytesMut::new();
        event.put(&mut element);
        self.publish_one(&Caller::Local(self.inner.directory.me()), &element)
    }

    /// Publishes one element of a caller.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn publish_one(&self, caller: &Caller, element: &[u8]) -> Result<Published, Error> {
        let intake = self.take_in(caller, elements(element).map(|(_, body)| body));
        intake.refused.into_iter().next().map_or(Ok(intake.published), Err)
    }

    /// Publishes events of a caller; what is wrong with one keeps none of the others.
    pub fn take_in<'a>(&self, caller: &Caller, bodies: impl Iterator<Item = &'a [u8]>) -> Intake {
        let mut intake = Intake::default();
        let origin = self.origin(caller);
        let mut offers: Vec<Offer<'_>> = Vec::with_capacity(bodies.size_hint().0);
        for body in bodies {
            let known = offers.last().map_or("", |offer| offer.topic);
            match EventView::parse_after(body, known) {
                Ok(view) if origin == Origin::Local && view.topic.starts_with(REPLY_PREFIX) => {
                    self.reply(view, &mut offers, &mut intake);
                }
                Ok(view) => offers.push(view.offer()),
                Err(error) => self.refuse(error, &mut intake),
            }
        }
        match self.inner.bus.publish(origin, &offers, now()) {
            Ok(published) => {
                intake.published.seq = published.seq;
                intake.published.count += published.count;
            }
            Err(error) => self.refuse(error, &mut intake),
        }
        if published_by_peer(self.me(), caller) {
            self.inner.counters.handed_in.fetch_add(intake.published.count, Relaxed);
        }
        intake
    }

    fn refuse(&self, error: Error, intake: &mut Intake) {
        self.inner.counters.refused.fetch_add(1, Relaxed);
        intake.refuse(error);
    }

    /// A reply is handed to the node that asked, which is in its topic: `_reply.a1b2.c3d4.e5f6.RANDOM`.
    fn reply<'a>(&self, view: EventView<'a>, here: &mut Vec<Offer<'a>>, intake: &mut Intake) {
        let asker = view.topic.get(REPLY_PREFIX.len()..REPLY_PREFIX.len() + 14);
        let asker = asker.and_then(|id| id.parse::<NodeId>().ok());
        match asker.filter(|id| *id != self.me()) {
            None => here.push(view.offer()),
            Some(id) => match self.inner.directory.roster().peers.get(&id) {
                Some(peer) => match self.inner.hands.send(peer, element_of(&view)) {
                    Ok(()) => intake.published.count += 1,
                    Err(error) => self.refuse(error, intake),
                },
                None => self.refuse(Error::new("not_found", format!("{id}, who asked, is not trusted")), intake),
            },
        }
    }

    /// Hands elements to one peer, and waits until it has taken them.
    ///
    /// # Errors
    /// `unreachable`, or what the peer says.
    pub async fn hand(&self, peer: &Arc<Member>, elements: Bytes) -> Result<Published, Error> {
        let (mut rest, mut count) = (elements, 0);
        while !rest.is_empty() {
            let part = rest.split_to(frameful(&rest));
            count += super::batch::elements(&part).count() as u64;
            self.inner.hands.hand(peer, part).await?;
        }
        Ok(Published { seq: 0, count })
    }

    /// The peer that a local caller names; none for this node itself.
    ///
    /// # Errors
    /// `permission_denied` for callers of the overlay; as [`Directory::find`].
    pub fn peer(&self, caller: &Caller, node: &str) -> Result<Option<Arc<Member>>, Error> {
        if node.is_empty() {
            return Ok(None);
        }
        caller.require_local()?;
        let member = self.inner.directory.find(node)?;
        Ok((member.id != self.me()).then_some(member))
    }

    fn origin(&self, caller: &Caller) -> Origin {
        match published_by_peer(self.me(), caller) {
            true => Origin::Peer(caller.member().id),
            false => Origin::Local,
        }
    }

    /// Subscribes for a caller.
    ///
    /// # Errors
    /// As [`Bus::subscribe`] and [`Events::peer`].
    pub fn subscribe(&self, caller: &Caller, ask: &Ask) -> Result<Feed, Error> {
        let peer = self.peer(caller, &ask.node)?;
        let (scope, follows) = self.scope(caller, ask, peer.as_ref());
        let since = match (ask.since_seq, ask.since_millis) {
            (Some(seq), _) => Some(Since::Seq(seq)),
            (None, Some(millis)) => Some(Since::Time(now().saturating_sub(millis.saturating_mul(1_000)))),
            (None, None) => None,
        };
        let of_us = peer.is_none();
        let wish = Wish {
            since: since.filter(|_| of_us),
            now: now(),
            last: ask.last && of_us,
            queue: ask.queue,
            overflow: ask.overflow,
            ..Wish::new(ask.wanted.clone(), scope)
        };
        let feed = Feed::new(self.inner.bus.subscribe(wish)?);
        Ok(match follows {
            Follows::Nobody => feed,
            Follows::Peers => {
                let relays = relay::relays(self.inner.clone(), feed.subscription(), ask.clone(), peer.map(|p| p.id));
                feed.with(relays)
            }
        })
    }

    /// Of whom events are wanted, and whether peers are asked for their past.
    fn scope(&self, caller: &Caller, ask: &Ask, peer: Option<&Arc<Member>>) -> (Scope, Follows) {
        let wants_past = ask.since_seq.is_some() || ask.since_millis.is_some() || ask.last;
        match peer {
            _ if published_by_peer(self.me(), caller) => (Scope::Own, Follows::Nobody),
            Some(peer) if wants_past => (Scope::HandedIn(peer.id), Follows::Peers),
            Some(peer) => (Scope::From(peer.id), Follows::Nobody),
            None if !ask.node.is_empty() || ask.since_seq.is_some() => (Scope::Own, Follows::Nobody),
            None if wants_past => (Scope::Home, Follows::Peers),
            None => (Scope::All, Follows::Nobody),
        }
    }

    /// Publishes an element that asks for a reply on `reply_to`, here or at one peer, and waits for the first.
    ///
    /// # Errors
    /// `timeout`; what is wrong with the event.
    pub async fn request(&self, caller: &Caller, question: Question<'_>) -> Result<Bytes, Error> {
        let peer = self.peer(caller, question.node)?;
        let ask = Ask { wanted: super::ask::wanted([question.reply_to].into_iter(), "")?, ..Ask::default() };
        let feed = self.subscribe(&Caller::Local(self.inner.directory.me()), &ask)?;
        match peer {
            Some(peer) => drop(self.hand(&peer, question.element).await?),
            None => drop(self.publish_one(caller, &question.element)?),
        }
        let reply = async {
            loop {
                let segments = feed.take(1).await.map_err(|_| Error::new("internal", "the subscription ended"))?;
                if let Some((_, body)) = segments.iter().find_map(|segment| elements(&segment.bytes).next()) {
                    return Ok(Bytes::copy_from_slice(body));
                }
            }
        };
        match tokio::time::timeout(question.patience, reply).await {
            Ok(reply) => reply,
            Err(_) => Err(Error::new("timeout", format!("nobody replied within {:?}", question.patience))
                .hint("does somebody subscribe to the topic, and publish to `reply_to`?")),
        }
    }

    /// A topic for one reply, which nobody can guess.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn reply_topic(&self) -> Result<String, Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| Error::new("internal", format!("no randomness: {error}")))?;
        Ok(format!("{REPLY_PREFIX}{}.{:032x}", self.me(), u128::from_be_bytes(random)))
    }

    /// The last event of each topic of this node that matches, as one batch.
    pub fn last(&self, pattern: &super::topic::Pattern) -> Bytes {
        self.inner.bus.last(|topic| pattern.matches(topic)).concat().into()
    }

    /// Counters, for the status.
    pub fn counters(&self) -> Value {
        let Inner { bus, counters, .. } = &*self.inner;
        json!({
            "published": bus.published(),
            "handed_in": counters.handed_in.load(Relaxed),
            "received": counters.received.load(Relaxed),
            "delivered": bus.budget.delivered.load(Relaxed),
            "missed": bus.budget.missed.load(Relaxed),
            "refused": counters.refused.load(Relaxed),
            "foreign": counters.foreign.load(Relaxed),
            "subscribers": bus.subscribers(),
            "links": counters.links.load(Relaxed),
            "remembered_bytes": bus.remembered(),
        })
    }
}

/// A question to be asked.
#[derive(Debug)]
pub struct Question<'a> {
    /// The event, with `reply_to` in it.
    pub element: Bytes,
    /// The topic of the reply.
    pub reply_to: &'a str,
    /// The one node that is asked; empty for all.
    pub node: &'a str,
    /// How long to wait.
    pub patience: Duration,
}

enum Follows {
    Nobody,
    Peers,
}

fn published_by_peer(me: NodeId, caller: &Caller) -> bool {
    caller.member().id != me
}

/// How many bytes of elements go in one frame, with room for a `flush`; one element at least.
fn frameful(batch: &[u8]) -> usize {
    let mut length = element_len(batch);
    while let Some(rest) = batch.get(length..).filter(|rest| !rest.is_empty()) {
        let longer = length + element_len(rest);
        if longer + FLUSH > MAX_FRAME {
            break;
        }
        length = longer;
    }
    length
}

fn element_of(view: &EventView<'_>) -> Bytes {
    let mut out = BytesMut::new();
    wire::put_bytes(&mut out, 1, view.body());
    out.freeze()
}
