//! Streams on the local socket by HTTP: listening as lines of JSON, streams as upgrades.

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use super::{Announced, DEFAULT_PORT, Listening, Stream, Streams};
use crate::control::{Error, answer};
use crate::services::directory::Caller;
use crate::services::door::upgrade;

/// What a connection is after its upgrade.
const PROTOCOL: &str = "pilot-stream";

pub(super) fn router(streams: Streams) -> Router {
    Router::new()
        .route("/v1/streams/listen", get(listen))
        .route("/v1/streams/take", get(take))
        .route("/v1/streams/connect", get(connect))
        .with_state(streams)
}

type Asked<T> = Result<Query<T>, QueryRejection>;

#[derive(Deserialize)]
struct Listen {
    #[serde(default = "default_port")]
    port: u16,
}

#[derive(Deserialize)]
struct Take {
    stream: u64,
}

#[derive(Deserialize)]
struct Connect {
    node: String,
    #[serde(default = "default_port")]
    port: u16,
}

fn default_port() -> u16 {
    DEFAULT_PORT
}

async fn listen(
    State(streams): State<Streams>,
    Extension(caller): Extension<Caller>,
    asked: Asked<Listen>,
) -> Response {
    let listening = admitted(&caller, asked).and_then(|asked| streams.listen(asked.port));
    match listening {
        Ok(listening) => {
            ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines(listening))).into_response()
        }
        Err(error) => answer(Err(error)),
    }
}

fn lines(listening: Listening) -> impl futures_util::Stream<Item = Result<Bytes, serde_json::Error>> {
    futures_util::stream::unfold(listening, |mut listening| async {
        let announced = listening.next().await?;
        Some((line(&announced), listening))
    })
}

fn line(announced: &Announced) -> Result<Bytes, serde_json::Error> {
    let mut line = serde_json::to_vec(announced)?;
    line.push(b'\n');
    Ok(line.into())
}

async fn take(
    State(streams): State<Streams>,
    Extension(caller): Extension<Caller>,
    asked: Asked<Take>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    let taken = admitted(&caller, asked).and_then(|asked| {
        let turned = upgrade(&mut parts, PROTOCOL)?;
        Ok((turned, streams.take(asked.stream)?))
    });
    finish(&streams, taken)
}

async fn connect(
    State(streams): State<Streams>,
    Extension(caller): Extension<Caller>,
    asked: Asked<Connect>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    finish(&streams, connected(&streams, &caller, asked, &mut parts).await)
}

async fn connected(
    streams: &Streams,
    caller: &Caller,
    asked: Asked<Connect>,
    parts: &mut Parts,
) -> Result<((Response, OnUpgrade), Stream), Error> {
    let asked = admitted(caller, asked)?;
    let turned = upgrade(parts, PROTOCOL)?;
    Ok((turned, streams.connect(&asked.node, asked.port).await?))
}

fn admitted<T>(caller: &Caller, asked: Asked<T>) -> Result<T, Error> {
    caller.require_local()?;
    let Query(asked) = asked
        .map_err(|error| Error::new("invalid_request", error.body_text()).hint("docs/services.md lists the fields"))?;
    Ok(asked)
}

/// Answers, and carries the stream on the connection once the answer is sent.
fn finish(streams: &Streams, turned: Result<((Response, OnUpgrade), Stream), Error>) -> Response {
    let ((response, upgraded), stream) = match turned {
        Ok(turned) => turned,
        Err(error) => return answer(Err(error)),
    };
    let streams = streams.clone();
    tokio::spawn(async move {
        // A caller that is gone takes the stream with it; a stream that breaks, the connection.
        if let Ok(upgraded) = upgraded.await {
            let _ = stream.carry(&mut TokioIo::new(upgraded), streams.directory()).await;
        }
    });
    response
}
