//! Prints what is published: `cargo run --example subscribe`.
use pilot::Pilot;

#[tokio::main]
async fn main() -> Result<(), pilot::Error> {
    let events = Pilot::connect().await?.events().await?;
    let mut metrics = events.subscribe("metrics.*").await?;
    while let Some(event) = metrics.next().await {
        println!("{}: {}", event.topic(), event.text());
    }
    Ok(())
}
