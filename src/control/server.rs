//! The daemon's end of the local socket: HTTP in, [`Request`] out, the answer back.

use std::fs::Permissions;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};
use tokio::net::{UnixListener, UnixStream};

use super::{Error, Request, Verb};

/// The longest body that is read, bytes.
const MAX_BODY: usize = 64 * 1024;

/// Whoever carries out requests.
pub trait Backend: Clone + Send + Sync + 'static {
    /// Carries out a request; gives one of the [`views`](super::views) as JSON.
    fn call(&self, request: Request) -> impl Future<Output = Result<Value, Error>> + Send;
}

/// A socket that listens; its file is removed on drop.
pub struct Server {
    listener: Option<UnixListener>,
    path: PathBuf,
}

impl Server {
    /// Listens at `path`, for root and the group `pilot`.
    ///
    /// A file left behind by a daemon that is gone is replaced.
    ///
    /// # Errors
    /// Another daemon answers there, or the folder cannot be written.
    pub async fn bind(path: &Path) -> Result<Server, Error> {
        if UnixStream::connect(path).await.is_ok() {
            return Err(Error::new("start_failed", format!("another pilotd answers at {}", path.display()))
                .hint("stop it with `pilotctl daemon stop`, or choose another --socket"));
        }
        let listener = listen(path).map_err(|error| {
            Error::new("start_failed", format!("cannot listen at {}: {error}", path.display()))
                .hint("choose a --socket in a folder that this user may write")
        })?;
        Ok(Server { listener: Some(listener), path: path.to_owned() })
    }

    /// What listens there; given away once. The file stays as long as this does.
    pub fn listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already, or in a folder that is gone: either way nothing is left behind.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    let group = nix::unistd::Group::from_name("pilot").ok().flatten();
    let shared = group.is_some_and(|group| nix::unistd::chown(path, None, Some(group.gid)).is_ok());
    std::fs::set_permissions(path, Permissions::from_mode(if shared { 0o660 } else { 0o600 }))?;
    Ok(listener)
}

/// Serves requests until the future is dropped, and nothing beside them.
///
/// # Errors
/// The listener fails for good.
pub async fn serve<B: Backend>(server: &mut Server, backend: B) -> io::Result<()> {
    let Some(listener) = server.listener() else {
        return Ok(());
    };
    let router = router(backend).fallback(|| async {
        answer(Err(Error::new("not_found", "there is nothing here").hint("docs/cli.md lists the paths")))
    });
    axum::serve(listener, router).await
}

/// The paths of the requests, to be served alone or beside others.
pub fn router<B: Backend>(backend: B) -> Router {
    Router::new()
        .route("/v1/{verb}", get(read::<B>).post(change::<B>))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(backend)
}

async fn read<B: Backend>(
    State(backend): State<B>,
    UrlPath(name): UrlPath<String>,
    Query(fields): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let fields = fields.into_iter().map(|(name, value)| (name, typed(value))).collect();
    respond(&backend, Verb { name, reads: true }, fields, &headers).await
}

async fn change<B: Backend>(
    State(backend): State<B>,
    UrlPath(name): UrlPath<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let content = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content.starts_with("application/json") {
        return answer(Err(Error::new(
            "invalid_request",
            "the body must be JSON, with content-type: application/json",
        )));
    }
    match serde_json::from_slice(&body) {
        Ok(Value::Object(fields)) => respond(&backend, Verb { name, reads: false }, fields, &headers).await,
        Ok(_) => answer(Err(Error::new("invalid_request", "the body must be a JSON object"))),
        Err(error) => answer(Err(Error::new("invalid_request", format!("the body is no JSON: {error}")))),
    }
}

/// Numbers in a query are numbers; everything else is text.
fn typed(value: String) -> Value {
    value.parse::<u64>().map_or_else(|_| Value::String(value.clone()), Value::from)
}

async fn respond<B: Backend>(backend: &B, verb: Verb, fields: Map<String, Value>, headers: &HeaderMap) -> Response {
    if headers.contains_key(header::ORIGIN) {
        return answer(Err(Error::new("permission_denied", "web pages may not use this socket")));
    }
    match Request::from_parts(&verb, fields) {
        Ok(request) => answer(backend.call(request).await),
        Err(error) => answer(Err(error)),
    }
}

/// An answer or a refusal as HTTP: `{"status":"ok","data":…}` or `{"status":"error",…}`.
pub fn answer(outcome: Result<Value, Error>) -> Response {
    let (status, body) = match outcome {
        Ok(data) => (StatusCode::OK, json!({"status": "ok", "data": data})),
        Err(error) => {
            (StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), error.to_json())
        }
    };
    (status, axum::Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::super::Client;
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[derive(Clone)]
    struct Echo;

    impl Backend for Echo {
        async fn call(&self, request: Request) -> Result<Value, Error> {
            match request {
                Request::Untrust { .. } => Err(Error::new("not_trusted", "no such peer").hint("look at peers")),
                other => Ok(json!(format!("{other:?}"))),
            }
        }
    }

    async fn serving() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/pilotd.sock");
        let mut server = Server::bind(&path).await.unwrap();
        tokio::spawn(async move { serve(&mut server, Echo).await });
        (dir, path)
    }

    async fn raw(path: &Path, request: &str) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn requests_and_refusals_cross_the_socket() {
        let (_dir, path) = serving().await;
        let client = Client::new(&path);
        for request in [
            Request::Find { target: "a & b=c/ü".into() },
            Request::Wait { condition: "direct:x".into(), timeout_ms: 12 },
            Request::Handshake { target: "alpha".into(), reason: "\"quoted\"".into(), allow: None, for_secs: Some(7) },
        ] {
            assert_eq!(client.call::<String>(&request).await.unwrap(), format!("{request:?}"));
        }
        let refused = client.ask(&Request::Untrust { target: "x".into() }).await.unwrap_err();
        assert_eq!((refused.code.as_str(), refused.hint.as_str()), ("not_trusted", "look at peers"));
    }

    #[tokio::test]
    async fn bad_http_is_refused_in_the_same_shape() {
        let (_dir, path) = serving().await;
        let tail = "Host: x\r\nConnection: close\r\n";
        for (request, status) in [
            (format!("GET /v1/nothing HTTP/1.1\r\n{tail}\r\n"), "404"),
            (format!("GET /elsewhere HTTP/1.1\r\n{tail}\r\n"), "404"),
            (format!("GET /v1/stop HTTP/1.1\r\n{tail}\r\n"), "400"),
            (format!("GET /v1/info HTTP/1.1\r\nOrigin: http://evil\r\n{tail}\r\n"), "403"),
            (format!("POST /v1/stop HTTP/1.1\r\n{tail}Content-Length: 2\r\n\r\n{{}}"), "400"),
            (
                format!(
                    "POST /v1/stop HTTP/1.1\r\n{tail}Content-Type: application/json\r\nContent-Length: 1\r\n\r\n{{"
                ),
                "400",
            ),
        ] {
            let answer = raw(&path, &request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}\n{answer}");
            assert!(answer.contains("\"status\":\"error\""), "{answer}");
        }
        let long = format!(
            "POST /v1/stop HTTP/1.1\r\n{tail}Content-Type: application/json\r\nContent-Length: 70000\r\n\r\n{}",
            " ".repeat(70_000)
        );
        assert!(raw(&path, &long).await.starts_with("HTTP/1.1 413"));
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let (_dir, path) = serving().await;
        assert_eq!(Server::bind(&path).await.err().unwrap().code, "start_failed");
        let dir = tempfile::tempdir().unwrap();
        let stale = dir.path().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        let server = Server::bind(&stale).await.unwrap();
        assert_eq!(stale.metadata().unwrap().permissions().mode() & 0o007, 0, "not for everybody");
        drop(server);
        assert!(!stale.exists());
    }
}
