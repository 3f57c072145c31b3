//! `pilotctl send-file NODE PATH`: straight to the node, in one stream, hashed on the way.
//!
//! The file is known by its path, size and time of change: sent again it goes on where it stopped, and one that has
//! changed begins anew.

use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use clap::Args;
use futures_util::{Stream, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::Session;
use super::format::bytes;
use crate::control::views::Peer;
use crate::control::{Error, Request as Call};
use crate::services::inbox::PORT;

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// To whom, and what.
#[derive(Debug, Args)]
pub struct SendFileArguments {
    /// Whom
    #[arg(allow_hyphen_values = true)]
    pub node: String,
    /// The file
    pub path: PathBuf,
    /// What it is called there [default: its own name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

#[derive(Serialize)]
struct SentFile {
    id: String,
    name: String,
    size: u64,
    blake3: String,
    secs: f64,
}

/// A file that is sent.
struct Source {
    file: File,
    id: String,
    name: String,
    size: u64,
}

pub async fn run(session: &Session, arguments: SendFileArguments) -> Result<ExitCode, Error> {
    let source = open(&arguments.path, arguments.name).await?;
    let peer: Peer = session.call(&Call::Find { target: arguments.node.clone() }).await?;
    let sent = transfer(session, &format!("[{}]:{PORT}", peer.ipv6), source).await?;
    let human = format!("{} sent to {}: {} in {:.1} s", sent.name, arguments.node, bytes(sent.size), sent.secs);
    session.finish(&sent, &human);
    Ok(ExitCode::SUCCESS)
}

async fn transfer(session: &Session, host: &str, source: Source) -> Result<SentFile, Error> {
    let started = Instant::now();
    let mut remote = Remote::connect(host).await?;
    let (id, size) = (source.id.clone(), source.size);
    let begin = json!({"id": id, "name": source.name, "size": size});
    let begun: Offset = remote.post("/v1/files", &begin).await?;
    let blake3 = send(session, &mut remote, source, begun.offset).await?;
    let done: Done = remote.post(&format!("/v1/files/{id}/finish"), &json!({"blake3": blake3})).await?;
    Ok(SentFile { id, name: done.name, size, blake3, secs: started.elapsed().as_secs_f64() })
}

#[derive(Deserialize)]
struct Offset {
    offset: u64,
}

#[derive(Deserialize)]
struct Done {
    name: String,
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::new("bad_argument", format!("cannot read {}: {error}", path.display()))
}

async fn open(path: &Path, name: Option<String>) -> Result<Source, Error> {
    let file = File::open(path).await.map_err(|error| unreadable(path, &error))?;
    let found = file.metadata().await.map_err(|error| unreadable(path, &error))?;
    if !found.is_file() {
        return Err(Error::new("bad_argument", format!("{} is no file", path.display())).hint("pack a folder first"));
    }
    let whole = std::fs::canonicalize(path).map_err(|error| unreadable(path, &error))?;
    let own = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.unwrap_or(own);
    let identity = format!("{}\0{name}\0{}\0{}.{}", whole.display(), found.len(), found.mtime(), found.mtime_nsec());
    let id = format!("{:.32}", blake3::hash(identity.as_bytes()).to_hex());
    Ok(Source { file, id, name, size: found.len() })
}

/// Hashes what is there already, sends the rest; gives the hash of all.
async fn send(session: &Session, remote: &mut Remote, source: Source, offset: u64) -> Result<String, Error> {
    let bar = progress(session, source.size);
    let Source { mut file, id, size, .. } = source;
    let mut hasher = blake3::Hasher::new();
    let mut left = offset.min(size);
    while left > 0 {
        let chunk = read(&mut file, left).await.map_err(|error| Error::new("bad_argument", error.to_string()))?;
        if chunk.is_empty() {
            return Err(Error::new("bad_argument", "the file became shorter while it was sent"));
        }
        hasher.update(&chunk);
        left -= chunk.len() as u64;
    }
    bar.set_position(offset);
    let hasher = std::sync::Arc::new(parking_lot::Mutex::new(hasher));
    if offset < size {
        let chunks = chunks(file, size - offset, hasher.clone(), bar.clone());
        let _: Offset = remote.put(&format!("/v1/files/{id}?offset={offset}"), size - offset, chunks).await?;
    }
    bar.finish_and_clear();
    let hash = hasher.lock().finalize().to_hex().to_string();
    Ok(hash)
}

/// The rest of the file, hashed and shown as it goes.
fn chunks(
    file: File,
    left: u64,
    hasher: std::sync::Arc<parking_lot::Mutex<blake3::Hasher>>,
    bar: ProgressBar,
) -> impl Stream<Item = std::io::Result<Frame<Bytes>>> + Send + Sync {
    stream::unfold((file, left), move |(mut file, left)| {
        let (hasher, bar) = (hasher.clone(), bar.clone());
        async move {
            if left == 0 {
                return None;
            }
            match read(&mut file, left).await {
                Ok(chunk) if chunk.is_empty() => Some((Err(std::io::ErrorKind::UnexpectedEof.into()), (file, 0))),
                Ok(chunk) => {
                    hasher.lock().update(&chunk);
                    bar.inc(chunk.len() as u64);
                    let left = left - chunk.len() as u64;
                    Some((Ok(Frame::data(chunk)), (file, left)))
                }
                Err(error) => Some((Err(error), (file, 0))),
            }
        }
    })
}

async fn read(file: &mut File, left: u64) -> std::io::Result<Bytes> {
    let mut chunk = BytesMut::with_capacity(CHUNK);
    file.take(left).read_buf(&mut chunk).await?;
    Ok(chunk.freeze())
}

fn progress(session: &Session, size: u64) -> ProgressBar {
    if session.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{bar:30} {percent}% {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(size).with_style(style)
}

type Sent = BoxBody<Bytes, std::io::Error>;

/// The node's port, as one connection of HTTP.
struct Remote {
    requests: SendRequest<Sent>,
    host: String,
    _connection: tokio::task::JoinSet<()>,
}

impl Remote {
    async fn connect(host: &str) -> Result<Remote, Error> {
        let unreachable = |error: &dyn std::fmt::Display| {
            Error::new("unreachable", format!("cannot reach {host}: {error}"))
                .hint("`pilotctl ping NODE` tells whether it is there; a file needs both sides to be up")
        };
        let stream = TcpStream::connect(host).await.map_err(|error| unreachable(&error))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (requests, connection) = handshake.map_err(|error| unreachable(&error))?;
        let mut running = tokio::task::JoinSet::new();
        // What breaks a connection is told by the answer that it breaks.
        running.spawn(async move { drop(connection.await) });
        Ok(Remote { requests, host: host.to_owned(), _connection: running })
    }

    async fn post<T: for<'a> Deserialize<'a>>(&mut self, path: &str, body: &Value) -> Result<T, Error> {
        let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed();
        self.ask(Method::POST, path, "application/json", None, body).await
    }

    async fn put<T, S>(&mut self, path: &str, length: u64, chunks: S) -> Result<T, Error>
    where
        T: for<'a> Deserialize<'a>,
        S: Stream<Item = std::io::Result<Frame<Bytes>>> + Send + Sync + 'static,
    {
        let body = BodyExt::boxed(StreamBody::new(chunks));
        self.ask(Method::PUT, path, "application/octet-stream", Some(length), body).await
    }

    async fn ask<T: for<'a> Deserialize<'a>>(
        &mut self,
        method: Method,
        path: &str,
        kind: &str,
        length: Option<u64>,
        body: Sent,
    ) -> Result<T, Error> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.host);
        if let Some(length) = length {
            request = request.header(header::CONTENT_LENGTH, length);
        }
        let request = request.header(header::CONTENT_TYPE, kind).body(body);
        let request = request.map_err(|error| Error::new("internal", error.to_string()))?;
        let broken = |error: hyper::Error| {
            Error::new("unreachable", format!("the connection broke: {error}"))
                .hint("the same command goes on where it stopped")
        };
        self.requests.ready().await.map_err(broken)?;
        let answer = self.requests.send_request(request).await.map_err(broken)?;
        let body = answer.into_body().collect().await.map_err(broken)?.to_bytes();
        opened(&body)
    }
}

fn opened<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, Error> {
    #[derive(Deserialize)]
    struct Envelope<T> {
        data: T,
    }
    match serde_json::from_slice::<Envelope<T>>(body) {
        Ok(envelope) => Ok(envelope.data),
        Err(_) => Err(serde_json::from_slice(body)
            .unwrap_or_else(|_| Error::new("internal", "the node's answer is not understood"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::inbox::tests::pair;

    #[tokio::test]
    async fn a_file_goes_on_where_it_stopped_and_arrives_whole() {
        let pair = pair(Default::default()).await;
        let session = Session::new(true, Default::default());
        let path = pair.folders[0].path().join("data.bin");
        let data: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
        std::fs::write(&path, &data).unwrap();
        let host = pair.two.address.to_string();
        let half = open(&path, None).await.unwrap();
        let mut remote = Remote::connect(&host).await.unwrap();
        let begin = json!({"id": half.id, "name": half.name, "size": half.size});
        let _: Offset = remote.post("/v1/files", &begin).await.unwrap();
        let first = stream::iter([Ok(Frame::data(Bytes::copy_from_slice(&data[..1_000_000])))]);
        let path_of = format!("/v1/files/{}?offset=0", half.id);
        let there: Offset = remote.put(&path_of, 1_000_000, first).await.unwrap();
        assert_eq!(there.offset, 1_000_000);
        let sent = transfer(&session, &host, open(&path, None).await.unwrap()).await.unwrap();
        assert_eq!((sent.size, sent.blake3.as_str()), (3_000_000, blake3::hash(&data).to_hex().as_str()));
        let listed = pair.two.client.get("/v1/received").await.unwrap();
        assert_eq!(std::fs::read(listed["files"][0]["path"].as_str().unwrap()).unwrap(), data);
        let again = transfer(&session, &host, open(&path, None).await.unwrap()).await.unwrap();
        assert_eq!(again.blake3, sent.blake3, "again is harmless");
        assert_eq!(pair.two.client.get("/v1/received").await.unwrap()["files"].as_array().unwrap().len(), 1);
    }
}
