//! The services of a node, and the doors to them: the local socket, and the ports of the overlay address.

use std::net::Ipv6Addr;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::calls::Calls;
use super::lines::LocalLines;
use super::roster;
use crate::control;
use crate::daemon::Failure;
use crate::daemon::config::services as config;
use crate::services::directory::{Directory, Roster};
use crate::services::door::{Door, Limits};
use crate::services::events::bridge::Bridge;
use crate::services::events::{Events, dial};
use crate::services::files::Files;
use crate::services::inbox::{self, Inbox};
use crate::services::streams::{self, Streams};
use crate::services::tasks::{self, Tasks};
use crate::services::{echo, events, listen};
use crate::store::sequence::SequenceFile;

/// Every service; clones are the same.
#[derive(Clone)]
pub struct Services {
    events: Events,
    inbox: Inbox,
    files: Files,
    streams: Streams,
    tasks: Tasks,
    directory: Directory,
    sequence: SequenceFile,
    bridge: Option<Arc<Bridge>>,
}

/// What the services are reached by.
pub struct Doors {
    /// The local socket.
    pub local: Option<UnixListener>,
    /// Carries out requests.
    pub calls: Calls,
    /// Written anew whenever the node's peers change.
    pub roster: watch::Sender<Arc<Roster>>,
    /// The TUN device.
    pub interface: String,
}

impl Services {
    /// The services of the node that `directory` is about, with what they keep in its `state` folder.
    ///
    /// # Errors
    /// What is kept cannot be opened, or the settings contradict each other.
    pub async fn open(
        settings: config::Services,
        state: &Path,
        directory: Directory,
        interface: &str,
    ) -> Result<Services, Failure> {
        let (first, sequence) = SequenceFile::open(&state.join("events.seq"))?;
        let reach = Arc::new(dial::Overlay { silence: settings.events.silence });
        let reservation = Arc::new(sequence.clone());
        let events = Events::new(settings.events, directory.clone(), reach, first, reservation);
        let bridge = match &settings.bridge {
            Some(bridge) => Some(Arc::new(Bridge::open(bridge, &events).await?)),
            None => None,
        };
        let inbox = Inbox::open(settings.inbox, state, directory.clone(), Arc::new(connect))?;
        let files = Files::new(settings.files, state, inbox.clone());
        let kernel = streams::kernel(directory.me().address, interface.to_owned());
        let streams = Streams::new(directory.clone(), settings.streams, kernel)?;
        let tasks = Tasks::new(inbox.clone());
        Ok(Services { events, inbox, files, streams, tasks, directory, sequence, bridge })
    }

    /// What happened since the start, for the status.
    pub fn counters(&self) -> Value {
        let bridge = self.bridge.as_ref().map(|bridge| bridge.counts());
        json!({"events": self.events.counters(), "bridge": bridge, "inbox": self.inbox.counters()})
    }

    /// Serves until the future is dropped, which ends every service and closes every connection.
    pub async fn serve(self, doors: Doors) {
        let mut tasks = JoinSet::new();
        tasks.spawn(roster::follow(doors.calls.clone(), doors.roster));
        tasks.spawn(self.events.clone().run_links());
        tasks.spawn(self.inbox.clone().run());
        tasks.spawn(self.files.clone().run());
        tasks.spawn(self.streams.clone().serve());
        tasks.spawn(self.tasks.clone().run());
        self.open_overlay(&doors.interface, &mut tasks).await;
        if let Some(listener) = doors.local {
            let door = self.local_door(doors.calls).await;
            tasks.spawn(door.serve_local(listener, self.directory.clone()));
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Writes down what a clean stop knows better than a crash.
    pub fn close(&self) {
        if let Err(error) = self.sequence.write(self.events.next_seq()) {
            tracing::warn!(%error, "events will be numbered with a gap after the next start");
        }
    }

    async fn local_door(&self, calls: Calls) -> Door {
        let router = control::router(calls.clone())
            .merge(self.events.router())
            .merge(self.inbox.router())
            .merge(self.files.router())
            .merge(self.streams.router())
            .merge(self.tasks.router());
        let names = [events::SERVICE, inbox::SERVICE, streams::SERVICE, tasks::SERVICE];
        let lines = Arc::new(LocalLines { calls, events: self.events.lines() });
        Door::new(router, &names, lines, Limits::default()).await
    }

    async fn open_overlay(&self, interface: &str, tasks: &mut JoinSet<()>) {
        let address = self.directory.me().address;
        if let Some(listeners) = bound(address, echo::PORT, interface) {
            tasks.spawn(echo::serve(listeners));
        }
        let (events, inbox, work) = (self.events_door().await, self.inbox_door().await, self.tasks_door().await);
        for (port, door) in [(inbox::PORT, inbox), (dial::PORT, events), (tasks::PORT, work)] {
            if let Some(listeners) = bound(address, port, interface) {
                tasks.spawn(door.serve_overlay(listeners, self.directory.clone()));
            }
        }
    }

    async fn inbox_door(&self) -> Door {
        let router = self.inbox.router().merge(self.files.router()).merge(self.streams.grpc());
        Door::new(router, &[inbox::SERVICE, streams::SERVICE], self.inbox.lines(), Limits::default()).await
    }

    async fn events_door(&self) -> Door {
        Door::new(self.events.router(), &[events::SERVICE], self.events.lines(), Limits::default()).await
    }

    async fn tasks_door(&self) -> Door {
        Door::new(self.tasks.router(), &[tasks::SERVICE], self.tasks.lines(), Limits::default()).await
    }
}

/// A node whose port is taken goes on without it, and says so.
fn bound(address: Ipv6Addr, port: u16, interface: &str) -> Option<Vec<TcpListener>> {
    listen::listen(address, port, interface)
        .inspect_err(|error| tracing::error!(%error, "the service on port {port} cannot be reached"))
        .ok()
}

/// To a port of another node.
fn connect(address: Ipv6Addr, port: u16) -> std::pin::Pin<Box<dyn Future<Output = std::io::Result<TcpStream>> + Send>> {
    Box::pin(TcpStream::connect((address, port)))
}

#[cfg(test)]
mod tests {
    use super::{dial, echo, inbox, tasks};
    use crate::peer::Service;
    use crate::services::streams;

    #[test]
    fn a_grant_of_a_service_opens_the_port_that_it_has() {
        let ports = [echo::PORT, streams::DEFAULT_PORT, inbox::PORT, dial::PORT, tasks::PORT];
        assert_eq!(Service::ALL.map(Service::port), ports);
    }
}
