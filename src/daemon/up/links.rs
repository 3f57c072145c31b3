//! What connects this node to its rendezvous servers: a link to each, and beside it the relay stream when it is wanted.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};

use crate::daemon::Failure;
use crate::datapath::{Injector, Parts};
use crate::identity::{Identity, RendezvousUrl};
use crate::link::{self, Detour, Reach};
use crate::rendezvous::LinkEvent;
use crate::rendezvous::client::Wish;
use crate::wire::rendezvous::ClientMessage;

/// Messages between the node and one rendezvous link.
const LINK_QUEUE: usize = 256;
/// Frames that wait for a relay stream: beyond that the newest are lost.
const STREAM_QUEUE: usize = 512;

/// The connections to all servers, with the ends that the node uses, in the order of the configuration.
pub struct Links {
    /// Messages to each server.
    pub out: Vec<mpsc::Sender<ClientMessage>>,
    /// What the links and the streams say.
    pub events: mpsc::Receiver<(u8, LinkEvent)>,
    /// Makes each link anew: the connection leads nowhere any more.
    pub redial: Vec<Arc<Notify>>,
    /// Frames to each relay.
    pub frames: Vec<mpsc::Sender<Vec<u8>>>,
    /// The other ends of those, until they are carried.
    pub streams: Vec<Stream>,
}

/// A relay stream that is not carried yet.
pub struct Stream {
    reach: Arc<Reach>,
    events: mpsc::Sender<LinkEvent>,
    outgoing: mpsc::Receiver<Vec<u8>>,
}

impl Links {
    /// Starts the link to each server, by way of a proxy where that applies.
    ///
    /// # Errors
    /// The identity does not make a TLS configuration.
    pub fn start(identity: &Identity, urls: &[RendezvousUrl], detour: Option<&Detour>) -> Result<Links, Failure> {
        let (all, events) = mpsc::channel(LINK_QUEUE);
        let mut links = Links { out: Vec::new(), events, redial: Vec::new(), frames: Vec::new(), streams: Vec::new() };
        for (number, url) in (0..).zip(urls) {
            let detour = detour.filter(|detour| detour.applies(url, |name| std::env::var(name).ok()));
            let reach = Reach::new(url.clone(), identity, detour.cloned())
                .map_err(|error| Failure::new(format!("the identity cannot be used for TLS: {error}")))?;
            links.add(number, reach, &all);
        }
        Ok(links)
    }

    fn add(&mut self, number: u8, reach: Arc<Reach>, all: &mpsc::Sender<(u8, LinkEvent)>) {
        let (out, messages) = mpsc::channel(LINK_QUEUE);
        let (events, said) = mpsc::channel(LINK_QUEUE);
        let (frames, outgoing) = mpsc::channel(STREAM_QUEUE);
        let redial = Arc::new(Notify::new());
        tokio::spawn(link::client::run(reach.clone(), events.clone(), messages, redial.clone()));
        tokio::spawn(number_all(number, said, all.clone()));
        self.out.push(out);
        self.redial.push(redial);
        self.frames.push(frames);
        self.streams.push(Stream { reach, events, outgoing });
    }
}

/// Passes on what one server's link says, with its number.
async fn number_all(number: u8, mut said: mpsc::Receiver<LinkEvent>, all: mpsc::Sender<(u8, LinkEvent)>) {
    while let Some(event) = said.recv().await {
        if all.send((number, event)).await.is_err() {
            return;
        }
    }
}

/// Keeps each stream whenever it is wished for; what comes in goes to the datapath.
pub fn carry(streams: Vec<Stream>, parts: &Parts) -> Vec<watch::Sender<Wish>> {
    let carry = |(number, stream): (u8, Stream)| stream.carry(Injector::new(parts.clone(), number));
    (0..).zip(streams).map(carry).collect()
}

impl Stream {
    fn carry(self, mut injector: Injector) -> watch::Sender<Wish> {
        let (wishes, wished) = watch::channel(Wish::default());
        let Stream { reach, events, outgoing } = self;
        let taken = move |frame: &[u8]| injector.take(frame);
        tokio::spawn(link::stream::run(reach, link::stream::Wiring { wished, outgoing, events, taken }));
        wishes
    }
}
