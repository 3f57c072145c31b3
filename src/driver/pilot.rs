//! The node of this machine, as its programs see it.

use std::path::{Path, PathBuf};

use super::events::Events;
use super::inbox::{Inbox, read};
use super::messages::{Message, Sent};
use super::route::Route;
use super::streams::{Listener, Stream};
use super::tasks::{NewTask, Task, Tasks};
use crate::control::views::Info;
use crate::control::{Client, Error, Request, default_socket};

/// Where to find the socket, when the program does not say.
const SOCKET: &str = "PILOT_SOCKET";

/// This machine's node, by its local socket. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Pilot {
    socket: PathBuf,
    client: Client,
    info: std::sync::Arc<Info>,
}

#[derive(serde::Serialize)]
struct Sending<'a> {
    node: &'a str,
    #[serde(flatten)]
    message: Message,
}

impl Pilot {
    /// The node behind the socket that `PILOT_SOCKET` names, or behind the usual one.
    ///
    /// # Errors
    /// `daemon_not_running` or `permission_denied` where it cannot be asked.
    pub async fn connect() -> Result<Pilot, Error> {
        Pilot::at(std::env::var_os(SOCKET).map_or_else(default_socket, PathBuf::from)).await
    }

    /// The node behind a socket.
    ///
    /// # Errors
    /// As [`Pilot::connect`].
    pub async fn at(socket: impl AsRef<Path>) -> Result<Pilot, Error> {
        let client = Client::new(&socket);
        let info = client.call::<Info>(&Request::Info).await?;
        Ok(Pilot { socket: socket.as_ref().to_owned(), client, info: info.into() })
    }

    /// The name of this node when we connected; its node ID where it has no name.
    pub fn hostname(&self) -> &str {
        self.info.hostname.as_deref().unwrap_or(&self.info.node_id)
    }

    /// Its node ID: `a1b2.c3d4.e5f6`.
    pub fn node_id(&self) -> &str {
        &self.info.node_id
    }

    /// Its overlay address.
    pub fn ipv6(&self) -> &str {
        &self.info.ipv6
    }

    /// Events: what this node and every trusted one publish, and what we do.
    ///
    /// # Errors
    /// None yet: connections are opened when they are needed.
    pub async fn events(&self) -> Result<Events, Error> {
        Ok(Events::new(self.route()))
    }

    /// Sends a message: it is on disk, here or there, when this returns.
    ///
    /// # Errors
    /// `not_found` for a node that is not trusted; what is wrong with the message; `daemon_not_running`.
    pub async fn send_message(&self, node: &str, message: Message) -> Result<Sent, Error> {
        let request = Sending { node, message };
        let body = serde_json::to_string(&request).map_err(|error| Error::new("internal", error.to_string()))?;
        read(self.client.post_raw("/v1/messages/send", body).await?.get().as_bytes())
    }

    /// What others have sent.
    pub fn inbox(&self) -> Inbox {
        Inbox::new(self.client.clone())
    }

    /// Submits a task: it is on disk when this returns, and goes to its worker once that can be reached.
    ///
    /// # Errors
    /// `not_found` for a node that is not trusted; `wrong_state` for an ID that is used; `daemon_not_running`.
    pub async fn submit_task(&self, node: &str, task: &NewTask) -> Result<Task, Error> {
        self.tasks().submit(node, task).await
    }

    /// Work for this node, and what became of that for others.
    pub fn tasks(&self) -> Tasks {
        Tasks::new(self.client.clone())
    }

    /// A stream to whoever listens on a port of another node.
    ///
    /// # Errors
    /// `no_listener`, `not_found`, `unreachable`; `daemon_not_running`.
    pub async fn connect_stream(&self, node: &str, port: u16) -> Result<Stream, Error> {
        Stream::connect(&self.route(), node, port).await
    }

    /// The streams that other nodes open to a port of this one, from now on.
    ///
    /// # Errors
    /// What is wrong with the port; `daemon_not_running`.
    pub async fn listen(&self, port: u16) -> Result<Listener, Error> {
        let lines = self.client.lines(&format!("/v1/streams/listen?port={port}")).await?;
        Ok(Listener::new(self.route(), lines))
    }

    fn route(&self) -> Route {
        Route::Local(self.socket.clone())
    }

    /// For what has no method of its own.
    pub fn client(&self) -> &Client {
        &self.client
    }
}
