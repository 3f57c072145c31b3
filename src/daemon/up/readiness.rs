//! When a node is ready: it is logged in at its rendezvous, or has found that the server is away.

use std::time::Duration;

use tokio::sync::watch;

use crate::daemon::memory;
use crate::node::Event;

/// A server that neither answers nor refuses holds nobody up for longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether an event says how the rendezvous stands.
pub fn settles(event: &Event) -> bool {
    matches!(event, Event::RendezvousUp { .. } | Event::RendezvousDown { .. })
}

/// Says that the node is ready once it is: to those who wait, to the supervisor, and in the log.
pub async fn announce(ready: watch::Sender<bool>, line: String) {
    let mut settled = ready.subscribe();
    // Ready after that time, too: the node works as far as it can.
    let _ = tokio::time::timeout(PATIENCE, settled.wait_for(|settled| *settled)).await;
    ready.send_replace(true);
    tracing::info!("{line}");
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status(&line)]) {
        tracing::warn!(%error, "the supervisor could not be told that this node is ready");
    }
    memory::forget_the_start();
}
