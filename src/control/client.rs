//! The caller's end of the local socket.

mod upgrade;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Response, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::lines::Lines;
use super::views::Done;
use super::{Error, Request, given};

/// How often a socket that is to come or to go is looked at.
pub const RETRY: Duration = Duration::from_millis(20);
/// How long a daemon may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Speaks to the daemon behind a socket; one connection a request.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Every answer: `data` where `status` is `ok`, the fields of an [`Error`] otherwise.
#[derive(Deserialize)]
struct Envelope {
    status: String,
    #[serde(default, deserialize_with = "given")]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    hint: String,
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
        self.opened(self.exchange(to_http(request)?).await?).await.and_then(|data| value(&data))
    }

    /// Reads `path`, for example `/v1/inbox?limit=5`; gives `.data` of the answer.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        self.get_raw(path).await.and_then(|data| value(&data))
    }

    /// As [`Client::get`], with `.data` to the letter: members in their order, numbers with all their digits.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get_raw(&self, path: &str) -> Result<Box<RawValue>, Error> {
        self.opened(self.exchange(reading(path)?).await?).await
    }

    /// Posts `body` to `path`; gives `.data` of the answer.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.post_raw(path, body.to_string()).await.and_then(|data| value(&data))
    }

    /// As [`Client::post`], with the JSON of the body and `.data` to the letter.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn post_raw(&self, path: &str, body: String) -> Result<Box<RawValue>, Error> {
        self.opened(self.exchange(changing(path, body)?).await?).await
    }

    /// Reads `path`, whose answer is one JSON text a line and may never end.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn lines(&self, path: &str) -> Result<Lines, Error> {
        let (answer, connection) = self.exchange(reading(path)?).await?;
        if answer.status().is_success() {
            return Ok(Lines::new(answer.into_body(), connection));
        }
        let refused = self.opened((answer, connection)).await.err();
        Err(refused.unwrap_or_else(|| self.foreign()))
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

    /// The connection lives as long as what is returned with the answer.
    async fn exchange(&self, request: hyper::Request<Full<Bytes>>) -> Result<(Response<Incoming>, JoinSet<()>), Error> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        let mut running = JoinSet::new();
        // What breaks a connection is told by the answer that it breaks.
        running.spawn(async move { drop(connection.await) });
        let answer = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        Ok((answer, running))
    }

    async fn opened(&self, (answer, _connection): (Response<Incoming>, JoinSet<()>)) -> Result<Box<RawValue>, Error> {
        let body = answer.into_body().collect().await.map_err(|error| self.broken(&error))?.to_bytes();
        let envelope: Envelope = serde_json::from_slice(&body).map_err(|_| self.foreign())?;
        match envelope.data {
            Some(data) if envelope.status == "ok" => Ok(data),
            _ if envelope.code.is_empty() => Err(self.foreign()),
            _ => Err(Error { code: envelope.code, message: envelope.message, hint: envelope.hint }),
        }
    }

    fn foreign(&self) -> Error {
        Error::new("internal", format!("whoever answers at {} speaks another language", self.socket.display()))
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
    if verb.reads {
        let fields = fields.iter().filter(|(_, value)| !value.is_null());
        let texts = fields.map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
        reading(&format!("/v1/{}{}", verb.name, query(texts)))
    } else {
        changing(&format!("/v1/{}", verb.name), Value::Object(fields).to_string())
    }
}

fn reading(path: &str) -> Result<hyper::Request<Full<Bytes>>, Error> {
    built(hyper::Request::builder().method(Method::GET).uri(path), Bytes::new())
}

fn changing(path: &str, body: String) -> Result<hyper::Request<Full<Bytes>>, Error> {
    let builder = hyper::Request::builder().method(Method::POST).uri(path);
    built(builder.header(header::CONTENT_TYPE, "application/json"), body.into())
}

fn built(builder: hyper::http::request::Builder, body: Bytes) -> Result<hyper::Request<Full<Bytes>>, Error> {
    let built = builder.header(header::HOST, "pilotd").body(Full::new(body));
    built.map_err(|error| Error::new("invalid_request", error.to_string()))
}

fn value(data: &RawValue) -> Result<Value, Error> {
    serde_json::from_str(data.get()).map_err(|error| Error::new("internal", error.to_string()))
}

/// `?name=value&…`, or nothing; everything but unreserved characters escaped (RFC 3986 section 2.3).
pub fn query<N: AsRef<str>, V: AsRef<str>>(fields: impl IntoIterator<Item = (N, V)>) -> String {
    let mut out = String::new();
    for (name, value) in fields {
        out.push(if out.is_empty() { '?' } else { '&' });
        out.push_str(name.as_ref());
        out.push('=');
        for byte in value.as_ref().bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    /// A client, and a daemon that gives `answer` to whatever is asked.
    async fn answering(answer: String) -> (tempfile::TempDir, Client) {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::new(folder.path().join("sock"));
        let listener = UnixListener::bind(&client.socket).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        (folder, client)
    }

    #[tokio::test]
    async fn lines_come_whole_however_they_were_cut() {
        let answer =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n7\r\n\":1}\n\n{\r\n1\r\n}\r\n0\r\n\r\n";
        let (_folder, client) = answering(answer.into()).await;
        let mut lines = client.lines("/v1/inbox/follow").await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), "{\"a\":1}");
        assert_eq!(lines.next().await.unwrap().unwrap(), "{}");
        assert_eq!(lines.next().await.unwrap(), None);
    }

    fn whole(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn a_refusal_in_place_of_lines_is_an_error() {
        let body = r#"{"status":"error","code":"not_found","message":"m","hint":"h"}"#;
        let (_folder, client) = answering(whole("404 Not Found", body)).await;
        let error = client.lines("/v1/inbox/follow").await.unwrap_err();
        assert_eq!(error, Error::new("not_found", "m").hint("h"));
    }

    #[tokio::test]
    async fn data_is_given_to_the_letter() {
        let (_folder, client) = answering(whole("200 OK", r#"{"status":"ok","data":{"z":1.50,"a":1}}"#)).await;
        assert_eq!(client.get_raw("/v1/inbox").await.unwrap().get(), r#"{"z":1.50,"a":1}"#);
    }

    #[tokio::test]
    async fn null_is_data() {
        let (_folder, client) = answering(whole("200 OK", r#"{"status":"ok","data":null}"#)).await;
        assert_eq!(client.get("/v1/inbox").await.unwrap(), Value::Null);
    }

    #[test]
    fn a_query_is_escaped() {
        assert_eq!(query([("a", "x y"), ("b", "ü&=")]), "?a=x%20y&b=%C3%BC%26%3D");
        assert_eq!(query::<&str, &str>([]), "");
    }
}
