//! The inbox over gRPC.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt, stream};
use tonic::{Request, Response, Status, Streaming};

use super::follow::bounded;
use super::message::Draft;
use super::receive::Receipt;
use super::refusal::{is_lasting, to_api};
use super::{Inbox, State};
use crate::control::Error;
use crate::services::api;
use crate::services::api::inbox_server::InboxServer;
use crate::services::directory::{Caller, Member};
use crate::services::door::status;
use crate::store::inbox::{Chosen, Query, StoredMessage};

/// Messages of a stream that become one transaction, where they have come already.
const TOGETHER: usize = 256;
/// Bytes of them.
const TOGETHER_BYTES: usize = 4 << 20;
/// Room for what is not the data of a message.
const ENVELOPE: usize = 64 << 10;

pub fn service(inbox: Inbox) -> InboxServer<Service> {
    let longest = inbox.settings.max_message + ENVELOPE;
    InboxServer::new(Service(inbox)).max_decoding_message_size(longest)
}

/// The methods of `pilot.v1.Inbox`.
pub struct Service(Inbox);

fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    request.extensions().get().cloned().ok_or_else(|| Status::permission_denied("nobody knows who calls"))
}

fn local<T>(request: &Request<T>) -> Result<(), Status> {
    caller(request)?.require_local().map_err(|error| status(&error))
}

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl api::inbox_server::Inbox for Service {
    type DeliverStreamStream = Boxed<api::Receipt>;
    type FollowStream = Boxed<api::Message>;

    async fn deliver(&self, request: Request<api::Message>) -> Result<Response<api::Receipt>, Status> {
        let member = caller(&request)?.member().clone();
        let message = request.into_inner();
        let id = message.id.clone();
        let receipt = match draft(&self.0, message) {
            Ok(draft) => self.0.deliver(&member, draft).await,
            Err(error) => Err(error),
        };
        receipt.map(|receipt| Response::new(receipt_of(id, Ok(receipt)))).map_err(|error| status(&error))
    }

    async fn deliver_stream(
        &self,
        request: Request<Streaming<api::Message>>,
    ) -> Result<Response<Self::DeliverStreamStream>, Status> {
        let sender = caller(&request)?.member().clone();
        let taking = Taking { inbox: self.0.clone(), sender, messages: request.into_inner(), is_over: false };
        let receipts = stream::unfold(taking, async |mut taking| Some((taking.next().await?, taking)));
        Ok(Response::new(Box::pin(receipts.flat_map(stream::iter))))
    }

    async fn send(&self, request: Request<api::SendRequest>) -> Result<Response<api::Sent>, Status> {
        local(&request)?;
        let sent = send(&self.0, request.into_inner()).await.map_err(|error| status(&error))?;
        Ok(Response::new(sent))
    }

    async fn list(&self, request: Request<api::InboxQuery>) -> Result<Response<api::MessageList>, Status> {
        local(&request)?;
        let query = query(&self.0, request.into_inner()).map_err(|error| status(&error))?;
        let found = self.0.list(query).await.map_err(|error| status(&error))?;
        Ok(Response::new(api::MessageList { messages: found.into_iter().map(message).collect() }))
    }

    async fn follow(&self, request: Request<api::InboxQuery>) -> Result<Response<Self::FollowStream>, Status> {
        local(&request)?;
        let query = query(&self.0, request.into_inner()).map_err(|error| status(&error))?;
        let found = self.0.follow(query).map(|found| found.map(message).map_err(|error| status(&error)));
        Ok(Response::new(Box::pin(found)))
    }

    async fn acknowledge(&self, request: Request<api::MessageIds>) -> Result<Response<api::Count>, Status> {
        local(&request)?;
        let count = self.0.acknowledge(request.into_inner().ids).await.map_err(|error| status(&error))?;
        Ok(Response::new(api::Count { count }))
    }

    async fn clear(&self, request: Request<api::InboxQuery>) -> Result<Response<api::Count>, Status> {
        local(&request)?;
        let count = clear(&self.0, request.into_inner()).await.map_err(|error| status(&error))?;
        Ok(Response::new(api::Count { count }))
    }

    async fn outbox(&self, request: Request<api::OutboxQuery>) -> Result<Response<api::OutboxList>, Status> {
        local(&request)?;
        let node = request.into_inner().node;
        let waiting = self.0.outgoing(Some(node.as_str()).filter(|node| !node.is_empty())).await;
        let messages = waiting.map_err(|error| status(&error))?.into_iter().map(|message| api::OutgoingMessage {
            id: message.id,
            to: message.node.to_string(),
            r#type: message.kind.as_str().to_owned(),
            size: message.size,
            sent_unix_millis: message.created,
            expires_unix_millis: message.expires,
            attempts: message.attempts,
            problem: message.problem,
        });
        Ok(Response::new(api::OutboxList { messages: messages.collect() }))
    }
}

/// A stream of deliveries: what has come becomes one transaction, its receipts go, and the next is taken.
struct Taking {
    inbox: Inbox,
    sender: std::sync::Arc<Member>,
    messages: Streaming<api::Message>,
    is_over: bool,
}

impl Taking {
    /// The next receipts. A message that is refused for now ends the stream, so that those behind it come again in
    /// their order.
    async fn next(&mut self) -> Option<Vec<Result<api::Receipt, Status>>> {
        if self.is_over {
            return None;
        }
        let messages = match self.gather().await? {
            Ok(messages) => messages,
            Err(broken) => {
                self.is_over = true;
                return Some(vec![Err(broken)]);
            }
        };
        let ids: Vec<String> = messages.iter().map(|message| message.id.clone()).collect();
        let drafts = messages.into_iter().map(|message| draft(&self.inbox, message)).collect();
        let answers = self.inbox.deliver_all(&self.sender, drafts).await;
        self.is_over = answers.iter().flat_map(|answer| answer.as_ref().err()).any(|error| !is_lasting(&error.code));
        Some(ids.into_iter().zip(answers).map(|(id, answer)| Ok(receipt_of(id, answer))).collect())
    }

    async fn gather(&mut self) -> Option<Result<Vec<api::Message>, Status>> {
        let first = match self.messages.next().await? {
            Ok(first) => first,
            Err(broken) => return Some(Err(broken)),
        };
        let mut bytes = first.data.len();
        let mut gathered = vec![first];
        while gathered.len() < TOGETHER && bytes < TOGETHER_BYTES {
            // An error comes again as the first of the next.
            let Some(Some(Ok(message))) = self.messages.next().now_or_never() else { break };
            bytes += message.data.len();
            gathered.push(message);
        }
        Some(Ok(gathered))
    }
}

fn draft(inbox: &Inbox, message: api::Message) -> Result<Draft, Error> {
    Draft::new(&message.id, &message.r#type, message.data, message.sent_unix_millis, inbox.settings.max_message)
}

fn receipt_of(id: String, answer: Result<Receipt, Error>) -> api::Receipt {
    match answer {
        Ok(receipt) => api::Receipt { id: receipt.id, duplicate: receipt.duplicate, refused: None },
        Err(error) => api::Receipt { id, duplicate: false, refused: Some(to_api(error)) },
    }
}

async fn send(inbox: &Inbox, request: api::SendRequest) -> Result<api::Sent, Error> {
    let to = inbox.directory.find(&request.node)?;
    let message = request.message.ok_or_else(|| Error::new("invalid_request", "there is no message"))?;
    let draft = draft(inbox, message)?;
    let sent = inbox.send(&to, draft, request.expires_secs, Duration::from_millis(request.wait_millis)).await?;
    let state = match sent.state {
        State::Delivered => "delivered",
        State::Queued => "queued",
    };
    Ok(api::Sent { id: sent.id, state: state.to_owned() })
}

fn query(inbox: &Inbox, asked: api::InboxQuery) -> Result<Query, Error> {
    bounded(&asked.ids)?;
    let named = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let kind = named(&asked.r#type).map(|kind| kind.parse()).transpose();
    Ok(Query {
        from: named(&asked.from).map(|from| inbox.sender(&from)).transpose()?,
        kind: kind.map_err(|error| Error::new("bad_argument", format!("type {:?}: {error}", asked.r#type)))?,
        after: asked.after_seq,
        unread: asked.unread,
        ids: asked.ids,
        limit: asked.limit as usize,
        bytes: 0,
    })
}

/// Clears what matches, a page at a time.
async fn clear(inbox: &Inbox, asked: api::InboxQuery) -> Result<u64, Error> {
    if asked == api::InboxQuery::default() {
        return inbox.clear(Chosen::All).await;
    }
    let mut left = if asked.limit == 0 { usize::MAX } else { asked.limit as usize };
    let query = query(inbox, asked)?;
    let mut count = 0;
    while left > 0 {
        let page = Query { limit: left.min(super::follow::PAGE), ..query.clone() };
        let places: Vec<u64> = inbox.list(page).await?.iter().map(|message| message.seq).collect();
        if places.is_empty() {
            break;
        }
        left = left.saturating_sub(places.len());
        count += inbox.clear(Chosen::Places(places)).await?;
    }
    Ok(count)
}

fn message(stored: StoredMessage) -> api::Message {
    api::Message {
        id: stored.id,
        r#type: stored.kind.as_str().to_owned(),
        data: stored.data,
        sent_unix_millis: stored.sent,
        from: stored.node.to_string(),
        seq: stored.seq,
        received_unix_millis: stored.received,
        read: stored.is_read,
    }
}
