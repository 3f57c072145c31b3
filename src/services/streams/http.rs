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
use serde_json::json;

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
        .route("/v1/streams/state", get(state))
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
        Ok((asked.stream, turned, streams.take(asked.stream)?))
    });
    match taken {
        Ok((number, turned, stream)) => carry(&streams, Some(number), turned, stream),
        Err(error) => answer(Err(error)),
    }
}

async fn connect(
    State(streams): State<Streams>,
    Extension(caller): Extension<Caller>,
    asked: Asked<Connect>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    match connected(&streams, &caller, asked, &mut parts).await {
        Ok((turned, stream)) => carry(&streams, None, turned, stream),
        Err(error) => answer(Err(error)),
    }
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

async fn state(State(streams): State<Streams>, Extension(caller): Extension<Caller>, asked: Asked<Take>) -> Response {
    answer(
        admitted(&caller, asked)
            .map(|asked| json!({"stream": asked.stream, "broken": streams.is_broken(asked.stream)})),
    )
}

/// Carries the stream on the connection once the answer is sent. That it broke, where it did, is noted before the
/// connection ends: an end does not tell that by itself.
fn carry(streams: &Streams, number: Option<u64>, turned: (Response, OnUpgrade), stream: Stream) -> Response {
    let (response, upgraded) = turned;
    let streams = streams.clone();
    tokio::spawn(async move {
        // A caller that is gone takes the stream with it.
        let Ok(upgraded) = upgraded.await else { return };
        let mut local = TokioIo::new(upgraded);
        if stream.carry(&mut local, streams.directory()).await.is_err()
            && let Some(number) = number
        {
            streams.note_broken(number);
        }
        drop(local);
    });
    response
}
