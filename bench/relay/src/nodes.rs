//! Two nodes at a relay, as the relay sees them: logged in over TLS, and bound each from a socket of its own.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pilot::identity::{Identity, RendezvousUrl};
use pilot::link::{Reach, client};
use pilot::rendezvous::LinkEvent;
use pilot::udp::{Received, Receiver, Sockets};
use pilot::wire::path::MAIN;
use pilot::wire::relay::{Frame, bind};
use pilot::wire::rendezvous::{ClientMessage, Hello, ServerMessage, server_message::Body};
use pilot::wire::{Allocation, RelayCredential};
use rand_core::OsRng;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// Two nodes that stay logged in as long as this lives.
pub struct Nodes {
    /// Where the relay listens.
    pub relay: SocketAddr,
    /// The session of each.
    pub sessions: [u64; 2],
    /// Where each is reached.
    pub allocations: [Allocation; 2],
    _links: [mpsc::Sender<ClientMessage>; 2],
    _runtime: Runtime,
}

impl Nodes {
    /// Logs both in, and binds the first to one socket, the second to the other.
    pub fn new(url: &RendezvousUrl, sockets: [&Sockets; 2]) -> anyhow::Result<Nodes> {
        let runtime = Runtime::new()?;
        let [first, second] = [runtime.block_on(log_in(url))?, runtime.block_on(log_in(url))?];
        for (login, sockets) in [&first, &second].into_iter().zip(sockets) {
            bind_to(login, sockets)?;
        }
        Ok(Nodes {
            relay: first.relay,
            sessions: [&first, &second].map(|login| login.credential.session),
            allocations: [&first, &second].map(|login| login.credential.allocation),
            _links: [first.link, second.link],
            _runtime: runtime,
        })
    }
}

struct Login {
    relay: SocketAddr,
    credential: RelayCredential,
    link: mpsc::Sender<ClientMessage>,
}

async fn log_in(url: &RendezvousUrl) -> anyhow::Result<Login> {
    let (sender, mut events) = mpsc::channel(64);
    let (link, outgoing) = mpsc::channel(64);
    let reach = Reach::new(url.clone(), &Identity::generate(&mut OsRng), None)?;
    tokio::spawn(client::run(reach, sender, outgoing, Arc::default()));
    let mut at = None;
    while let Some(event) = events.recv().await {
        match event {
            LinkEvent::Up { relay, .. } => {
                at = relay.first().copied();
                link.send(Hello { version: 1, network: 0, hostname: None }.into()).await?;
            }
            LinkEvent::Message(ServerMessage { body: Some(Body::Welcome(welcome)) }) => {
                let credential = welcome.credential().map_err(|reason| anyhow::anyhow!("{reason}"))?;
                // Whatever the server says later is read and dropped.
                tokio::spawn(async move { while events.recv().await.is_some() {} });
                return Ok(Login { relay: at.context("no relay")?, credential, link });
            }
            LinkEvent::Down { reason } => eprintln!("the link is down: {reason}"),
            other => anyhow::bail!("{other:?}"),
        }
    }
    anyhow::bail!("the link ended")
}

fn bind_to(login: &Login, sockets: &Sockets) -> anyhow::Result<()> {
    let (mut receiver, deadline) = (Receiver::default(), Instant::now() + Duration::from_secs(10));
    let mut is_bound = false;
    for nonce in 1.. {
        sockets.send_to(MAIN, login.relay, &bind(&login.credential, nonce));
        if poll(&mut [PollFd::new(sockets.as_fd(), PollFlags::POLLIN)], PollTimeout::from(200_u16))? > 0 {
            sockets.wait_each(0, |_, socket| {
                let _ = receiver.receive(socket);
                let is_bind = |received: Received<'_>| matches!(Frame::parse(received.bytes), Ok(Frame::Bound(_)));
                is_bound |= receiver.received().any(is_bind);
            })?;
        }
        if is_bound || Instant::now() > deadline {
            break;
        }
    }
    anyhow::ensure!(is_bound, "the relay does not answer");
    Ok(())
}
