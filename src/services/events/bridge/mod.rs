//! A bridge to NATS: topics mirrored to subjects and subjects to topics, for those whose volume outgrows peers.
//!
//! In: the bus, and a NATS server that may come and go. Out: what the exports name goes there, what the imports name is
//! published here. Topics and subjects are the same tokens ([`names`]); content type, headers and binary data survive.
//! Nothing goes round in circles: what came from NATS is not sent there, what went there is not taken back.
//! Replies (`reply_to`) stay inside: a requester on the other side has no way back.

mod connect;
mod export;
mod import;
mod message;
pub mod names;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::task::JoinSet;

use super::bus::Bus;
use super::facade::Events;
use crate::control::Error;
use export::Exporter;
use import::Importer;
pub use settings::{Export, Import, JetStream, Settings};

/// What the bridge has done so far.
#[derive(Debug, Default)]
pub struct Counters {
    exported: AtomicU64,
    imported: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
}

/// The same, to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Events sent to NATS.
    pub exported: u64,
    /// Messages of NATS that were published here.
    pub imported: u64,
    /// Events that did not get there: the server was away too long, or they were too long for it.
    pub dropped: u64,
    /// Messages that are no events.
    pub refused: u64,
}

impl Counters {
    /// What they say now.
    pub fn counts(&self) -> Counts {
        Counts {
            exported: self.exported.load(Relaxed),
            imported: self.imported.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }

    fn exported(&self, count: u64) {
        self.exported.fetch_add(count, Relaxed);
    }

    fn imported(&self, count: u64) {
        self.imported.fetch_add(count, Relaxed);
    }

    fn dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Relaxed);
    }

    fn refused(&self, count: u64) {
        self.refused.fetch_add(count, Relaxed);
    }
}

/// A bridge that runs; it ends when it is dropped.
pub struct Bridge {
    counters: Arc<Counters>,
    tasks: JoinSet<()>,
}

impl Bridge {
    /// Begins to mirror events of this node. The server need not be there yet.
    ///
    /// # Errors
    /// `bad_argument`, `invalid_topic` for settings that cannot work.
    pub async fn open(settings: &Settings, events: &Events) -> Result<Bridge, Error> {
        Bridge::start(settings, events.inner.bus.clone()).await
    }

    /// As [`Bridge::open`], at the bus itself.
    ///
    /// # Errors
    /// The same.
    pub async fn start(settings: &Settings, bus: Arc<Bus>) -> Result<Bridge, Error> {
        let counters = Arc::<Counters>::default();
        let exporters = settings.export.iter().map(|export| Exporter::new(&bus, settings, export, counters.clone()));
        let exporters = exporters.collect::<Result<Vec<_>, Error>>()?;
        let connection = connect::connect(settings, &bus.me().to_string()).await?;
        let mut tasks = JoinSet::new();
        for exporter in exporters {
            tasks.spawn(exporter.run(connection.clone()));
        }
        for import in settings.import.iter().cloned() {
            let importer = Importer { bus: bus.clone(), import, counters: counters.clone() };
            match settings.jetstream {
                None => tasks.spawn(importer.run(connection.clone())),
                Some(_) => tasks.spawn(importer.run_durably(connection.clone())),
            };
        }
        Ok(Bridge { counters, tasks })
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        self.counters.counts()
    }

    /// Returns when the bridge has ended, which it does not by itself.
    pub async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
