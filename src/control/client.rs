//! The caller's end of the local socket.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::net::UnixStream;

use super::views::Done;
use super::{Error, Request};

/// How often a socket that is to come or to go is looked at.
pub const RETRY: Duration = Duration::from_millis(20);
/// How long a daemon may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Speaks to the daemon behind a socket; one connection a request.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Envelope {
    Ok { data: Value },
    Error(Error),
}

impl Client {
    /// A client for the socket at `path`; nothing is opened yet.
    pub fn new(path: impl AsRef<Path>) -> Client {
        Client { socket: path.as_ref().to_owned() }
    }

    /// Asks, and reads the answer as one of the [`views`](super::views).
    ///
    /// # Errors
    /// The daemon's refusal, or `daemon_not_running` or `permission_denied` where nobody could be asked.
    pub async fn call<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        let data = self.ask(request).await?;
        serde_json::from_value(data).map_err(|error| {
            Error::new("internal", format!("the daemon's answer is not understood: {error}"))
                .hint("are pilotctl and pilotd of the same version?")
        })
    }

    /// Asks, and gives the answer as it came.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn ask(&self, request: &Request) -> Result<Value, Error> {
        let body = self.exchange(request).await?;
        match serde_json::from_slice(&body) {
            Ok(Envelope::Ok { data }) => Ok(data),
            Ok(Envelope::Error(error)) => Err(error),
            Err(_) => Err(Error::new(
                "internal",
                format!("whoever answers at {} speaks another language", self.socket.display()),
            )),
        }
    }

    /// Ends the daemon, and returns when its socket is gone.
    ///
    /// # Errors
    /// As [`Client::call`]; `timeout` if the daemon has not ended within 10 s.
    pub async fn stop(&self) -> Result<Done, Error> {
        let done = self.call(&Request::Stop).await?;
        let started = Instant::now();
        while self.socket.exists() {
            if started.elapsed() > STOP_PATIENCE {
                return Err(Error::new("timeout", format!("pilotd has not ended within {STOP_PATIENCE:?}")));
            }
            tokio::time::sleep(RETRY).await;
        }
        Ok(done)
    }

    async fn exchange(&self, request: &Request) -> Result<Bytes, Error> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(to_http(request)?).await.map_err(|error| self.broken(&error))?;
        let body = answer.into_body().collect().await.map_err(|error| self.broken(&error))?.to_bytes();
        connection.abort();
        Ok(body)
    }

    fn unreachable(&self, error: &std::io::Error) -> Error {
        let path = self.socket.display();
        match error.kind() {
            ErrorKind::PermissionDenied => Error::new("permission_denied", format!("no permission to use {path}"))
                .hint("use sudo, or join the group pilot"),
            _ => Error::new("daemon_not_running", format!("no pilotd answers at {path}"))
                .hint("start it with `sudo pilotd up`, or name its socket with --socket"),
        }
    }

    fn broken(&self, error: &hyper::Error) -> Error {
        let message = format!("pilotd at {} broke off: {error}", self.socket.display());
        Error::new("daemon_not_running", message).hint("look at its log")
    }
}

fn to_http(request: &Request) -> Result<hyper::Request<Full<Bytes>>, Error> {
    let (verb, fields) = request.into_parts()?;
    let builder = hyper::Request::builder().header(header::HOST, "pilotd");
    let built = if verb.reads {
        let uri = format!("/v1/{}{}", verb.name, query(&fields));
        builder.method(Method::GET).uri(uri).body(Full::default())
    } else {
        let body = Value::Object(fields).to_string();
        let uri = format!("/v1/{}", verb.name);
        builder.method(Method::POST).uri(uri).header(header::CONTENT_TYPE, "application/json").body(Full::from(body))
    };
    built.map_err(|error| Error::new("invalid_request", error.to_string()))
}

/// `?name=value&…`, everything but unreserved characters escaped (RFC 3986 section 2.3).
fn query(fields: &Map<String, Value>) -> String {
    let mut out = String::new();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        out.push(if out.is_empty() { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    out
}
