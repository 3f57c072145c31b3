//! Pilot by its Rust driver, to a node's port 1002 or by its local socket.

use ::pilot::{Draft, Events, Options};
use anyhow::Result;

use super::{Place, Publisher, Rival, TOPIC};
use crate::progress::Sink;

/// See the module.
pub struct Pilot;

/// A driver that publishes; it flushes by itself.
pub struct Driver(Events);

impl Rival for Pilot {
    type Publisher = Driver;

    async fn publisher(server: &Place, _one_by_one: bool) -> Result<Driver> {
        Ok(Driver(events(server).await?))
    }

    async fn subscribe(server: &Place, patterns: usize, mut sink: Sink) -> Result<()> {
        let options = (1..patterns).fold(Options::new(TOPIC), |options, n| options.and(format!("bench.other.*.{n}")));
        let mut events = events(server).await?.subscribe(options).await?;
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if event.missed() > 0 {
                    sink.fail(format!("pilot says that {} events were missed", event.missed()));
                }
                sink.take(event.data());
            }
            sink.fail(format!("pilot ended the subscription: {:?}", events.error()));
        });
        Ok(())
    }
}

async fn events(server: &Place) -> Result<Events> {
    Ok(match server {
        Place::Tcp(address) => Events::dial(*address).await?,
        Place::Socket(path) => ::pilot::Pilot::at(path).await?.events().await?,
    })
}

impl Publisher for Driver {
    async fn publish(&mut self, payload: &[u8]) -> Result<()> {
        Ok(self.0.send(Draft::json(TOPIC, payload)).await?)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
