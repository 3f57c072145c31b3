//! What connects this node to its rendezvous server: the link, and beside it the relay stream when it is wanted.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};

use crate::daemon::Failure;
use crate::datapath::Injector;
use crate::identity::{Identity, RendezvousUrl};
use crate::link::{self, Detour, Reach};
use crate::rendezvous::LinkEvent;
use crate::rendezvous::client::Wish;
use crate::wire::rendezvous::ClientMessage;

/// Messages between the node and the rendezvous link.
const LINK_QUEUE: usize = 256;
/// Frames that wait for the relay stream: beyond that the newest are lost.
const STREAM_QUEUE: usize = 512;

/// The connections to one server, with the ends that the node uses.
pub struct Links {
    /// Messages to the server.
    pub out: mpsc::Sender<ClientMessage>,
    /// What the link and the stream say.
    pub events: mpsc::Receiver<LinkEvent>,
    /// Makes the link anew: the connection leads nowhere any more.
    pub redial: Arc<Notify>,
    /// Frames to its relay.
    pub frames: mpsc::Sender<Vec<u8>>,
    /// The other end of those, until it is carried.
    pub stream: Stream,
}

/// A relay stream that is not carried yet.
pub struct Stream {
    reach: Arc<Reach>,
    events: mpsc::Sender<LinkEvent>,
    outgoing: mpsc::Receiver<Vec<u8>>,
}

impl Links {
    /// Starts the link to a server, by way of a proxy where that applies.
    ///
    /// # Errors
    /// The identity does not make a TLS configuration.
    pub fn start(identity: &Identity, url: RendezvousUrl, detour: Option<&Detour>) -> Result<Links, Failure> {
        let detour = detour.filter(|detour| detour.applies(&url, |name| std::env::var(name).ok()));
        let reach = Reach::new(url, identity, detour.cloned())
            .map_err(|error| Failure::new(format!("the identity cannot be used for TLS: {error}")))?;
        let (out, messages) = mpsc::channel(LINK_QUEUE);
        let (said, events) = mpsc::channel(LINK_QUEUE);
        let (frames, outgoing) = mpsc::channel(STREAM_QUEUE);
        let redial = Arc::new(Notify::new());
        tokio::spawn(link::client::run(reach.clone(), said.clone(), messages, redial.clone()));
        Ok(Links { out, events, redial, frames, stream: Stream { reach, events: said, outgoing } })
    }
}

impl Stream {
    /// Keeps the stream whenever it is wished for; what comes in goes to `injector`.
    pub fn carry(self, mut injector: Injector) -> watch::Sender<Wish> {
        let (wishes, wished) = watch::channel(Wish::default());
        let Stream { reach, events, outgoing } = self;
        let taken = move |frame: &[u8]| injector.take(frame);
        tokio::spawn(link::stream::run(reach, link::stream::Wiring { wished, outgoing, events, taken }));
        wishes
    }
}
