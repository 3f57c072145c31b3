//! Carries out what local programs ask: asks the node, and turns its answers into what goes over the socket.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use super::crank::Call;
use super::services::Services;
use super::stun::Resolved;
use super::{netcheck, views, why};
use crate::control::views::{Config, Done, Pending, Setting, Trusted, Waited};
use crate::control::{Backend, Error, Request};
use crate::identity::{Hostname, PublicKey, Target, Token};
use crate::node::trust::Terms;
use crate::node::{Answer, Command, CommandError, PathView, PeerView};
use crate::portmap;

/// What does not change while the daemon runs.
pub struct Facts {
    /// The effective settings.
    pub settings: Vec<Setting>,
    /// The TUN device.
    pub interface: String,
    /// The UDP port.
    pub listen_port: u16,
    /// Whether the rendezvous runs in this process.
    pub embedded: bool,
    /// The name of the nftables table, if there is one.
    pub firewall: Option<String>,
}

/// How often something has changed that somebody may wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Of all kinds.
    pub all: u64,
    /// Of who is trusted, and of names.
    pub members: u64,
}

/// The daemon, as the local socket sees it.
#[derive(Clone)]
pub struct Calls {
    /// To the task that owns the node.
    pub node: mpsc::Sender<Call>,
    /// Counts what somebody may wait for.
    pub changes: watch::Receiver<Changes>,
    /// Whether the node has found its rendezvous, or that it is away.
    pub ready: watch::Receiver<bool>,
    /// Ends the daemon.
    pub stop: watch::Sender<bool>,
    /// What does not change.
    pub facts: Arc<Facts>,
    /// Whose counters the status shows.
    pub services: Services,
    /// What gateways say to port mappings; `None` where that is switched off.
    pub port_mapping: Option<watch::Receiver<portmap::Status>>,
    /// The STUN servers of the configuration.
    pub stun: watch::Receiver<Resolved>,
}

impl Backend for Calls {
    async fn call(&self, request: Request) -> Result<Value, Error> {
        match request {
            Request::Wait { condition, timeout_ms } => self.wait(condition, Duration::from_millis(timeout_ms)).await,
            Request::Config => json(&Config { settings: self.facts.settings.clone() }),
            Request::Stop => {
                self.stop.send_replace(true);
                json(&Done { done: "stopping".into() })
            }
            Request::Pending => self.pending().await,
            Request::Ping { target, timeout_ms } => self.ping(&target, Duration::from_millis(timeout_ms)).await,
            Request::Whois { address } => self.whois(&address).await,
            other => {
                let command = command(other)?;
                self.show(self.ask(command).await?)
            }
        }
    }
}

impl Calls {
    /// Asks the node.
    ///
    /// # Errors
    /// Its refusal, in the form of the local socket.
    pub async fn ask(&self, command: Command) -> Result<Answer, Error> {
        let (answer, answered) = oneshot::channel();
        let stopping = |_| Error::new("daemon_not_running", "pilotd is stopping");
        self.node.send(Call { command, answer }).await.map_err(|_| stopping(()))?;
        answered.await.map_err(|_| stopping(()))?.map_err(|error| refusal(&error))
    }

    fn show(&self, answer: Answer) -> Result<Value, Error> {
        match answer {
            Answer::Info(info) => json(&views::info(&info, &self.facts)),
            Answer::Status(status) => {
                Ok(views::status(&status, &self.facts, self.services.counters(), self.port_mapping()))
            }
            Answer::Peers(peers) => json(&views::peers(&peers)),
            Answer::Found(peer) => json(&views::peer(&peer)),
            Answer::Trusted(records) => json(&Trusted { trusted: records.iter().map(views::trusted).collect() }),
            Answer::Pending(pending) => json(&pending.iter().map(views::pending).collect::<Vec<_>>()),
            Answer::Asked(asked) => json(&views::asked(&asked)),
            Answer::Trusting(record) => {
                done(format!("{} is trusted and may open {} here", views::name(&record), record.grant))
            }
            Answer::Granted(record) => done(format!("{} may open {} here", views::name(&record), record.grant)),
            Answer::Rejected(record) => done(format!("the request of {} is forgotten", record.id)),
            Answer::Untrusted(record) => done(format!("{} is no longer trusted", views::name(&record))),
            Answer::Invited(token) => json(&views::invite(&token)),
            Answer::Hostname(Some(name)) => done(format!("this node is {name}")),
            Answer::Hostname(None) => done("this node has no hostname".into()),
            Answer::Pong(pong) => json(&views::pong(&pong)),
            Answer::Why(why) => json(&why::why(&why)),
            Answer::Netcheck(check) => {
                let named = self.stun.borrow().clone();
                let routes = netcheck::routes(&check.servers);
                let port_mapping = self.port_mapping.as_ref().map(|status| netcheck::port_mapping(&status.borrow()));
                let around = netcheck::Around { named: &named, port_mapping, routes };
                json(&netcheck::netcheck(&check, &self.facts, around))
            }
        }
    }

    fn port_mapping(&self) -> Value {
        let status = self.port_mapping.as_ref().map(|status| status.borrow().clone());
        serde_json::to_value(status).unwrap_or_default()
    }

    async fn pending(&self) -> Result<Value, Error> {
        let pending = match self.ask(Command::Pending).await? {
            Answer::Pending(records) => records.iter().map(views::pending).collect(),
            _ => Vec::new(),
        };
        json(&Pending { pending })
    }

    /// The node has its own, longer patience with a ping.
    async fn ping(&self, target: &str, patience: Duration) -> Result<Value, Error> {
        let target = parse_target(target)?;
        let late = || Error::new("timeout", format!("{target} did not answer within {patience:?}"));
        let answer = tokio::time::timeout(patience, self.ask(Command::Ping(target.clone()))).await;
        self.show(answer.map_err(|_| late().hint("`pilotctl peers` shows the path"))??)
    }

    async fn whois(&self, address: &str) -> Result<Value, Error> {
        let bare = address.parse::<std::net::SocketAddrV6>().map(|socket| *socket.ip());
        let ipv6: Ipv6Addr = bare.or_else(|_| address.trim_matches(['[', ']']).parse()).map_err(|_| {
            Error::new("invalid_request", format!("{address:?} is no IPv6 address"))
                .hint("write for example fd50:494c:4f54::a1b2:c3d4:e5f6")
        })?;
        if let Answer::Info(info) = self.ask(Command::Info).await?
            && info.address == ipv6
        {
            return json(&views::whois(info.id, info.hostname.as_ref(), info.key, ipv6));
        }
        let peers = self.peers().await?;
        let known = peers.iter().find(|peer| peer.address == ipv6);
        let (Some(peer), Some(key)) = (known, known.and_then(|peer| peer.key)) else {
            return Err(Error::new("not_found", format!("no trusted node has the address {ipv6}")));
        };
        json(&views::whois(peer.id, peer.hostname.as_ref(), key, ipv6))
    }

    async fn peers(&self) -> Result<Vec<PeerView>, Error> {
        match self.ask(Command::Peers).await? {
            Answer::Peers(peers) => Ok(peers),
            _ => Ok(Vec::new()),
        }
    }

    async fn wait(&self, condition: String, patience: Duration) -> Result<Value, Error> {
        let started = Instant::now();
        match tokio::time::timeout(patience, self.holds(&condition)).await {
            Ok(Ok(())) => json(&Waited { condition, after_ms: started.elapsed().as_millis() as u64 }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::new("timeout", format!("{condition} does not hold after {patience:?}"))
                .hint("`pilotctl peers` and `pilotctl info` show how things stand")),
        }
    }

    async fn holds(&self, condition: &str) -> Result<(), Error> {
        let stopping = |_| Error::new("daemon_not_running", "pilotd is stopping");
        if condition == "ready" {
            return self.ready.clone().wait_for(|ready| *ready).await.map(drop).map_err(|_| stopping(()));
        }
        let (direct, target) = match condition.strip_prefix("direct:") {
            Some(target) => (true, parse_target(target)?),
            None => (false, parse_target(condition)?),
        };
        let mut changes = self.changes.clone();
        loop {
            changes.borrow_and_update();
            if self.peers().await?.iter().any(|peer| views::is(peer, &target) && is_reached(peer, direct)) {
                return Ok(());
            }
            changes.changed().await.map_err(|_| stopping(()))?;
        }
    }
}

fn is_reached(peer: &PeerView, direct: bool) -> bool {
    match peer.path {
        PathView::Direct(_) => true,
        PathView::Relayed(_) | PathView::Friend(_) => !direct,
        PathView::None => false,
    }
}

/// The command that a request is, where it is just one.
fn command(request: Request) -> Result<Command, Error> {
    Ok(match request {
        Request::Info => Command::Info,
        Request::Status => Command::Status,
        Request::Peers => Command::Peers,
        Request::Trusted => Command::Trusted,
        Request::Netcheck => Command::Netcheck,
        Request::Why { target } => Command::Why(parse_target(&target)?),
        Request::Find { target } => Command::Find(parse_target(&target)?),
        Request::Handshake { target, reason, allow, for_secs } => {
            let terms = terms(allow.as_deref(), for_secs)?;
            Command::Handshake { target: parse_target(&target)?, reason, terms }
        }
        Request::Approve { target, allow, for_secs } => {
            Command::Approve(parse_target(&target)?, terms(allow.as_deref(), for_secs)?)
        }
        Request::Grant { target, allow } => Command::Grant(parse_target(&target)?, parse("grant", &allow)?),
        Request::Reject { target } => Command::Reject(parse_target(&target)?),
        Request::Untrust { target } => Command::Untrust(parse_target(&target)?),
        Request::Trust { key, allow, for_secs } => {
            Command::Trust(parse::<PublicKey>("key", &key)?, terms(allow.as_deref(), for_secs)?)
        }
        Request::Invite { uses, expires_secs, allow, for_secs } => {
            let lifetime = Duration::from_secs(expires_secs);
            Command::Invite { uses, lifetime, terms: terms(allow.as_deref(), for_secs)? }
        }
        Request::Join { token } => Command::Join(parse_token(&token)?),
        Request::SetHostname { hostname } => {
            Command::SetHostname(hostname.map(|name| parse::<Hostname>("hostname", &name)).transpose()?)
        }
        other => return Err(Error::new("internal", format!("{other:?} is no single command"))),
    })
}

fn terms(allow: Option<&str>, for_secs: Option<u64>) -> Result<Terms, Error> {
    let grant = allow.map(|allow| parse("grant", allow)).transpose()?;
    Ok(Terms { grant, lifetime: for_secs.map(Duration::from_secs) })
}

fn parse_target(text: &str) -> Result<Target, Error> {
    parse("node", text)
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(what: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|error| Error::new("invalid_request", format!("{what} {text:?}: {error}")))
}

/// A token is a password: what was typed is not repeated.
fn parse_token(text: &str) -> Result<Token, Error> {
    text.parse().map_err(|error| {
        Error::new("invalid_token", format!("the token is not understood: {error}"))
            .hint("copy all of it, in one piece")
    })
}

fn refusal(error: &CommandError) -> Error {
    Error::new(error.code(), error.to_string()).hint(error.hint())
}

fn done(done: String) -> Result<Value, Error> {
    json(&Done { done })
}

fn json(view: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(view).map_err(|error| Error::new("internal", error.to_string()))
}
