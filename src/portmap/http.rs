//! One HTTP request to the gateway's web server: bounded in time and size, never redirected.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

use super::refusal::Refusal;
use super::url::Url;

/// Patience with the whole exchange.
const PATIENCE: Duration = Duration::from_secs(3);

/// Longer answers are refused; descriptions of routers have a few kilobytes.
const MAX_BODY: usize = 128 << 10;

/// What came back.
pub struct Answer {
    /// 200, or 500 for a fault.
    pub status: StatusCode,
    /// The body as text.
    pub body: String,
}

/// Fetches a document.
pub async fn get(local: IpAddr, url: &Url) -> Result<Answer, Refusal> {
    let request = Request::get(&url.path).header(HOST, url.server.to_string()).header(CONNECTION, "close");
    exchange(local, url.server, request.body(Full::default())).await
}

/// Sends a SOAP request.
pub async fn post(local: IpAddr, url: &Url, action: String, body: String) -> Result<Answer, Refusal> {
    let request = Request::post(&url.path)
        .header(HOST, url.server.to_string())
        .header(CONNECTION, "close")
        .header(CONTENT_TYPE, "text/xml; charset=\"utf-8\"")
        .header("SOAPAction", action);
    exchange(local, url.server, request.body(Full::from(body))).await
}

type Built = Result<Request<Full<Bytes>>, hyper::http::Error>;

async fn exchange(local: IpAddr, server: SocketAddr, request: Built) -> Result<Answer, Refusal> {
    let request = request.map_err(|error| Refusal::unusable(format!("HTTP: {error}")))?;
    match tokio::time::timeout(PATIENCE, converse(local, server, request)).await {
        Ok(answer) => answer,
        Err(_) => Err(Refusal::Silent),
    }
}

async fn converse(local: IpAddr, server: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, Refusal> {
    let stream = connect(local, server).await.map_err(|error| super::ask::failed(&error))?;
    let broken = |error: hyper::Error| Refusal::unusable(format!("HTTP: {error}"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(|error| Refusal::unusable(format!("HTTP: {error}")))?.to_bytes();
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The connection may be over with the answer still unread.
        _ = connection => answer.await,
    }
}

/// Binding to our own address keeps the request on the network of the gateway.
async fn connect(local: IpAddr, server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(local, 0))?;
    socket.connect(server).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// What `get` makes of a web server that says `answer` and closes; and what it was asked.
    async fn told(answer: Vec<u8>) -> (Result<Answer, Refusal>, String) {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let url = Url { server: listener.local_addr().unwrap(), path: "/desc.xml".into() };
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 4096];
            let count = stream.read(&mut buffer).await.unwrap();
            // A client that refuses the answer closes before it has read all of it.
            let _ = stream.write_all(&answer).await;
            String::from_utf8_lossy(&buffer[..count]).into_owned()
        };
        tokio::join!(get(HERE, &url), serve)
    }

    #[tokio::test]
    async fn a_document_is_fetched() {
        let (answer, asked) = told(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<root/>".into()).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "<root/>"));
        assert!(asked.starts_with("GET /desc.xml HTTP/1.1\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn a_redirection_is_an_answer_and_not_followed() {
        let answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(told(answer.to_vec()).await.0.unwrap().status, StatusCode::FOUND);
    }

    #[tokio::test]
    async fn an_endless_answer_is_refused() {
        let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        answer.resize(answer.len() + 2 * MAX_BODY, b'x');
        assert!(matches!(told(answer).await.0, Err(Refusal::Unusable(_))));
        assert!(matches!(told(b"no HTTP at all".into()).await.0, Err(Refusal::Unusable(_))));
    }
}
