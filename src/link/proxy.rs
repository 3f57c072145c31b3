//! A way out of networks that let nothing pass but an HTTP proxy: a tunnel by CONNECT (RFC 9110, section 9.3.6).
//!
//! Comes in: the proxy's URL, the server to reach. Goes out: a TCP stream to the server, or why the proxy gives none.
//! What travels in it is TLS between the node and the server; the proxy sees the server's name and nothing else.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::identity::{Host, RendezvousUrl};

/// The longest head of an answer that is read.
const MAX_HEAD: usize = 8 * 1024;

/// An HTTP proxy, with what it takes to be let in.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    host: Host,
    port: u16,
    /// `user:password`.
    credentials: Option<Zeroizing<String>>,
}

/// Why a proxy gives no way to a server.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The proxy itself is not reached, or ends the connection.
    #[error("the proxy is not reached: {0}; check its address and port")]
    Unreachable(#[from] std::io::Error),
    /// The proxy answers with something else than HTTP.
    #[error("what answers is no HTTP proxy; check its address and port")]
    NotHttp,
    /// The proxy wants to know who asks.
    #[error("the proxy wants a user name and a password (407); write http://USER:PASSWORD@HOST:PORT")]
    Credentials,
    /// The proxy does not let this through.
    #[error("the proxy refuses ({0}); let it allow CONNECT to that host and port, or have the server listen on 443")]
    Refused(String),
}

/// Why the text names no proxy. It may hold a password, and is not repeated.
#[derive(Debug, thiserror::Error)]
#[error("write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with % escapes for special characters")]
pub struct ProxyTextError;

impl FromStr for Proxy {
    type Err = ProxyTextError;

    fn from_str(text: &str) -> Result<Proxy, ProxyTextError> {
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('/') {
            return Err(ProxyTextError);
        }
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => (Some(decoded(credentials)?), authority),
            None => (None, rest),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
            _ => (authority, Some(80)),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = bare.parse().map_err(|_| ProxyTextError)?;
        let port = port.filter(|port| *port != 0).ok_or(ProxyTextError)?;
        Ok(Proxy { host, port, credentials })
    }
}

/// Resolves the escapes of RFC 3986, section 2.1.
fn decoded(text: &str) -> Result<Zeroizing<String>, ProxyTextError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { escaped(rest.next(), rest.next())? } else { byte });
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| ProxyTextError)?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn escaped(high: Option<u8>, low: Option<u8>) -> Result<u8, ProxyTextError> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or(ProxyTextError);
    u8::try_from(digit(high)? * 16 + digit(low)?).map_err(|_| ProxyTextError)
}

/// Without the credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_str().contains(':') {
            true => write!(f, "http://[{}]:{}", self.host.as_str(), self.port),
            false => write!(f, "http://{}:{}", self.host.as_str(), self.port),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Proxy {
    /// A stream to the server, made by the proxy; it resolves the server's name.
    pub(super) async fn connect(&self, url: &RendezvousUrl) -> Result<TcpStream, ProxyError> {
        let mut stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        stream.write_all(self.request(url).as_bytes()).await?;
        let head = read_head(&mut stream).await?;
        match status(&head)? {
            (200..=299, _) => Ok(stream),
            (407, _) => Err(ProxyError::Credentials),
            (code, reason) => Err(ProxyError::Refused(format!("{code} {reason}").trim_end().to_owned())),
        }
    }

    fn request(&self, url: &RendezvousUrl) -> Zeroizing<String> {
        let target = match url.host.as_str().contains(':') {
            true => format!("[{}]:{}", url.host.as_str(), url.port),
            false => format!("{}:{}", url.host.as_str(), url.port),
        };
        let credentials = self.credentials.as_ref().map(|credentials| Zeroizing::new(STANDARD.encode(&**credentials)));
        let authorization = credentials.map(|encoded| {
            let header = format!("Proxy-Authorization: Basic {}\r\n", *encoded);
            Zeroizing::new(header)
        });
        let authorization = authorization.unwrap_or_default();
        Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}\r\n", *authorization))
    }
}

/// Everything up to the empty line, and not a byte more: what follows is TLS.
async fn read_head(stream: &mut TcpStream) -> Result<Vec<u8>, ProxyError> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return Err(ProxyError::NotHttp);
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

/// The status code and the reason in the first line, as far as a terminal can bear it.
fn status(head: &[u8]) -> Result<(u16, String), ProxyError> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let rest = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split_once(' ')).ok_or(ProxyError::NotHttp)?.1;
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let code = code.parse().map_err(|_| ProxyError::NotHttp)?;
    Ok((code, reason.chars().filter(|c| !c.is_control()).take(80).collect()))
}

#[cfg(test)]
mod tests;
