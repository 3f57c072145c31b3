//! Turning a connection to the local socket into something else than HTTP (RFC 9110 section 7.8).

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::{Client, Error, built};

impl Client {
    /// Asks for `path`, and gives the connection itself once the daemon agrees to speak `protocol` on it.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn upgrade(
        &self,
        path: &str,
        protocol: &str,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static + use<>, Error> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        // Ends by itself: it hands the connection over, or the sender is dropped.
        tokio::spawn(connection.with_upgrades());
        let answer = sender.send_request(asking(path, protocol)?).await.map_err(|error| self.broken(&error))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let refused = self.opened((answer, JoinSet::new())).await.err();
            return Err(refused.unwrap_or_else(|| self.foreign()));
        }
        let upgraded = hyper::upgrade::on(answer).await.map_err(|error| self.broken(&error))?;
        Ok(TokioIo::new(upgraded))
    }
}

fn asking(path: &str, protocol: &str) -> Result<hyper::Request<Full<Bytes>>, Error> {
    let builder = hyper::Request::get(path).header(header::CONNECTION, "upgrade").header(header::UPGRADE, protocol);
    built(builder, Bytes::new())
}
