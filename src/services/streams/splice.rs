//! Bytes of two connections, each to the other, until both directions have ended.
//!
//! A direction ends by itself: its end is passed on as a half-close, and the other goes on. Where one side does not
//! read any more, what is meant for it is discarded while its own last words still go out; so an answer is not lost
//! because the question was not read to its end.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::sleep;

/// Bytes under way in one direction.
const BUFFER: usize = 64 << 10;
/// How long the rest of what nobody reads is awaited once the other direction has ended.
const LINGER: Duration = Duration::from_secs(5);

/// Carries bytes both ways. `gone` is ready when whoever is behind `right` has left and will read nothing more.
///
/// # Errors
/// One of the connections broke: not everything has been delivered.
pub async fn splice<L, R>(left: &mut L, right: &mut R, gone: impl Future<Output = ()>) -> io::Result<()>
where
    L: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_left, mut to_left) = tokio::io::split(left);
    let (mut from_right, mut to_right) = tokio::io::split(right);
    let (there, there_ended) = watch::channel(false);
    let (back, back_ended) = watch::channel(false);
    let there = one_way(&mut from_left, &mut to_right, gone, there, back_ended);
    let back = one_way(&mut from_right, &mut to_left, std::future::pending(), back, there_ended);
    tokio::try_join!(there, back).map(drop)
}

async fn one_way(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    gone: impl Future<Output = ()>,
    ended: watch::Sender<bool>,
    mut other: watch::Receiver<bool>,
) -> io::Result<()> {
    let abandoned = async {
        gone.await;
        until(&mut other).await;
    };
    let is_wanted = tokio::select! {
        copied = copy(from, to) => copied?,
        () = abandoned => false,
    };
    if !is_wanted {
        let patience = async {
            until(&mut other).await;
            sleep(LINGER).await;
        };
        tokio::select! {
            discarded = discard(from) => discarded?,
            () = patience => {}
        }
    }
    ended.send_replace(true);
    Ok(())
}

async fn until(ended: &mut watch::Receiver<bool>) {
    // A direction that failed takes this one with it.
    let _ = ended.wait_for(|ended| *ended).await;
}

/// Copies to the end; false where the receiver refused a part.
async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<bool> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        let Some(received) = buffer.get(..length).filter(|received| !received.is_empty()) else {
            // Nobody is there to be told, where this fails.
            let _ = to.shutdown().await;
            return Ok(true);
        };
        if to.write_all(received).await.is_err() {
            return Ok(false);
        }
    }
}

async fn discard(from: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    while from.read(&mut buffer).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::net::{TcpListener, TcpStream};

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn each_direction_ends_by_itself() {
        let ((mut caller, mut left), (mut program, mut right)) = (connected().await, connected().await);
        let carrying = tokio::spawn(async move { splice(&mut left, &mut right, pending()).await });
        caller.write_all(b"question").await.unwrap();
        caller.shutdown().await.unwrap();
        let mut question = Vec::new();
        program.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"question");
        program.write_all(b"answer").await.unwrap();
        drop(program);
        let mut answer = Vec::new();
        caller.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
        carrying.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_reader_that_pauses_holds_the_writer_back() {
        let ((mut caller, mut left), (mut program, mut right)) = (connected().await, connected().await);
        let carrying = tokio::spawn(async move { splice(&mut left, &mut right, pending()).await });
        let chunk = vec![7; 1 << 20];
        let mut sent = 0;
        while let Ok(written) = tokio::time::timeout(Duration::from_millis(300), caller.write(&chunk)).await {
            sent += written.unwrap();
            assert!(sent < 256 << 20, "nothing holds the writer back");
        }
        caller.shutdown().await.unwrap();
        let mut received = Vec::new();
        program.read_to_end(&mut received).await.unwrap();
        assert_eq!(received.len(), sent);
        drop((program, caller));
        carrying.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_breaks_is_told() {
        let ((caller, mut left), (mut program, mut right)) = (connected().await, connected().await);
        let carrying = tokio::spawn(async move { splice(&mut left, &mut right, pending()).await });
        socket2::SockRef::from(&caller).set_linger(Some(Duration::ZERO)).unwrap();
        drop(caller);
        assert!(carrying.await.unwrap().is_err());
        assert_eq!(program.read(&mut [0]).await.unwrap(), 0);
    }
}
