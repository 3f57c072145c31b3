//! Keeps one mapping at one gateway: asks, renews, waits longer after each failure, removes at the end.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::epoch::Epoch;
use super::lease::{Lease, obtain};
use super::mapping::{Mapping, Tried};
use super::schedule::{backoff, renewal};
use super::sites::Place;

/// However often a gateway announces itself, it is not asked more often.
const LEAST: Duration = Duration::from_secs(3);

/// Patience with a gateway at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// A reason to ask again before it is time.
#[derive(Clone, Copy, Debug)]
pub enum Nudge {
    /// The network may be another one.
    Refresh,
    /// The gateway announced its clock.
    Announced(Epoch),
}

/// How things stand.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where.
    pub place: Place,
    /// What holds.
    pub mapping: Option<Mapping>,
    /// What was asked, and what came of it.
    pub tried: Vec<Tried>,
}

struct Keeper {
    place: Place,
    nonce: [u8; 12],
    reports: mpsc::Sender<Report>,
    lease: Option<Lease>,
    /// In a row.
    failures: u32,
}

/// Keeps a mapping of `place` until the other end of `stopped` is dropped, then gives it back.
pub async fn keep(
    place: Place,
    nonce: [u8; 12],
    nudges: mpsc::Receiver<Nudge>,
    stopped: oneshot::Receiver<()>,
    reports: mpsc::Sender<Report>,
) {
    let mut keeper = Keeper { place, nonce, reports, lease: None, failures: 0 };
    tokio::select! {
        _ = stopped => {}
        () = keeper.work(nudges) => {}
    }
    keeper.give_back().await;
}

impl Keeper {
    async fn work(&mut self, mut nudges: mpsc::Receiver<Nudge>) {
        loop {
            let asked = Instant::now();
            let tried = self.ask().await;
            let mapping = self.lease.as_ref().map(|lease| lease.mapping);
            if self.reports.send(Report { place: self.place, mapping, tried }).await.is_err() {
                return;
            }
            self.pause(asked, &mut nudges).await;
        }
    }

    async fn ask(&mut self) -> Vec<Tried> {
        if let Some(lease) = &self.lease
            && let Ok(renewed) = lease.renew(&self.place).await
        {
            let outcome = format!("mapped {}", renewed.mapping.external);
            let tried = Tried { protocol: renewed.mapping.protocol, outcome };
            self.lease = Some(renewed);
            self.failures = 0;
            return vec![tried];
        }
        let (lease, tried) = obtain(&self.place, self.nonce).await;
        self.failures = if lease.is_some() { 0 } else { self.failures.saturating_add(1) };
        let now = std::time::Instant::now();
        self.lease = lease.or(self.lease.take().filter(|held| now < held.mapping.expires));
        tried
    }

    /// Until it is time, or there is a reason to ask now.
    async fn pause(&mut self, asked: Instant, nudges: &mut mpsc::Receiver<Nudge>) {
        let next = asked + self.wait();
        loop {
            tokio::select! {
                () = sleep_until(next) => return,
                Some(nudge) = nudges.recv() => if self.matters(nudge) {
                    break;
                },
            }
        }
        sleep_until(asked + LEAST).await;
        while nudges.try_recv().is_ok() {}
        self.failures = 0;
    }

    fn wait(&self) -> Duration {
        match (&self.lease, self.failures) {
            (Some(lease), 0) => renewal(lease.lifetime),
            (Some(lease), failures) => {
                let left = lease.mapping.expires.saturating_duration_since(std::time::Instant::now());
                backoff(failures).min(left.max(LEAST))
            }
            (None, failures) => backoff(failures),
        }
    }

    fn matters(&self, nudge: Nudge) -> bool {
        let known = self.lease.as_ref().and_then(|lease| lease.epoch);
        match (nudge, known) {
            (Nudge::Announced(epoch), Some(known)) => known.has_restarted(epoch),
            _ => true,
        }
    }

    async fn give_back(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        match timeout(FAREWELL, lease.remove(&self.place)).await {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => tracing::debug!(gateway = %self.place.gateway, "mapping not removed: {refusal}"),
            Err(_) => tracing::debug!(gateway = %self.place.gateway, "mapping not removed: no answer"),
        }
    }
}
