//! Publishes one event: `cargo run --example publish`.
use pilot::Pilot;

#[tokio::main]
async fn main() -> Result<(), pilot::Error> {
    let pilot = Pilot::connect().await?;
    let events = pilot.events().await?;
    events.publish("metrics.cpu", &serde_json::json!({"host": pilot.hostname(), "percent": 73.2})).await?;
    events.flush().await
}
