//! Opens the doors: the local socket, and the ports of the overlay address.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::calls::Calls;
use super::lines::LocalLines;
use super::roster;
use crate::control;
use crate::services::directory::{Directory, Roster};
use crate::services::door::{Door, Limits};
use crate::services::{echo, listen};

/// What the services stand on.
pub struct Ground {
    /// The local socket; its file is gone when the services end.
    pub control: control::Server,
    /// Carries out requests.
    pub calls: Calls,
    /// Who we are, as far as that is known without asking.
    pub roster: Roster,
    /// The TUN device.
    pub interface: String,
}

/// Serves until the future is dropped, which ends every service and closes every connection.
pub async fn serve(mut ground: Ground) {
    let address = ground.roster.me.address;
    let (roster, watched) = watch::channel(Arc::new(ground.roster));
    let directory = Directory::new(watched);
    let mut tasks = JoinSet::new();
    tasks.spawn(roster::follow(ground.calls.clone(), roster));
    tasks.spawn(serve_echo(address, ground.interface.clone()));
    if let Some(listener) = ground.control.listener() {
        let lines = Arc::new(LocalLines { calls: ground.calls.clone() });
        let door = Door::new(control::router(ground.calls), &[], lines, Limits::default()).await;
        tasks.spawn(door.serve_local(listener, directory.clone()));
    }
    while tasks.join_next().await.is_some() {}
}

async fn serve_echo(address: std::net::Ipv6Addr, interface: String) {
    match listen::listen(address, echo::PORT, &interface) {
        Ok(listeners) => echo::serve(listeners).await,
        Err(error) => tracing::warn!(%error, "no echo service on port {}", echo::PORT),
    }
}
