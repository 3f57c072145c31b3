//! From the bus to NATS.
//!
//! The subscription at the bus is the queue: while the server is away it fills, and drops the oldest. An event that is
//! out of it is sent when there is a connection; with JetStream it is sent until it is acknowledged, always under the
//! same ID, so that the stream keeps it once.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, message::PublishMessage, stream};
use futures_util::future::join_all;
use tokio::time::sleep;

use super::connect::Connection;
use super::message::{Outgoing, outgoing};
use super::settings::{Export, Settings};
use super::{Counters, names};
use crate::control::Error;
use crate::services::events::batch::elements;
use crate::services::events::bus::Bus;
use crate::services::events::event::EventView;
use crate::services::events::queue::Segment;
use crate::services::events::subscriber::Scope;
use crate::services::events::subscription::{Subscription, Wish};
use crate::services::events::topic::Pattern;
use crate::services::events::wishes::Wanted;

/// Bytes of events that are sent at once, and lost or sent again together.
const BATCH: usize = 256 << 10;
/// A breath before something is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// One entry of `events.bridge.export`.
pub(super) struct Exporter {
    subscription: Subscription,
    prefix: String,
    stream: Option<stream::Config>,
    counters: Arc<Counters>,
}

impl Exporter {
    /// Subscribes; from then on nothing is missed.
    ///
    /// # Errors
    /// `bad_argument` for a pattern that is none.
    pub fn new(
        bus: &Arc<Bus>,
        settings: &Settings,
        export: &Export,
        counters: Arc<Counters>,
    ) -> Result<Exporter, Error> {
        let wanted = Wanted { group: None, pattern: Pattern::parse(&export.pattern)? };
        let scope = if export.peers { Scope::All } else { Scope::Own };
        let wish = Wish { queue: settings.queue, ..Wish::new(vec![wanted], scope) };
        let stream = settings.jetstream.as_ref().map(|jetstream| stream::Config {
            name: jetstream.stream.clone(),
            subjects: settings.export.iter().map(subjects).collect(),
            ..stream::Config::default()
        });
        let prefix = export.subject_prefix.clone();
        Ok(Exporter { subscription: bus.subscribe(wish)?, prefix, stream, counters })
    }

    /// Sends until the future is dropped, or the bus is gone.
    pub async fn run(self, mut connection: Connection) {
        connection.up().await;
        let jetstream = self.jetstream(&mut connection).await;
        while let Ok(segments) = self.subscription.take(BATCH).await {
            let events = self.messages(&segments, connection.client.max_payload());
            connection.up().await;
            match &jetstream {
                None => self.send(&connection, events).await,
                Some(context) => self.deliver(&mut connection, context, events).await,
            }
            // So that the queue is the bus's, which drops the oldest, and not the client's, which does not.
            while connection.client.flush().await.is_err() {
                sleep(PAUSE).await;
            }
        }
    }

    /// JetStream with its stream, where it is wanted, however long that takes.
    async fn jetstream(&self, connection: &mut Connection) -> Option<jetstream::Context> {
        let config = self.stream.as_ref()?;
        let context = jetstream::new(connection.client.clone());
        while let Err(error) = context.get_or_create_stream(config.clone()).await {
            tracing::warn!("the stream {} of JetStream is not there, trying on: {error}", config.name);
            sleep(PAUSE).await;
            connection.up().await;
        }
        Some(context)
    }

    fn messages(&self, segments: &[Segment], longest: usize) -> Vec<Outgoing> {
        let missed: u64 = segments.iter().map(|segment| segment.missed).sum();
        if missed > 0 {
            self.counters.dropped(missed);
            tracing::warn!(missed, "events were not sent to NATS: too many waited");
        }
        let events = segments.iter().flat_map(|segment| elements(&segment.bytes));
        let events = events.filter_map(|(_, body)| EventView::parse(body).ok());
        let (fitting, too_long): (Vec<_>, Vec<_>) =
            events.filter_map(|event| outgoing(&event, &self.prefix)).partition(|event| event.payload.len() <= longest);
        if !too_long.is_empty() {
            self.counters.dropped(too_long.len() as u64);
            tracing::warn!(longest, "events were not sent to NATS: they are longer than it takes");
        }
        fitting
    }

    async fn send(&self, connection: &Connection, events: Vec<Outgoing>) {
        for event in events {
            let sending = connection.client.publish_with_headers(event.subject, event.headers, event.payload);
            self.count(sending.await.map_err(|error| error.to_string()));
        }
    }

    fn count(&self, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.counters.exported(1),
            Err(error) => {
                self.counters.dropped(1);
                tracing::warn!("an event was not sent to NATS: {error}");
            }
        }
    }

    /// Sends until all are acknowledged.
    async fn deliver(&self, connection: &mut Connection, context: &jetstream::Context, mut events: Vec<Outgoing>) {
        while !events.is_empty() {
            let outcomes = join_all(events.iter().map(|event| acknowledged(context, event))).await;
            let failed = outcomes.iter().find_map(|outcome| outcome.as_ref().err()).cloned();
            let before = events.len();
            let mut outcomes = outcomes.iter();
            events.retain(|_| outcomes.next().is_none_or(Result::is_err));
            self.counters.exported((before - events.len()) as u64);
            if let Some(error) = failed {
                tracing::warn!(waiting = events.len(), "JetStream has not acknowledged events, sending again: {error}");
                sleep(PAUSE).await;
                connection.up().await;
            }
        }
    }
}

async fn acknowledged(context: &jetstream::Context, event: &Outgoing) -> Result<(), String> {
    let message = PublishMessage::build().payload(event.payload.clone()).headers(event.headers.clone());
    let sent = context.send_publish(event.subject.clone(), message.message_id(&event.id)).await;
    sent.map_err(|error| error.to_string())?.await.map(drop).map_err(|error| error.to_string())
}

/// The subjects that an export may lead to.
fn subjects(export: &Export) -> String {
    let pattern = match export.pattern.strip_suffix('*') {
        Some(rest) => format!("{rest}>"),
        None => export.pattern.clone(),
    };
    names::subject(&export.subject_prefix, &pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_takes_what_its_exports_lead_to() {
        for (pattern, subjects_) in [("metrics.*", "pilot.metrics.>"), ("*", "pilot.>"), ("*.cpu", "pilot.*.cpu")] {
            let export = Export { pattern: pattern.into(), subject_prefix: "pilot.".into(), peers: false };
            assert_eq!(subjects(&export), subjects_);
        }
    }
}
