//! redis-server by the crate `redis`, as programs use it; under load in pipelines.

use anyhow::Result;
use futures_util::StreamExt;
use redis::aio::MultiplexedConnection;
use redis::{Client, Pipeline};

use super::{Place, Publisher, Rival, TOPIC};
use crate::progress::Sink;

/// Commands in a pipeline at most.
const PIPELINE: usize = 256;

/// See the module.
pub struct RedisCrate;

/// A connection that publishes.
pub struct RedisClient {
    connection: MultiplexedConnection,
    waiting: Pipeline,
    count: usize,
    one_by_one: bool,
}

impl Rival for RedisCrate {
    type Publisher = RedisClient;

    async fn publisher(server: &Place, one_by_one: bool) -> Result<RedisClient> {
        let connection = Client::open(format!("redis://{}", server.tcp()?))?.get_multiplexed_async_connection().await?;
        Ok(RedisClient { connection, waiting: Pipeline::new(), count: 0, one_by_one })
    }

    async fn subscribe(server: &Place, _patterns: usize, mut sink: Sink) -> Result<()> {
        let mut subscriber = Client::open(format!("redis://{}", server.tcp()?))?.get_async_pubsub().await?;
        subscriber.subscribe(TOPIC).await?;
        tokio::spawn(async move {
            let mut messages = subscriber.on_message();
            while let Some(message) = messages.next().await {
                sink.take(message.get_payload_bytes());
            }
            sink.fail("the redis crate ended the subscription".to_owned());
        });
        Ok(())
    }
}

impl Publisher for RedisClient {
    async fn publish(&mut self, payload: &[u8]) -> Result<()> {
        self.waiting.cmd("PUBLISH").arg(TOPIC).arg(payload).ignore();
        self.count += 1;
        if self.one_by_one || self.count >= PIPELINE { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<()> {
        if self.count > 0 {
            self.waiting.query_async::<()>(&mut self.connection).await?;
            self.waiting.clear();
            self.count = 0;
        }
        Ok(())
    }
}
