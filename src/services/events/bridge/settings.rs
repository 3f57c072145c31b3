//! What the configuration says about the bridge: `[events.bridge]`.

use std::path::PathBuf;

use serde::Deserialize;

/// `[events.bridge]`: a NATS server, and what is mirrored to and from it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `nats://host:4222` or `tls://host:4222`; several are one cluster, separated by commas.
    pub url: String,
    /// A `.creds` file.
    pub credentials: Option<PathBuf>,
    /// A user, with its password.
    pub user: Option<String>,
    /// The password of `user`.
    pub password: Option<String>,
    /// A token, in place of a user.
    pub token: Option<String>,
    /// What goes to NATS.
    #[serde(default)]
    pub export: Vec<Export>,
    /// What comes from NATS.
    #[serde(default)]
    pub import: Vec<Import>,
    /// Use JetStream: what goes out is acknowledged, what comes in is not lost while this node is away.
    pub jetstream: Option<JetStream>,
    /// Events that wait while the server is away; above that the oldest are dropped and counted.
    #[serde(default = "queue")]
    pub queue: u32,
}

fn queue() -> u32 {
    65_536
}

/// `[[events.bridge.export]]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Which topics.
    pub pattern: String,
    /// What the subject has in front of the topic, for example `pilot.`.
    #[serde(default)]
    pub subject_prefix: String,
    /// Also events that peers publish, and not only those of this node.
    #[serde(default)]
    pub peers: bool,
}

/// `[[events.bridge.import]]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Which subjects, with NATS's own wildcards.
    pub subject: String,
    /// What the topic has in front of the subject, for example `nats.`.
    #[serde(default)]
    pub topic_prefix: String,
}

/// `[events.bridge.jetstream]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JetStream {
    /// The stream that takes what goes out; made, for the subjects of the exports, where it does not exist.
    pub stream: String,
}
