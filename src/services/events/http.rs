//! Events by HTTP.
//!
//! In: requests of `docs/services.md`. Out: JSON, one event a line, Server-Sent Events, or frames after an upgrade.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, Request};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::ask::{Ask, number_or_word};
use super::batch::elements;
use super::dial::PROTOCOL;
use super::event::EventView;
use super::facade::{Events, Intake, Question};
use super::feed::{self, Feed};
use super::json::{EventJson, put_json};
use super::link;
use super::speak::Style;
use super::topic::Pattern;
use crate::control::{Error, answer};
use crate::services::directory::Caller;
use crate::services::door;

/// The longest line of a body of many events.
const LONGEST_LINE: usize = 2 << 20;
/// A stream of Server-Sent Events on which nothing happens says that it is alive.
const ALIVE: Duration = Duration::from_secs(15);
/// Bytes of events that are written at once.
const AT_ONCE: usize = 64 << 10;
/// The longest wait for a reply.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

type Words = Query<Vec<(String, String)>>;

/// The paths of events.
pub(super) fn router(events: Events) -> Router {
    Router::new()
        .route("/v1/events", post(publish).get(subscribe))
        .route("/v1/events/last", get(last))
        .route("/v1/events/request", post(request))
        .route("/v1/events/link", get(upgrade))
        .layer(Extension(events))
}

async fn publish(
    Extension(events): Extension<Events>,
    Extension(caller): Extension<Caller>,
    Query(words): Words,
    request: Request,
) -> Response {
    answer(published(events, caller, words, request).await)
}

async fn published(
    events: Events,
    caller: Caller,
    words: Vec<(String, String)>,
    request: Request,
) -> Result<Value, Error> {
    let to = Receiver { node: only_node(words)?, caller, events };
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_many = kind.starts_with("application/x-ndjson");
    let intake = match is_many {
        true => many(&to, request.into_body()).await?,
        false => {
            let body = whole(request.into_body()).await?;
            let mut element = BytesMut::new();
            EventJson::parse(&body)?.put(None, &mut element)?;
            to.take(element.freeze()).await?
        }
    };
    Ok(said(&intake.outcome()?))
}

fn said(intake: &Intake) -> Value {
    let mut said = json!({"seq": intake.published.seq, "count": intake.published.count});
    if !intake.refused.is_empty() {
        said["refused_count"] = intake.refused_count.into();
        said["refused"] = intake.refused.iter().map(Error::to_json).collect();
    }
    said
}

fn only_node(words: Vec<(String, String)>) -> Result<String, Error> {
    let mut node = String::new();
    for (name, value) in words {
        match name.as_str() {
            "node" => node = value,
            _ => return Err(unknown(&name)),
        }
    }
    Ok(node)
}

fn unknown(name: &str) -> Error {
    Error::new("bad_argument", format!("there is no option {name:?}")).hint("docs/services.md lists them")
}

async fn whole(body: Body) -> Result<Bytes, Error> {
    axum::body::to_bytes(body, LONGEST_LINE).await.map_err(|error| broken_off(&error))
}

fn broken_off(error: &dyn std::error::Error) -> Error {
    Error::new("invalid_request", format!("the body broke off: {error}"))
}

/// Where published events go: here, or to one peer.
struct Receiver {
    events: Events,
    caller: Caller,
    node: String,
}

impl Receiver {
    async fn take(&self, batch: Bytes) -> Result<Intake, Error> {
        match self.events.peer(&self.caller, &self.node)? {
            None => Ok(self.events.take_in(&self.caller, elements(&batch).map(|(_, body)| body))),
            Some(peer) => {
                let (mut intake, fine) = sifted(&batch);
                if !fine.is_empty() {
                    intake.published = self.events.hand(&peer, fine).await?;
                }
                Ok(intake)
            }
        }
    }
}

/// What is wrong with events of a batch, which is said here rather than by the peer, and the others.
fn sifted(batch: &Bytes) -> (Intake, Bytes) {
    let (mut intake, mut fine) = (Intake::default(), BytesMut::new());
    for (place, body) in elements(batch) {
        match EventView::parse(body) {
            Ok(_) => fine.extend_from_slice(batch.get(place).unwrap_or_default()),
            Err(error) => intake.refuse(error),
        }
    }
    (intake, fine.freeze())
}

/// Publishes line by line as they come; what is wrong with one keeps none of the others.
async fn many(to: &Receiver, body: Body) -> Result<Intake, Error> {
    let mut chunks = body.into_data_stream();
    let (mut intake, mut buffer) = (Intake::default(), BytesMut::new());
    loop {
        let chunk = chunks.next().await.transpose().map_err(|error| broken_off(&error))?;
        let is_end = chunk.is_none();
        buffer.extend_from_slice(&chunk.unwrap_or_default());
        let end = match is_end {
            true => buffer.len(),
            false => buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1),
        };
        let lines = buffer.split_to(end);
        publish_lines(to, &lines, &mut intake).await?;
        if buffer.len() > LONGEST_LINE {
            return Err(Error::new("too_large", format!("a line is longer than {LONGEST_LINE} bytes")));
        }
        if is_end {
            return Ok(intake);
        }
    }
}

async fn publish_lines(to: &Receiver, lines: &[u8], intake: &mut Intake) -> Result<(), Error> {
    let mut batch = BytesMut::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace)) {
        if let Err(error) = EventJson::parse(line).and_then(|event| event.put(None, &mut batch)) {
            intake.refuse(error);
        }
    }
    if !batch.is_empty() {
        intake.add(to.take(batch.freeze()).await?);
    }
    Ok(())
}

async fn subscribe(
    Extension(events): Extension<Events>,
    Extension(caller): Extension<Caller>,
    Query(words): Words,
    headers: HeaderMap,
) -> Response {
    followed(&events, &caller, words, &headers).unwrap_or_else(|error| answer(Err(error)))
}

fn followed(
    events: &Events,
    caller: &Caller,
    words: Vec<(String, String)>,
    headers: &HeaderMap,
) -> Result<Response, Error> {
    let (mut ask, others) = Ask::of_words(words.into_iter())?;
    let mut left = u64::MAX;
    for (name, value) in others {
        match name.as_str() {
            "count" => left = number_or_word(&name, &value)?,
            _ => return Err(unknown(&name)),
        }
    }
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let is_server_sent = text(header::ACCEPT).is_some_and(|accept| accept.contains("text/event-stream"));
    // A number means something only where all events are of one publisher.
    if caller.member().id != events.me() || !ask.node.is_empty() {
        let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
        ask.since_seq = last.or(ask.since_seq);
    }
    let feed = events.subscribe(caller, &ask)?;
    let style = if is_server_sent { Style::ServerSent } else { Style::Lines };
    let kind = if is_server_sent { "text/event-stream" } else { "application/x-ndjson" };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(text_of(feed, style, left))).into_response())
}

fn text_of(feed: Feed, style: Style, left: u64) -> impl stream::Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold((feed, left), move |(feed, mut left)| async move {
        if left == 0 {
            return None;
        }
        let taken = match style {
            Style::Lines => Ok(feed.take(AT_ONCE).await),
            Style::ServerSent => timeout(ALIVE, feed.take(AT_ONCE)).await,
        };
        let text = match taken {
            Err(_) => b":\n\n".to_vec(),
            Ok(Ok(segments)) => {
                let mut text = Vec::with_capacity(segments.iter().map(|segment| 2 * segment.bytes.len()).sum());
                segments.iter().for_each(|segment| style.put(segment, &mut left, &mut text));
                text
            }
            Ok(Err(ended)) => {
                left = 0;
                style.ended(&feed::ended(ended)).into_bytes()
            }
        };
        Some((Ok(text.into()), (feed, left)))
    })
}

async fn last(Extension(events): Extension<Events>, Query(words): Words) -> Response {
    let mut patterns = words.iter().filter(|(name, _)| name == "pattern").map(|(_, value)| Pattern::parse(value));
    let batch = match patterns.next() {
        Some(Ok(pattern)) => events.last(&pattern),
        Some(Err(error)) => return answer(Err(error)),
        None => return answer(Err(Error::new("bad_argument", "`pattern` is missing").hint("pattern=* is all"))),
    };
    let mut text = b"{\"events\":[".to_vec();
    for (index, event) in elements(&batch).filter_map(|(_, body)| EventView::parse(body).ok()).enumerate() {
        if index > 0 {
            text.push(b',');
        }
        put_json(&event, &mut text);
    }
    text.extend_from_slice(b"]}");
    verbatim(&text)
}

/// An answer with data that is passed on to the letter.
fn verbatim(data: &[u8]) -> Response {
    let body = [b"{\"status\":\"ok\",\"data\":", data, b"}"].concat();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn request(
    Extension(events): Extension<Events>,
    Extension(caller): Extension<Caller>,
    Query(words): Words,
    request: Request,
) -> Response {
    match replied(&events, &caller, words, request).await {
        Ok(text) => verbatim(&text),
        Err(error) => answer(Err(error)),
    }
}

async fn replied(
    events: &Events,
    caller: &Caller,
    words: Vec<(String, String)>,
    request: Request,
) -> Result<Vec<u8>, Error> {
    let node = only_node(words)?;
    let body = whole(request.into_body()).await?;
    let event = EventJson::parse(&body)?;
    let reply_to = events.reply_topic()?;
    let mut element = BytesMut::new();
    event.put(Some(&reply_to), &mut element)?;
    let patience = Duration::from_millis(event.timeout_ms.unwrap_or(5_000)).min(LONGEST_WAIT);
    let question = Question { element: element.freeze(), reply_to: &reply_to, node: &node, patience };
    let reply = events.request(caller, question).await?;
    let mut text = Vec::new();
    put_json(&EventView::parse(&reply)?, &mut text);
    Ok(text)
}

async fn upgrade(
    Extension(events): Extension<Events>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    let (response, upgraded) = match door::upgrade(&mut parts, PROTOCOL) {
        Ok(both) => both,
        Err(error) => return answer(Err(error)),
    };
    tokio::spawn(async move {
        if let Ok(stream) = upgraded.await {
            let conversation = Arc::new(link::Conversation::new(events, caller));
            // Whatever ends a connection, there is nobody left to tell.
            let _ = link::serve_frames(conversation, hyper_util::rt::TokioIo::new(stream)).await;
        }
    });
    response
}
