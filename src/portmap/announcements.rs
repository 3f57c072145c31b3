//! Hears gateways announce that they have restarted: PCP and NAT-PMP, to all hosts of the network.

use std::future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::epoch::Epoch;
use super::{natpmp, pcp};

/// All hosts of the network, the port of NAT-PMP and PCP clients.
const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 1), 5350);

/// A socket that hears announcements, or nothing where it cannot be opened.
pub struct Announcements(Option<UdpSocket>);

impl Announcements {
    /// Shares the port with other programs that listen there.
    pub fn open() -> Announcements {
        match open() {
            Ok(socket) => Announcements(Some(socket)),
            Err(error) => {
                tracing::debug!(%error, "restarts of gateways are noticed by asking only");
                Announcements(None)
            }
        }
    }

    /// The next announcement and who says that it is theirs. Anybody may send one: it is a reason to ask, no more.
    pub async fn next(&self) -> (IpAddr, Epoch) {
        let Some(socket) = &self.0 else { return future::pending().await };
        let mut buffer = [0; 128];
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok((count, from)) => {
                    if let Some(seconds) = buffer.get(..count).and_then(announced) {
                        return (from.ip(), Epoch { seconds, heard: Instant::now() });
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "restarts of gateways are noticed by asking only");
                    return future::pending().await;
                }
            }
        }
    }
}

fn open() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Bound to the group: what is sent to this host alone is no announcement.
    socket.bind(&SocketAddr::from(GROUP).into())?;
    UdpSocket::from_std(socket.into())
}

fn announced(bytes: &[u8]) -> Option<u32> {
    let natpmp = natpmp::address(bytes).and_then(Result::ok).map(|told| told.epoch);
    natpmp.or_else(|| pcp::announced(bytes))
}
