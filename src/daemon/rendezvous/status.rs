//! `status.sock` in the state folder: counters as JSON over HTTP/1.1, for `pilotctl --socket … status`.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::StartError;
use super::directory::Question;
use super::udp::Forwarding;
use crate::rendezvous::directory::Counters;
use crate::store::files::FILE_MODE;

const FILE_NAME: &str = "status.sock";

#[derive(Clone)]
struct Status {
    questions: mpsc::Sender<Question>,
    forwarding: Arc<Forwarding>,
    started: Instant,
}

/// Answers on the socket until `tasks` are ended; then the socket is removed. The caller holds the lock of the folder, so
/// that a socket found there is one left behind.
pub fn spawn(
    state: &Path,
    questions: mpsc::Sender<Question>,
    forwarding: Arc<Forwarding>,
    started: Instant,
    tasks: &mut JoinSet<()>,
) -> Result<(), StartError> {
    let path = state.join(FILE_NAME);
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path)
        .and_then(|listener| fs::set_permissions(&path, Permissions::from_mode(FILE_MODE)).map(|()| listener))
        .map_err(|source| StartError::Status { path: path.clone(), source })?;
    let router = Router::new().route("/v1/status", get(status)).fallback(nothing_else).with_state(Status {
        questions,
        forwarding,
        started,
    });
    let socket = SocketFile(path);
    tasks.spawn(async move {
        let _socket = socket;
        // Ends only with its task.
        let _ = axum::serve(listener, router).await;
    });
    Ok(())
}

/// Removes the socket when it is no longer served.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

async fn status(State(status): State<Status>) -> impl IntoResponse {
    let (question, answer) = oneshot::channel();
    let asked = status.questions.send(question).await;
    match (asked, answer.await) {
        (Ok(()), Ok(counters)) => (StatusCode::OK, Json(json!({ "status": "ok", "data": data(&status, counters) }))),
        _ => failure(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "the server is stopping",
            "ask again after its restart",
        ),
    }
}

async fn nothing_else() -> impl IntoResponse {
    let hint = "a rendezvous server answers GET /v1/status only; for a node's verbs name the node's socket";
    failure(StatusCode::NOT_FOUND, "not_found", "no such path", hint)
}

fn failure(code: StatusCode, name: &str, message: &str, hint: &str) -> (StatusCode, Json<Value>) {
    (code, Json(json!({ "status": "error", "code": name, "message": message, "hint": hint })))
}

fn data(status: &Status, counters: Counters) -> Value {
    let relay = status.forwarding.relay().counters();
    let dropped = status.forwarding.relay_drops().iter().filter(|(_, count)| *count > 0);
    let dropped: BTreeMap<&str, u64> = dropped.map(|(reason, count)| (reason.name(), count)).collect();
    let (stun_requests, stun_dropped) = status.forwarding.stun_counts();
    json!({
        "sessions": counters.sessions,
        "hostnames": counters.hostnames,
        "mailbox": counters.mailbox,
        "mailbox_refused": counters.refused,
        "stun": { "requests": stun_requests, "dropped": stun_dropped },
        "relay": {
            "bound": relay.bound, "streams": status.forwarding.streams().count(), "datagrams": relay.datagrams, "bytes": relay.bytes, "dropped": dropped,
        },
        "uptime_secs": status.started.elapsed().as_secs(),
        "version": env!("CARGO_PKG_VERSION"),
    })
}
