//! Publishes the load of this machine's processors every five seconds: `cargo run --example cpu_publisher`.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pilot::Pilot;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pilot = Pilot::connect().await?;
    let events = pilot.events().await?;
    let mut before = ticks()?;
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let now = ticks()?;
        let (busy, all) = (now.0 - before.0, (now.1 - before.1).max(1));
        before = now;
        let percent = (1000.0 * busy as f64 / all as f64).round() / 10.0;
        let ts = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        let reading = json!({"topic": "metrics.cpu", "host": pilot.hostname(), "percent": percent, "ts": ts});
        events.publish("metrics.cpu", &reading).await?;
    }
}

/// Busy ticks and all ticks since boot.
fn ticks() -> std::io::Result<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
    let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    let all: u64 = ticks.iter().sum();
    Ok((all - idle, all))
}
