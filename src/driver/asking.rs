//! Request and reply: the node asks for us, and waits.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Endpoint, Uri};

use super::draft::Draft;
use super::event::{Batch, Event};
use super::events::Events;
use super::route::Route;
use crate::control::Error;
use crate::services::api::events_client::EventsClient;
use crate::services::api::{EventBatch, EventRequest};

/// What the connection may take beside the wait for the reply.
const MARGIN: Duration = Duration::from_secs(5);

/// Publishes `draft` and gives the first reply to it.
pub(super) async fn ask(events: &Events, draft: Draft<'_>, patience: Duration) -> Result<Event, Error> {
    draft.checked_length()?;
    let timeout_millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX).max(1);
    let request = EventRequest { event: Some(draft.into_message()), node: String::new(), timeout_millis };
    let asking = async {
        let channel = channel(events.route()).await?;
        EventsClient::new(channel).request(request).await.map_err(|status| error(&status))
    };
    let answer = tokio::time::timeout(patience.saturating_add(MARGIN), asking).await;
    let reply = answer.map_err(|_| Error::new("timeout", format!("no reply within {patience:?}")))??.into_inner();
    Ok(as_event(events, reply))
}

fn as_event(events: &Events, event: crate::services::api::Event) -> Event {
    let length = u32::try_from(event.encoded_len()).unwrap_or(u32::MAX);
    let bytes = EventBatch { events: vec![event], ..EventBatch::default() }.encode_to_vec();
    let end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let batch = Batch { bytes: bytes.into(), events: events.clone() };
    Event::new(Arc::new(batch), end.saturating_sub(length)..end, 0)
}

async fn channel(route: &Route) -> Result<Channel, Error> {
    let connecting = match route.clone() {
        Route::Local(socket) => {
            let connect = move |_: Uri| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            };
            Endpoint::from_static("http://pilotd").connect_with_connector(tower::service_fn(connect)).await
        }
        Route::Overlay(address) => {
            let connect = move |_: Uri| async move { TcpStream::connect(address).await.map(TokioIo::new) };
            Endpoint::from_static("http://node").connect_with_connector(tower::service_fn(connect)).await
        }
    };
    connecting.map_err(|error| route.unreachable(&std::io::Error::other(error.to_string())))
}

/// A refusal that came by gRPC.
fn error(status: &tonic::Status) -> Error {
    let text = |name: &str| status.metadata().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let code = text("pilot-code").unwrap_or_else(|| match status.code() {
        tonic::Code::DeadlineExceeded => "timeout".to_owned(),
        tonic::Code::Unavailable => "unreachable".to_owned(),
        _ => "internal".to_owned(),
    });
    Error::new(&code, status.message()).hint(text("pilot-hint").unwrap_or_default())
}
