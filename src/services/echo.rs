//! Port 7: gives back every byte, in order, until the caller is done (RFC 862).
//!
//! At most [`MAX_CONNECTIONS`] are served at once, each with a fixed buffer; one more is closed at once, and one
//! on which nothing moves for [`IDLE`] is closed too. A caller that does not read slows only itself.

use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

/// The TCP port.
pub const PORT: u16 = 7;
/// Connections served at once.
pub const MAX_CONNECTIONS: usize = 64;
/// How long a connection may lie still.
pub const IDLE: Duration = Duration::from_secs(300);

/// Bytes read at once, and kept for one connection.
const BUFFER: usize = 16 << 10;
/// A breath after a failed accept: out of descriptors, most likely, and the next would fail as well.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the listeners until the future is dropped, which closes every connection.
pub async fn serve(listeners: Vec<TcpListener>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, slots.clone()));
    }
    while accepting.join_next().await.is_some() {}
}

async fn accept(listener: TcpListener, slots: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        if let Ok(slot) = slots.clone().try_acquire_owned() {
            connections.spawn(async move {
                // Whatever ends a connection, there is nobody left to tell.
                let _ = echo(stream).await;
                drop(slot);
            });
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = timeout(IDLE, stream.read(&mut buffer)).await??;
        let Some(received) = buffer.get(..length).filter(|received| !received.is_empty()) else {
            return stream.shutdown().await;
        };
        timeout(IDLE, stream.write_all(received)).await??;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    async fn start() -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(serve(vec![listener]));
        (address, server)
    }

    async fn said_back(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 1];
        // Either may fail on a connection that the server closed.
        let _ = stream.write_all(b"?").await;
        stream.read_exact(&mut answer).await.is_ok()
    }

    #[tokio::test]
    async fn every_byte_comes_back_also_after_the_caller_is_done_sending() {
        let (address, _server) = start().await;
        let sent: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
        let copy = sent.clone();
        let writing = tokio::spawn(async move {
            write.write_all(&copy).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        read.read_to_end(&mut received).await.unwrap();
        writing.await.unwrap();
        assert!(received == sent);
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_and_a_freed_place_is_taken() {
        let (address, _server) = start().await;
        let mut served = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert!(said_back(&mut stream).await);
            served.push(stream);
        }
        let mut refused = TcpStream::connect(address).await.unwrap();
        assert!(!said_back(&mut refused).await);
        let mut leaving = served.pop().unwrap();
        leaving.shutdown().await.unwrap();
        assert_eq!(leaving.read(&mut [0]).await.unwrap(), 0);
        let mut tries = 0;
        while !said_back(&mut TcpStream::connect(address).await.unwrap()).await {
            tries += 1;
            assert!(tries < 1000, "the place was never freed");
        }
    }

    #[tokio::test]
    async fn dropping_the_server_closes_its_connections() {
        let (address, server) = start().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(said_back(&mut stream).await);
        drop(server);
        assert!(!said_back(&mut stream).await);
    }
}
