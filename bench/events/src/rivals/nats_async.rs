//! nats-server by `async-nats`, as programs use it.

use anyhow::Result;
use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt;

use super::{Place, Publisher, Rival, TOPIC};
use crate::progress::Sink;

/// See the module.
pub struct NatsAsync;

/// A client that publishes; it flushes by itself.
pub struct NatsClient(Client);

impl Rival for NatsAsync {
    type Publisher = NatsClient;

    async fn publisher(server: &Place, _one_by_one: bool) -> Result<NatsClient> {
        Ok(NatsClient(async_nats::connect(server.tcp()?.to_string()).await?))
    }

    async fn subscribe(server: &Place, _patterns: usize, mut sink: Sink) -> Result<()> {
        let client = async_nats::connect(server.tcp()?.to_string()).await?;
        let mut messages = client.subscribe(TOPIC).await?;
        client.flush().await?;
        tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                sink.take(&message.payload);
            }
            drop(client);
            sink.fail("async-nats ended the subscription".to_owned());
        });
        Ok(())
    }
}

impl Publisher for NatsClient {
    async fn publish(&mut self, payload: &[u8]) -> Result<()> {
        Ok(self.0.publish(TOPIC, Bytes::copy_from_slice(payload)).await?)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
