//! From NATS to the bus: an event that came in is published by this node.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::{self, AckKind};
use futures_util::StreamExt;
use tokio::time::sleep;

use super::Counters;
use super::connect::Connection;
use super::message::{incoming, is_of};
use super::settings::Import;
use crate::control::Error;
use crate::services::events::batch::elements;
use crate::services::events::bus::Bus;
use crate::services::events::event::EventView;
use crate::services::events::subscriber::Origin;

/// A breath before something is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// What is not acknowledged for so long comes again: we had crashed, or were cut off.
const ACK_WITHIN: Duration = Duration::from_secs(10);

/// One entry of `events.bridge.import`.
pub(super) struct Importer {
    /// Where events go.
    pub bus: Arc<Bus>,
    /// Which subjects, and what they are called here.
    pub import: Import,
    /// Counts.
    pub counters: Arc<Counters>,
}

impl Importer {
    /// Receives until the future is dropped; what nobody receives meanwhile is missed.
    pub async fn run(self, connection: Connection) {
        loop {
            match connection.client.subscribe(self.import.subject.clone()).await {
                Ok(mut messages) => {
                    while let Some(message) = messages.next().await {
                        // What the bus refuses was counted, and NATS expects no answer.
                        let _ = self.take(&message);
                    }
                }
                Err(error) => tracing::warn!("NATS subject {} is not received: {error}", self.import.subject),
            }
            sleep(PAUSE).await;
        }
    }

    /// Receives from a stream of JetStream until the future is dropped, and goes on where it was when it is back.
    pub async fn run_durably(self, mut connection: Connection) {
        let context = jetstream::new(connection.client.clone());
        loop {
            connection.up().await;
            if let Err(error) = self.consume(&context).await {
                tracing::warn!("NATS subject {} is not received, trying on: {error}", self.import.subject);
            }
            sleep(PAUSE).await;
        }
    }

    async fn consume(&self, context: &jetstream::Context) -> Result<(), async_nats::Error> {
        let stream = context.stream_by_subject(self.import.subject.clone()).await?;
        let name = self.consumer_name();
        let config = pull::Config {
            durable_name: Some(name.clone()),
            filter_subject: self.import.subject.clone(),
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WITHIN,
            ..pull::Config::default()
        };
        let consumer: PullConsumer = context.get_stream(stream).await?.get_or_create_consumer(&name, config).await?;
        let mut messages = consumer.messages().await?;
        while let Some(message) = messages.next().await {
            let message = message?;
            let ack = match self.take(&message) {
                // It would be refused as well the next time.
                Err(error) if error.http_status() < 500 => AckKind::Term,
                Err(_) => AckKind::Nak(Some(PAUSE)),
                Ok(()) => AckKind::Ack,
            };
            message.ack_with(ack).await?;
        }
        Ok(())
    }

    /// The same for a node and a subject after every start.
    fn consumer_name(&self) -> String {
        let subject = blake3::hash(self.import.subject.as_bytes()).to_hex();
        format!("pilot-{}-{}", self.bus.me().to_string().replace('.', ""), subject.get(..12).unwrap_or_default())
    }

    fn take(&self, message: &Message) -> Result<(), Error> {
        if is_of(message, &self.bus.me().to_string()) {
            return Ok(());
        }
        let outcome = self.publish(message);
        match &outcome {
            Ok(()) => self.counters.imported(1),
            Err(error) => {
                self.counters.refused(1);
                tracing::warn!("a message of NATS is no event: {error}");
            }
        }
        outcome
    }

    fn publish(&self, message: &Message) -> Result<(), Error> {
        let element = incoming(message, &self.import.topic_prefix);
        let body = elements(&element).next().map(|(_, body)| body).unwrap_or_default();
        let event = EventView::parse(body)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        self.bus.publish(Origin::Local, &[event.offer()], u64::try_from(now).unwrap_or(u64::MAX)).map(drop)
    }
}
