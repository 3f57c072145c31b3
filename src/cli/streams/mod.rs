//! Streams between programs: `connect` and `send` to a node, `listen` and `recv` from any.
//!
//! Outgoing streams are TCP connections to the overlay address, with no daemon in between; incoming ones come through
//! the local socket, so that whoever may use it may listen. Standard input and output are the other end of a stream.

pub mod connect;
mod incoming;
pub mod listen;
mod received;
pub mod recv;
pub mod send;
mod terminal;

use std::net::Ipv6Addr;
use std::time::Duration;

use tokio::net::TcpStream;

use super::Session;
use crate::control::views::{Info, Peer};
use crate::control::{Error, Request};
use crate::identity::Target;
use crate::services::streams::dial;

/// Connects to a port of a node.
async fn reach(session: &Session, node: &str, port: u16, timeout: Duration) -> Result<TcpStream, Error> {
    let address = address(session, node).await?;
    let stream = dial::reach(address, port, node, timeout).await?;
    // Without it small writes are only late.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// The overlay address of a trusted node, or of this one.
async fn address(session: &Session, node: &str) -> Result<Ipv6Addr, Error> {
    let ipv6 = match session.call::<Peer>(&Request::Find { target: node.to_owned() }).await {
        Ok(peer) => peer.ipv6,
        Err(error) if matches!(error.code.as_str(), "not_found" | "this_node") => {
            let info: Info = session.call(&Request::Info).await?;
            if !is_us(&info, node) {
                return Err(error);
            }
            info.ipv6
        }
        Err(error) => return Err(error),
    };
    ipv6.parse().map_err(|_| Error::new("internal", format!("the daemon calls {ipv6:?} an overlay address")))
}

fn is_us(info: &Info, node: &str) -> bool {
    match node.parse() {
        Ok(Target::Key(key)) => info.public_key == key.to_string(),
        Ok(Target::Node(id)) => info.node_id == id.to_string(),
        Ok(Target::Name(name)) => info.hostname.as_deref() == Some(name.as_str()),
        Err(_) => false,
    }
}

/// What is said of a stream that ended too early.
fn broken(problem: &dyn std::fmt::Display) -> Error {
    Error::new("stream_broken", format!("the stream broke: {problem}"))
        .hint("part of the bytes may not have arrived; send them again")
}
