//! Events, published and subscribed to on one node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::draft::Draft;
use super::event::Event;
use super::options::Options;
use super::publisher::Publisher;
use super::route::Route;
use super::subscription::Subscription;
use crate::control::Error;
use crate::services::events::topic::Pattern;

/// The event stream of a node; clones share one connection for publishing.
#[derive(Clone)]
pub struct Events {
    inner: Arc<Inner>,
}

struct Inner {
    route: Route,
    publisher: Publisher,
}

impl Events {
    pub(super) fn new(route: Route) -> Events {
        Events { inner: Arc::new(Inner { publisher: Publisher::new(route.clone()), route }) }
    }

    /// Straight to port 1002 of a node that trusts us, past the local daemon: what is published is handed to that node
    /// alone, what is subscribed to is what that node publishes.
    ///
    /// # Errors
    /// None yet: connections are opened when they are needed.
    pub async fn dial(address: SocketAddr) -> Result<Events, Error> {
        Ok(Events::new(Route::Overlay(address)))
    }

    pub(super) fn route(&self) -> &Route {
        &self.inner.route
    }

    /// Publishes a value, as JSON.
    ///
    /// Returns when the event is on its way or waits with others to be; [`flush`](Events::flush) waits until the node
    /// has it.
    ///
    /// # Errors
    /// `invalid_topic`, `invalid_request` or `too_large` for this event; in place of publishing this one, what was
    /// wrong with an earlier one; `daemon_not_running`, `unreachable` or `permission_denied` where the node is not there.
    pub async fn publish(&self, topic: &str, value: &impl Serialize) -> Result<(), Error> {
        self.send(Draft::value(topic, value)?).await
    }

    /// Publishes an event with everything that one can have.
    ///
    /// # Errors
    /// As [`Events::publish`].
    pub async fn send(&self, draft: Draft<'_>) -> Result<(), Error> {
        self.inner.publisher.send(&draft).await
    }

    /// Waits until the node has published everything before this.
    ///
    /// # Errors
    /// As [`Events::publish`], for everything before this.
    pub async fn flush(&self) -> Result<(), Error> {
        self.inner.publisher.flush().await
    }

    /// Subscribes to a pattern, or with [`Options`]. When it returns, the node knows: what is published there
    /// after, comes. Other nodes learn of it a moment later.
    ///
    /// # Errors
    /// `invalid_topic` for no pattern; what the node refuses; as [`Events::publish`] where it is not there.
    pub async fn subscribe(&self, options: impl Into<Options>) -> Result<Subscription, Error> {
        let request = options.into().request;
        for pattern in &request.patterns {
            Pattern::parse(pattern)?;
        }
        Subscription::open(self.clone(), request).await
    }

    /// Publishes a value and waits for the first reply to it.
    ///
    /// # Errors
    /// `timeout` where none came; as [`Events::publish`].
    pub async fn request(&self, topic: &str, value: &impl Serialize, patience: Duration) -> Result<Event, Error> {
        super::asking::ask(self, Draft::value(topic, value)?, patience).await
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("route", &self.inner.route).finish_non_exhaustive()
    }
}
