//! Events by gRPC: the service `pilot.v1.Events`.
//!
//! In and out: messages as bytes. Batches of events pass through as they lie; nothing is encoded for a second caller.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use prost::Message;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status};
use tower::Service;

use super::ask::Ask;
use super::batch::refused;
use super::bus::Published;
use super::event::EventView;
use super::facade::{Events, Intake, Question};
use super::feed;
use super::link::Conversation;
use super::topic::Pattern;
use super::wire::{Fields, Value, put_bytes};
use crate::control::Error;
use crate::services::api;
use crate::services::directory::Caller;
use crate::services::door::status;

/// Bytes of events that are taken at once.
const AT_ONCE: usize = 256 << 10;
/// The longest message.
const LONGEST: usize = 4 << 20;

/// Messages as bytes, both ways.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(input.copy_to_bytes(input.remaining())))
    }
}

/// The service.
#[derive(Clone)]
pub(super) struct EventsService {
    pub events: Events,
}

impl NamedService for EventsService {
    const NAME: &'static str = "pilot.v1.Events";
}

type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;
type Batches = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl Service<http::Request<Body>> for EventsService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answering {
        let events = self.events.clone();
        Box::pin(async move { Ok(answer(events, request).await) })
    }
}

/// Calls one method: what it does is written as a function of the events, the caller and the message.
macro_rules! method {
    ($kind:ident, $events:ident, $request:ident, $method:path) => {{
        let service = tower::service_fn(move |request: Request<_>| {
            let events = $events.clone();
            async move {
                let caller = caller(&request)?;
                $method(events, caller, request.into_inner()).await.map(Response::new)
            }
        });
        Grpc::new(Raw).apply_max_message_size_config(Some(LONGEST), None).$kind(service, $request).await
    }};
}

async fn answer(events: Events, request: http::Request<Body>) -> http::Response<Body> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    match method.as_str() {
        "Publish" => method!(unary, events, request, publish),
        "PublishStream" => method!(client_streaming, events, request, publish_stream),
        "Subscribe" => method!(server_streaming, events, request, subscribe),
        "Last" => method!(unary, events, request, last),
        "Request" => method!(unary, events, request, ask),
        "Link" => method!(streaming, events, request, link),
        _ => Status::unimplemented(format!("pilot.v1.Events has no method {method}")).into_http(),
    }
}

fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| Status::permission_denied("who calls is not known"))
}

fn said(error: Error) -> Status {
    status(&error)
}

/// The event of a request, as it lies in field 1, and the request without it.
fn apart(message: &Bytes) -> Result<(Bytes, Bytes), Status> {
    let (mut element, mut rest) = (Bytes::new(), BytesMut::new());
    for field in Fields::of(message) {
        let field = field.map_err(|error| said(error.into()))?;
        match (field.number, field.value) {
            (1, Value::Bytes(_)) => element = message.slice_ref(field.whole),
            _ => rest.extend_from_slice(field.whole),
        }
    }
    match element.is_empty() {
        true => Err(said(Error::new("bad_argument", "the request has no event").hint("set `event`"))),
        false => Ok((element, rest.freeze())),
    }
}

fn undecoded(error: prost::DecodeError) -> Status {
    Status::invalid_argument(format!("not understood: {error}"))
}

async fn publish(events: Events, caller: Caller, message: Bytes) -> Result<Bytes, Status> {
    let (element, rest) = apart(&message)?;
    let node = api::PublishRequest::decode(rest).map_err(undecoded)?.node;
    let published = match events.peer(&caller, &node).map_err(said)? {
        None => events.publish_one(&caller, &element),
        Some(peer) => events.hand(&peer, element).await,
    };
    published.map(|published| encoded(Intake { published, ..Intake::default() })).map_err(said)
}

fn encoded(intake: Intake) -> Bytes {
    let Published { seq, count } = intake.published;
    let refusal = |error: Error| api::Refusal { code: error.code, message: error.message, hint: error.hint };
    let refusals = intake.refused.into_iter().map(refusal).collect();
    api::Published { seq, count, refused: intake.refused_count, refusals }.encode_to_vec().into()
}

async fn publish_stream(events: Events, caller: Caller, mut batches: Streaming<Bytes>) -> Result<Bytes, Status> {
    let mut intake = Intake::default();
    while let Some(batch) = batches.message().await? {
        let mut bodies = Vec::new();
        for field in Fields::of(&batch) {
            if let (1, Value::Bytes(body)) =
                field.map(|field| (field.number, field.value)).map_err(|e| said(e.into()))?
            {
                bodies.push(body);
            }
        }
        intake.add(events.take_in(&caller, bodies.into_iter()));
    }
    intake.outcome().map(encoded).map_err(said)
}

async fn subscribe(events: Events, caller: Caller, message: Bytes) -> Result<Batches, Status> {
    let request = api::SubscribeRequest::decode(message).map_err(undecoded)?;
    let feed = events.subscribe(&caller, &Ask::of(&request).map_err(said)?).map_err(said)?;
    let segments = stream::unfold(Some(feed), |feed| async move {
        let feed = feed?;
        Some(match feed.take(AT_ONCE).await {
            Ok(segments) => {
                let batches: Vec<_> = segments.into_iter().map(|segment| Ok(segment.into_batch())).collect();
                (stream::iter(batches), Some(feed))
            }
            Err(ended) => (stream::iter(vec![Err(said(feed::ended(ended)))]), None),
        })
    });
    Ok(Box::pin(segments.flatten()))
}

async fn last(events: Events, _caller: Caller, message: Bytes) -> Result<Bytes, Status> {
    let request = api::LastRequest::decode(message).map_err(undecoded)?;
    Ok(events.last(&Pattern::parse(&request.pattern).map_err(said)?))
}

async fn ask(events: Events, caller: Caller, message: Bytes) -> Result<Bytes, Status> {
    let (element, rest) = apart(&message)?;
    let request = api::EventRequest::decode(rest).map_err(undecoded)?;
    let reply_to = events.reply_topic().map_err(said)?;
    let element = with_reply_to(&element, &reply_to)?;
    let millis = if request.timeout_millis == 0 { 5_000 } else { request.timeout_millis.min(3_600_000) };
    let patience = Duration::from_millis(millis);
    let question = Question { element, reply_to: &reply_to, node: &request.node, patience };
    events.request(&caller, question).await.map_err(said)
}

/// The same event, with the topic of the reply in place of whatever it had.
fn with_reply_to(element: &Bytes, reply_to: &str) -> Result<Bytes, Status> {
    let mut body = BytesMut::new();
    for (_, event) in super::batch::elements(element) {
        EventView::parse(event).map_err(said)?;
        let fields = Fields::of(event).map_while(Result::ok).filter(|field| field.number != 5);
        fields.for_each(|field| body.extend_from_slice(field.whole));
    }
    put_bytes(&mut body, 5, reply_to.as_bytes());
    let mut out = BytesMut::new();
    put_bytes(&mut out, 1, &body);
    Ok(out.freeze())
}

async fn link(events: Events, caller: Caller, requests: Streaming<Bytes>) -> Result<Batches, Status> {
    let conversation = Arc::new(Conversation::new(events, caller));
    let mut reading = JoinSet::new();
    reading.spawn(read(conversation.clone(), requests));
    let segments = stream::unfold(Some((conversation, reading)), |talk| async move {
        let (conversation, mut reading) = talk?;
        let next = tokio::select! {
            next = conversation.next() => next.map(|segments| (segments, true)),
            _ = reading.join_next() => Ok((conversation.rest(), false)),
        };
        Some(match next {
            Ok((segments, goes_on)) => {
                let batches: Vec<_> = segments.into_iter().map(|segment| Ok(segment.into_batch())).collect();
                (stream::iter(batches), goes_on.then_some((conversation, reading)))
            }
            Err(error) => (stream::iter(vec![Ok(refused(&error)), Err(said(error))]), None),
        })
    });
    Ok(Box::pin(segments.flatten()))
}

/// Takes requests until there are no more, or one is none.
async fn read(conversation: Arc<Conversation>, mut requests: Streaming<Bytes>) {
    while let Ok(Some(request)) = requests.message().await {
        if conversation.take(&[request]).is_err() {
            return;
        }
        conversation.has_room().await;
    }
}
