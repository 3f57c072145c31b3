//! What the configuration says about the services: `[events]`, `[inbox]`, `[files]`, `[streams]`.

use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, Layers};
use crate::services::events::bridge;
use crate::services::events::topic::Pattern;
use crate::services::{events, files, inbox, streams};

/// The settings of all services.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// Of events.
    pub events: events::Settings,
    /// Of the bridge to NATS, if there is one.
    pub bridge: Option<bridge::Settings>,
    /// Of the inbox and the outbox.
    pub inbox: inbox::Settings,
    /// Of files.
    pub files: files::Settings,
    /// Of streams.
    pub streams: streams::Settings,
}

/// `[events]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EventsTable {
    pub queue: Option<usize>,
    pub subscriptions: Option<usize>,
    pub retention_bytes: Option<usize>,
    pub retention_secs: Option<u64>,
    pub retention: Vec<RetentionTable>,
    pub bridge: Option<bridge::Settings>,
}

/// `[[events.retention]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetentionTable {
    pub pattern: String,
    pub bytes: usize,
    pub secs: u64,
}

/// `[inbox]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct InboxTable {
    pub max_message: Option<usize>,
    pub messages: Option<u64>,
    pub bytes: Option<u64>,
    pub sender_messages: Option<u64>,
    pub sender_bytes: Option<u64>,
    pub outbox_messages: Option<u64>,
    pub outbox_bytes: Option<u64>,
}

/// `[files]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FilesTable {
    pub max_file: Option<u64>,
    pub sender_bytes: Option<u64>,
}

/// `[streams]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StreamsTable {
    pub streams: Option<usize>,
    pub streams_of_a_node: Option<usize>,
    pub processes: Option<usize>,
    pub attach: Vec<streams::Attach>,
}

pub(super) fn events(layers: &mut Layers<'_>, table: EventsTable) -> Result<events::Settings, ConfigError> {
    let default = events::Settings::default();
    let age = layers.value("events.retention_secs", None, table.retention_secs, || default.retention_age.as_secs());
    Ok(events::Settings {
        queue_events: layers.value("events.queue", None, table.queue, || default.queue_events),
        subscriptions: layers.value("events.subscriptions", None, table.subscriptions, || default.subscriptions),
        retention_bytes: layers
            .value("events.retention_bytes", None, table.retention_bytes, || default.retention_bytes),
        retention_age: Duration::from_secs(age),
        retention: table.retention.into_iter().map(rule).collect::<Result<_, _>>()?,
        ..default
    })
}

fn rule(table: RetentionTable) -> Result<(Pattern, usize, Duration), ConfigError> {
    let pattern = Pattern::parse(&table.pattern).map_err(|error| ConfigError::Value {
        key: "events.retention.pattern",
        value: table.pattern,
        origin: "file",
        message: error.message,
    })?;
    Ok((pattern, table.bytes, Duration::from_secs(table.secs)))
}

pub(super) fn inbox(layers: &mut Layers<'_>, table: InboxTable) -> inbox::Settings {
    let default = inbox::Settings::default();
    let (max_message, known) = (default.max_message, default.limits);
    let mut limits = known;
    limits.messages = layers.value("inbox.messages", None, table.messages, || known.messages);
    limits.bytes = layers.value("inbox.bytes", None, table.bytes, || known.bytes);
    limits.sender_messages =
        layers.value("inbox.sender_messages", None, table.sender_messages, || known.sender_messages);
    limits.sender_bytes = layers.value("inbox.sender_bytes", None, table.sender_bytes, || known.sender_bytes);
    limits.outbox_messages =
        layers.value("inbox.outbox_messages", None, table.outbox_messages, || known.outbox_messages);
    limits.outbox_bytes = layers.value("inbox.outbox_bytes", None, table.outbox_bytes, || known.outbox_bytes);
    let max_message = layers.value("inbox.max_message", None, table.max_message, || max_message);
    inbox::Settings { limits, max_message, ..default }
}

pub(super) fn files(layers: &mut Layers<'_>, table: FilesTable) -> files::Settings {
    let default = files::Settings::default();
    files::Settings {
        max_file: layers.value("files.max_file", None, table.max_file, || default.max_file),
        sender_bytes: layers.value("files.sender_bytes", None, table.sender_bytes, || default.sender_bytes),
        ..default
    }
}

pub(super) fn streams(layers: &mut Layers<'_>, table: StreamsTable) -> streams::Settings {
    let default = streams::Settings::default();
    let of_a_node = table.streams_of_a_node;
    streams::Settings {
        streams: layers.value("streams.streams", None, table.streams, || default.streams),
        streams_of_a_node: layers.value("streams.streams_of_a_node", None, of_a_node, || default.streams_of_a_node),
        processes: layers.value("streams.processes", None, table.processes, || default.processes),
        attach: table.attach,
    }
}
