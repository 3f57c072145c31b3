//! Streams as gRPC: chunks one way, chunks the other.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::Stream as Items;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use super::stream::Pipe;
use super::{Announced, DEFAULT_PORT, Stream, Streams};
use crate::control::Error;
use crate::services::api::streams_server::Streams as Api;
use crate::services::api::{Chunk, Incoming, ListenRequest};
use crate::services::directory::Caller;
use crate::services::door::status;

/// Bytes that wait to be sent to the caller, and the largest chunk that it gets.
const BUFFER: usize = 64 << 10;

/// The gRPC service.
pub(super) struct Service {
    streams: Streams,
}

impl Service {
    pub fn new(streams: Streams) -> Service {
        Service { streams }
    }

    /// Brings a call of a node to whoever serves the port; the call itself is the connection.
    fn arrive(&self, caller: Caller, port: u16, call: Call) -> Result<(), Error> {
        self.streams.arrive(caller.member().clone(), port, Box::new(call))
    }

    fn carry(&self, stream: Stream, mut call: Call) {
        let streams = self.streams.clone();
        tokio::spawn(async move {
            if stream.carry(&mut call, streams.directory()).await.is_err() {
                call.cut();
            }
        });
    }
}

type Outcome<T> = Result<Response<Pin<Box<dyn Items<Item = Result<T, Status>> + Send>>>, Status>;

#[tonic::async_trait]
impl Api for Service {
    type ConnectStream = Pin<Box<dyn Items<Item = Result<Chunk, Status>> + Send>>;
    type ListenStream = Pin<Box<dyn Items<Item = Result<Incoming, Status>> + Send>>;
    type TakeStream = Pin<Box<dyn Items<Item = Result<Chunk, Status>> + Send>>;

    async fn connect(&self, request: Request<Streaming<Chunk>>) -> Outcome<Chunk> {
        let caller = caller(&request)?;
        let (first, rest) = first(request).await?;
        let port = port(first.port).map_err(|error| status(&error))?;
        let node = first.node.clone();
        let (call, answer) = call(first, rest);
        match &caller {
            Caller::Node(_) => self.arrive(caller, port, call).map_err(|error| status(&error))?,
            Caller::Local(_) => {
                let stream = self.streams.connect(&node, port).await.map_err(|error| status(&error))?;
                self.carry(stream, call);
            }
        }
        Ok(Response::new(Box::pin(answer)))
    }

    async fn listen(&self, request: Request<ListenRequest>) -> Outcome<Incoming> {
        caller(&request)?.require_local().map_err(|error| status(&error))?;
        let port = port(request.get_ref().port).map_err(|error| status(&error))?;
        let listening = self.streams.listen(port).map_err(|error| status(&error))?;
        let incoming = futures_util::stream::unfold(listening, |mut listening| async {
            let announced = listening.next().await?;
            Some((Ok(incoming(announced)), listening))
        });
        Ok(Response::new(Box::pin(incoming)))
    }

    async fn take(&self, request: Request<Streaming<Chunk>>) -> Outcome<Chunk> {
        caller(&request)?.require_local().map_err(|error| status(&error))?;
        let (first, rest) = first(request).await?;
        let stream = self.streams.take(first.stream).map_err(|error| status(&error))?;
        let (call, answer) = call(first, rest);
        self.carry(stream, call);
        Ok(Response::new(Box::pin(answer)))
    }
}

fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| status(&Error::new("permission_denied", "the caller is not known")))
}

async fn first(request: Request<Streaming<Chunk>>) -> Result<(Chunk, Streaming<Chunk>), Status> {
    let mut rest = request.into_inner();
    let first = rest.message().await?;
    let first = first.ok_or_else(|| {
        status(
            &Error::new("invalid_request", "the call ended before its first chunk")
                .hint("send a first chunk, which may be empty"),
        )
    })?;
    Ok((first, rest))
}

fn port(number: u32) -> Result<u16, Error> {
    match number {
        0 => Ok(DEFAULT_PORT),
        _ => u16::try_from(number)
            .map_err(|_| Error::new("bad_argument", format!("{number} is no port")).hint("ports are 1 to 65535")),
    }
}

fn incoming(announced: Announced) -> Incoming {
    Incoming {
        stream: announced.stream,
        node_id: announced.node_id,
        hostname: announced.hostname.unwrap_or_default(),
        port: announced.port.into(),
    }
}

/// A gRPC call as a connection: reads what the caller sends, and writes what it is answered.
struct Call {
    read: Bytes,
    rest: Streaming<Chunk>,
    answer: DuplexStream,
    broken: Option<oneshot::Sender<()>>,
}

/// The connection of a call, and its answer.
fn call(first: Chunk, rest: Streaming<Chunk>) -> (Call, impl Items<Item = Result<Chunk, Status>> + Send) {
    let (answer, answered) = tokio::io::duplex(BUFFER);
    let (broken, is_broken) = oneshot::channel();
    let call = Call { read: first.data, rest, answer, broken: Some(broken) };
    (call, futures_util::stream::unfold(Some((answered, is_broken)), chunk))
}

type Answered = Option<(DuplexStream, oneshot::Receiver<()>)>;

async fn chunk(answered: Answered) -> Option<(Result<Chunk, Status>, Answered)> {
    let (mut answered, mut is_broken) = answered?;
    let mut data = BytesMut::with_capacity(BUFFER);
    match answered.read_buf(&mut data).await {
        Ok(1..) => {
            let chunk = Chunk { data: data.freeze(), ..Chunk::default() };
            Some((Ok(chunk), Some((answered, is_broken))))
        }
        _ if is_broken.try_recv().is_ok() => {
            let broken = Error::new("stream_broken", "the stream ended before everything was delivered");
            Some((Err(status(&broken)), None))
        }
        _ => None,
    }
}

impl AsyncRead for Call {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.read.is_empty() {
            match ready!(Pin::new(&mut this.rest).poll_next(context)) {
                Some(Ok(chunk)) => this.read = chunk.data,
                Some(Err(status)) => return Poll::Ready(Err(io::Error::other(status))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = this.read.len().min(buffer.remaining());
        buffer.put_slice(&this.read.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Call {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().answer).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().answer).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().answer).poll_shutdown(context)
    }
}

impl Pipe for Call {
    fn cut(&mut self) {
        if let Some(broken) = self.broken.take() {
            // A caller that is gone needs not be told.
            let _ = broken.send(());
        }
    }
}
