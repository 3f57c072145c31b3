//! Events handed to one peer, and to nobody else: `publish NODE TOPIC`, and replies.
//!
//! In: elements for a peer. Out: on a connection to its port 1002 that is kept while it is used, and its word that they
//! were taken.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::batch::{Item, items};
use super::dial::{Dial, Frames};
use super::wire::put_number;
use crate::control::Error;
use crate::identity::NodeId;
use crate::services::directory::Member;

/// Parcels that wait for a connection.
const WAITING: usize = 256;
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);
/// How long a peer may take to take a parcel.
const PATIENCE: Duration = Duration::from_secs(5);

struct Parcel {
    elements: Bytes,
    taken: Option<oneshot::Sender<Result<(), Error>>>,
}

type Carriers = Arc<Mutex<HashMap<NodeId, mpsc::Sender<Parcel>>>>;

/// What is handed to peers.
pub(super) struct Hands {
    dial: Arc<dyn Dial>,
    carriers: Carriers,
}

impl Hands {
    pub fn new(dial: Arc<dyn Dial>) -> Hands {
        Hands { dial, carriers: Carriers::default() }
    }

    /// Hands elements over, and waits until they were taken.
    pub async fn hand(&self, peer: &Arc<Member>, elements: Bytes) -> Result<(), Error> {
        let (taken, outcome) = oneshot::channel();
        self.put(peer, Parcel { elements, taken: Some(taken) })?;
        outcome.await.unwrap_or_else(|_| Err(Error::new("unreachable", format!("{} is not reached any more", peer.id))))
    }

    /// Hands elements over, whatever comes of it.
    pub fn send(&self, peer: &Arc<Member>, elements: Bytes) -> Result<(), Error> {
        self.put(peer, Parcel { elements, taken: None })
    }

    fn put(&self, peer: &Arc<Member>, parcel: Parcel) -> Result<(), Error> {
        let mut carriers = self.carriers.lock();
        let carrier = match carriers.get(&peer.id).filter(|carrier| !carrier.is_closed()) {
            Some(carrier) => carrier.clone(),
            None => {
                let carrier = self.begin(peer)?;
                carriers.insert(peer.id, carrier.clone());
                carrier
            }
        };
        carrier.try_send(parcel).map_err(|_| {
            Error::new("too_many", format!("{WAITING} batches wait to be handed to {}", peer.id))
                .hint("wait until some are taken")
        })
    }

    fn begin(&self, peer: &Arc<Member>) -> Result<mpsc::Sender<Parcel>, Error> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| Error::new("internal", "events are handed over outside of the daemon's runtime"))?;
        let (carrier, parcels) = mpsc::channel(WAITING);
        runtime.spawn(carry(self.dial.clone(), peer.clone(), parcels));
        Ok(carrier)
    }
}

/// Carries parcels to one peer until none has come for a while.
async fn carry(dial: Arc<dyn Dial>, peer: Arc<Member>, mut parcels: mpsc::Receiver<Parcel>) {
    let mut kept = None;
    loop {
        let parcel = match timeout(IDLE, parcels.recv()).await {
            Ok(Some(parcel)) => parcel,
            Ok(None) => return,
            // What came in the last moment is still carried.
            Err(_) => {
                parcels.close();
                continue;
            }
        };
        let outcome = deliver(&*dial, &peer, &parcel.elements, &mut kept).await;
        if outcome.is_err() {
            kept = None;
        }
        if let Some(taken) = parcel.taken {
            // Whoever asked may have left.
            let _ = taken.send(outcome);
        }
    }
}

/// Delivers by the kept connection, or by a new one where that has ended meanwhile.
async fn deliver(dial: &dyn Dial, peer: &Member, elements: &Bytes, kept: &mut Option<Frames>) -> Result<(), Error> {
    if let Some(frames) = kept {
        match exchange(frames, elements).await {
            Err(error) if error.code == "unreachable" => *kept = None,
            outcome => return outcome,
        }
    }
    let frames = kept.insert(Frames::connect(dial, peer).await?);
    exchange(frames, elements).await
}

async fn exchange(frames: &mut Frames, elements: &Bytes) -> Result<(), Error> {
    let mut request = BytesMut::from(&elements[..]);
    put_number(&mut request, 3, 1);
    let gone = |error: std::io::Error| Error::new("unreachable", format!("the connection broke: {error}"));
    let answer = async {
        frames.send(&request).await.map_err(gone)?;
        let mut outcome = Ok(());
        while let Some(batch) = frames.next().await.map_err(gone)? {
            for item in items(&batch) {
                match item? {
                    Item::Refused(error) => outcome = Err(error),
                    Item::Flushed(_) => return outcome,
                    _ => {}
                }
            }
        }
        Err(gone(std::io::ErrorKind::UnexpectedEof.into()))
    };
    match timeout(PATIENCE, answer).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::new("timeout", format!("events were not taken within {PATIENCE:?}"))),
    }
}
