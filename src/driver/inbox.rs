//! The inbox of this node: list, follow, acknowledge, clear.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::messages::Received;
use crate::control::{Client, Error, Lines, query};

/// The durable inbox.
#[derive(Clone, Debug)]
pub struct Inbox {
    client: Client,
}

/// Which messages: `Which::all().unread().from("alpha")`.
#[derive(Clone, Debug, Default)]
pub struct Which {
    fields: Vec<(&'static str, String)>,
}

impl Which {
    /// Every message.
    pub fn all() -> Which {
        Which::default()
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Which {
        self.fields.push((name, value.into()));
        self
    }

    /// Only from this node.
    pub fn from(self, node: impl Into<String>) -> Which {
        self.with("from", node)
    }

    /// Only of this type: `text`, `json`, `binary`, `task` or `file`.
    pub fn of_type(self, kind: impl Into<String>) -> Which {
        self.with("type", kind)
    }

    /// Only those that are not acknowledged.
    pub fn unread(self) -> Which {
        self.with("unread", "true")
    }

    /// Only those after this place, [`Received::seq`].
    pub fn after(self, seq: u64) -> Which {
        self.with("after", seq.to_string())
    }

    /// At most this many.
    pub fn limit(self, count: u32) -> Which {
        self.with("limit", count.to_string())
    }
}

#[derive(Deserialize)]
struct Listed {
    messages: Vec<Received>,
}

#[derive(Deserialize)]
struct Counted {
    count: u64,
}

impl Inbox {
    pub(super) fn new(client: Client) -> Inbox {
        Inbox { client }
    }

    /// The messages that match, oldest first.
    ///
    /// # Errors
    /// The daemon's refusal; `daemon_not_running` or `permission_denied`.
    pub async fn list(&self, which: Which) -> Result<Vec<Received>, Error> {
        let data = self.client.get_raw(&format!("/v1/inbox{}", query(which.fields))).await?;
        Ok(read::<Listed>(data.get().as_bytes())?.messages)
    }

    /// The messages that match, and then each new one as it comes.
    ///
    /// # Errors
    /// As [`Inbox::list`].
    pub async fn follow(&self, which: Which) -> Result<Follow, Error> {
        let lines = self.client.lines(&format!("/v1/inbox/follow{}", query(which.fields))).await?;
        Ok(Follow { lines })
    }

    /// Acknowledges messages: they are read. Gives how many were not before.
    ///
    /// # Errors
    /// As [`Inbox::list`].
    pub async fn acknowledge<S: AsRef<str>>(&self, ids: impl IntoIterator<Item = S>) -> Result<u64, Error> {
        self.change("ack", &json!({"ids": texts(ids)})).await
    }

    /// Removes messages for good. Gives how many.
    ///
    /// # Errors
    /// As [`Inbox::list`].
    pub async fn clear<S: AsRef<str>>(&self, ids: impl IntoIterator<Item = S>) -> Result<u64, Error> {
        self.change("clear", &json!({"ids": texts(ids)})).await
    }

    /// Removes all messages that were acknowledged. Gives how many.
    ///
    /// # Errors
    /// As [`Inbox::list`].
    pub async fn clear_read(&self) -> Result<u64, Error> {
        self.change("clear", &json!({"read": true})).await
    }

    async fn change(&self, verb: &str, body: &Value) -> Result<u64, Error> {
        let data = self.client.post_raw(&format!("/v1/inbox/{verb}"), body.to_string()).await?;
        Ok(read::<Counted>(data.get().as_bytes())?.count)
    }
}

fn texts<S: AsRef<str>>(ids: impl IntoIterator<Item = S>) -> Vec<String> {
    ids.into_iter().map(|id| id.as_ref().to_owned()).collect()
}

/// Reads an answer of the daemon.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::new("internal", format!("the daemon's answer is not understood: {error}"))
            .hint("are this program and pilotd of the same version?")
    })
}

/// Messages, as they come.
#[derive(Debug)]
pub struct Follow {
    lines: Lines,
}

impl Follow {
    /// The next message; none when the daemon has ended. Cancel safe.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Result<Option<Received>, Error> {
        match self.lines.next().await? {
            Some(line) => read(&line).map(Some),
            None => Ok(None),
        }
    }

    /// The next message; none when none has come in time.
    ///
    /// # Errors
    /// As [`Follow::next`].
    pub async fn next_within(&mut self, patience: Duration) -> Result<Option<Received>, Error> {
        tokio::time::timeout(patience, self.next()).await.unwrap_or(Ok(None))
    }
}
