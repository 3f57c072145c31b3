//! Prints what every node measures, and raises an alert above 90 %: `cargo run --example aggregator`.
use std::time::{SystemTime, UNIX_EPOCH};

use pilot::{Event, Pilot};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Reading {
    host: String,
    percent: Option<f64>,
    alloc_mb: Option<f64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pilot = Pilot::connect().await?;
    let events = pilot.events().await?;
    let mut metrics = events.subscribe("metrics.*").await?;
    while let Some(event) = metrics.next().await {
        let Some(reading) = show(&event) else { continue };
        if let Some(percent) = reading.percent.filter(|percent| *percent > 90.0) {
            let ts = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
            let message = format!("CPU at {percent:.1}%");
            let alert = json!({"level": "critical", "message": message, "source": reading.host, "ts": ts});
            events.publish("alerts.cpu", &alert).await?;
        }
    }
    Ok(())
}

/// Prints a reading; what is none is passed over.
fn show(event: &Event) -> Option<Reading> {
    let reading: Reading = event.json().ok()?;
    match (reading.percent, reading.alloc_mb) {
        (Some(percent), _) => println!("[CPU] {}: {percent:.1}%", reading.host),
        (_, Some(megabytes)) => println!("[MEM] {}: {megabytes:.0} MB", reading.host),
        _ => return None,
    }
    Some(reading)
}
