//! Answers over HTTP: one envelope, or a stream of JSON texts.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use serde::Serialize;

use crate::control::{Error, answer};

/// `{"status":"ok","data":…}` with the JSON of `data` to the letter, or the refusal.
pub fn reply(outcome: Result<impl Serialize, Error>) -> Response {
    #[derive(Serialize)]
    struct Envelope<T> {
        status: &'static str,
        data: T,
    }
    let written = outcome.and_then(|data| {
        serde_json::to_vec(&Envelope { status: "ok", data }).map_err(|error| Error::new("internal", error.to_string()))
    });
    match written {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => answer(Err(error)),
    }
}

/// One item of a stream: its JSON without line ends, and its place for those who come back.
pub struct Item {
    /// The JSON.
    pub json: Bytes,
    /// Its number; 0 for none.
    pub seq: u64,
}

/// Items as they come: Server-Sent Events for who asks for them, else one JSON text a line. An error ends the stream,
/// as its last item.
pub fn stream<S>(headers: &HeaderMap, items: S) -> Response
where
    S: Stream<Item = Result<Item, Error>> + Send + 'static,
{
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_sse = accepted.contains("text/event-stream");
    let kind = if is_sse { "text/event-stream" } else { "application/x-ndjson" };
    let chunks =
        items.map(move |item| Ok::<_, std::convert::Infallible>(if is_sse { event(item) } else { line(item) }));
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(chunks)).into_response()
}

/// An error as the JSON of its envelope.
pub fn refusal(error: &Error) -> Bytes {
    error.to_json().to_string().into()
}

fn line(item: Result<Item, Error>) -> Bytes {
    let json = item.map_or_else(|error| refusal(&error), |item| item.json);
    let mut out = BytesMut::with_capacity(json.len() + 1);
    out.put(json);
    out.put_u8(b'\n');
    out.freeze()
}

fn event(item: Result<Item, Error>) -> Bytes {
    let mut out = BytesMut::new();
    let json = match item {
        Ok(item) => {
            if item.seq > 0 {
                out.put(format!("id: {}\n", item.seq).as_bytes());
            }
            item.json
        }
        Err(error) => {
            out.put(&b"event: error\n"[..]);
            refusal(&error)
        }
    };
    out.put(&b"data: "[..]);
    out.put(json);
    out.put(&b"\n\n"[..]);
    out.freeze()
}
