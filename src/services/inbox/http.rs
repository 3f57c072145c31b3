//! The inbox over HTTP.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query as UrlQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::follow::bounded;
use super::message::{Letter, MessageView};
use super::receive::Receipt;
use super::{Inbox, Sent, refusal};
use crate::control::Error;
use crate::services::directory::Caller;
use crate::services::reply::{reply, stream};
use crate::services::time::rfc3339;
use crate::store::inbox::{Chosen, Query, Waiting};

/// How long `send` waits for the delivery, if nothing else is said, milliseconds.
const DEFAULT_WAIT: u64 = 2_000;
/// How long it waits at most.
const LONGEST_WAIT: u64 = 600_000;
/// Messages of the outbox that are listed at most.
const LISTED: u32 = 10_000;

pub fn router(inbox: Inbox) -> Router {
    Router::new()
        .route("/v1/messages", post(async |who, inbox, body| reply(deliver(who, inbox, body).await)))
        .route("/v1/messages/send", post(async |who, inbox, body| reply(send(who, inbox, body).await)))
        .route("/v1/inbox", get(async |who, inbox, fields| reply(list(who, inbox, fields).await)))
        .route("/v1/inbox/follow", get(follow))
        .route("/v1/inbox/ack", post(async |who, inbox, body| reply(ack(who, inbox, body).await)))
        .route("/v1/inbox/clear", post(async |who, inbox, body| reply(clear(who, inbox, body).await)))
        .route("/v1/outbox", get(async |who, inbox, fields| reply(outbox(who, inbox, fields).await)))
        .route("/v1/outbox/cancel", post(async |who, inbox, body| reply(cancel(who, inbox, body).await)))
        .with_state(inbox)
}

type Who = Extension<Caller>;
type Here = State<Inbox>;
type Fields = UrlQuery<Vec<(String, String)>>;

async fn deliver(Extension(who): Who, State(inbox): Here, body: Bytes) -> Result<Receipt, Error> {
    let draft = Letter::parse(&body)?.draft(inbox.settings.max_message)?;
    inbox.deliver(who.member(), draft).await
}

async fn send(Extension(who): Who, State(inbox): Here, body: Bytes) -> Result<Sent, Error> {
    who.require_local()?;
    let letter = Letter::parse(&body)?;
    let to = inbox.directory.find(&letter.node)?;
    let draft = letter.draft(inbox.settings.max_message)?;
    let wait = Duration::from_millis(letter.wait_ms.unwrap_or(DEFAULT_WAIT).min(LONGEST_WAIT));
    inbox.send(&to, draft, letter.expires_secs, wait).await
}

#[derive(Serialize)]
struct Messages<T> {
    messages: Vec<T>,
}

async fn list(
    Extension(who): Who,
    State(inbox): Here,
    UrlQuery(fields): Fields,
) -> Result<Messages<MessageView>, Error> {
    who.require_local()?;
    let found = inbox.list(query(&inbox, &fields)?).await?;
    let roster = inbox.directory.roster();
    Ok(Messages { messages: found.iter().map(|message| MessageView::new(message, &roster)).collect() })
}

async fn follow(Extension(who): Who, State(inbox): Here, UrlQuery(fields): Fields, headers: HeaderMap) -> Response {
    match who.require_local().and_then(|()| query(&inbox, &fields)) {
        Ok(mut query) => {
            // Who comes back names the last event that it saw.
            let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
            query.after = query.after.max(last.unwrap_or(0));
            let messages = inbox.follow(query);
            stream(&headers, messages.map(move |message| message.and_then(|message| inbox.item(&message))))
        }
        Err(error) => reply(Err::<(), _>(error)),
    }
}

fn query(inbox: &Inbox, fields: &[(String, String)]) -> Result<Query, Error> {
    let mut query = Query::default();
    for (name, value) in fields {
        match name.as_str() {
            "from" => query.from = Some(inbox.sender(value)?),
            "type" => query.kind = Some(value.parse().map_err(|error| wrong(name, value, &error))?),
            "after" => query.after = value.parse().map_err(|error| wrong(name, value, &error))?,
            "unread" => query.unread = value.parse().map_err(|error| wrong(name, value, &error))?,
            "limit" => query.limit = page(value)?,
            "id" => query.ids.push(value.clone()),
            _ => return Err(Error::new("invalid_request", format!("there is no option {name:?}"))),
        }
    }
    bounded(&query.ids)?;
    Ok(query)
}

/// More in one answer would not be bounded.
fn page(value: &str) -> Result<usize, Error> {
    let limit = value.parse().map_err(|error| wrong("limit", value, &error))?;
    if limit <= super::follow::PAGE {
        return Ok(limit);
    }
    Err(wrong("limit", value, &format!("at most {}", super::follow::PAGE))
        .hint("go on with after=SEQ, the place of the last one"))
}

fn wrong(name: &str, value: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new("bad_argument", format!("{name}={value}: {error}"))
}

#[derive(Serialize)]
struct Count {
    count: u64,
}

#[derive(Deserialize)]
struct Ids {
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    read: bool,
    #[serde(default)]
    all: bool,
}

impl Ids {
    fn parse(body: &[u8]) -> Result<Ids, Error> {
        serde_json::from_slice(body)
            .map_err(|error| Error::new("invalid_request", format!("the body: {error}")).hint(r#"write {"ids":["…"]}"#))
    }

    fn chosen(self) -> Result<Chosen, Error> {
        match self {
            Ids { all: true, .. } => Ok(Chosen::All),
            Ids { read: true, .. } => Ok(Chosen::Read),
            Ids { ids, .. } if !ids.is_empty() => Ok(Chosen::Ids(ids)),
            Ids { .. } => Err(Error::new("invalid_request", "nothing is named to be cleared")
                .hint(r#"write {"ids":["…"]}, {"read":true} or {"all":true}"#)),
        }
    }
}

async fn ack(Extension(who): Who, State(inbox): Here, body: Bytes) -> Result<Count, Error> {
    who.require_local()?;
    Ok(Count { count: inbox.acknowledge(Ids::parse(&body)?.ids).await? })
}

async fn clear(Extension(who): Who, State(inbox): Here, body: Bytes) -> Result<Count, Error> {
    who.require_local()?;
    Ok(Count { count: inbox.clear(Ids::parse(&body)?.chosen()?).await? })
}

#[derive(Serialize)]
struct OutgoingView {
    id: String,
    to: String,
    to_name: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    size: u64,
    sent: String,
    expires: String,
    attempts: u32,
    problem: Option<String>,
    given_up: bool,
}

async fn outbox(
    Extension(who): Who,
    State(inbox): Here,
    UrlQuery(fields): Fields,
) -> Result<Messages<OutgoingView>, Error> {
    who.require_local()?;
    let node = fields.iter().find(|(name, _)| name == "node").map(|(_, value)| value.as_str());
    let waiting = inbox.outgoing(node).await?;
    Ok(Messages { messages: waiting.into_iter().map(|message| inbox.outgoing_view(message)).collect() })
}

async fn cancel(Extension(who): Who, State(inbox): Here, body: Bytes) -> Result<Count, Error> {
    who.require_local()?;
    Ok(Count { count: inbox.cancel(Ids::parse(&body)?.ids).await? })
}

impl Inbox {
    /// The key of a sender: of a node that is trusted now.
    pub(super) fn sender(&self, node: &str) -> Result<crate::identity::PublicKey, Error> {
        Ok(self.directory.find(node)?.key)
    }

    /// What waits in the outbox, oldest first.
    pub(super) async fn outgoing(&self, node: Option<&str>) -> Result<Vec<Waiting>, Error> {
        let receiver = node.map(|node| self.sender(node)).transpose()?;
        let listed = self.store.read(move |connection| Waiting::list(connection, receiver.as_ref(), LISTED)).await;
        listed.map_err(|fault| refusal(&fault))
    }

    /// Removes messages from the outbox; gives how many. One that is on its way may still arrive.
    ///
    /// # Errors
    /// The database fails.
    pub async fn cancel(&self, ids: Vec<String>) -> Result<u64, Error> {
        bounded(&ids)?;
        self.store.write(0, move |batch| batch.cancel(&ids)).await.map_err(|fault| refusal(&fault))
    }

    fn outgoing_view(&self, message: Waiting) -> OutgoingView {
        let roster = self.directory.roster();
        let member = roster.member(message.node).filter(|member| member.key == message.receiver);
        OutgoingView {
            to_name: member.and_then(|member| member.hostname.as_ref()).map(ToString::to_string),
            id: message.id,
            to: message.node.to_string(),
            kind: message.kind.as_str(),
            size: message.size,
            sent: rfc3339(message.created),
            expires: rfc3339(message.expires),
            attempts: message.attempts,
            problem: Some(message.problem).filter(|problem| !problem.is_empty()),
            given_up: message.is_given_up,
        }
    }
}
