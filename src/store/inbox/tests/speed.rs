//! How fast messages become durable, beside what the disk allows: `cargo test --release -- --ignored inbox_speed`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{InboxStore, Limits, open};

/// How long each figure is measured.
const SPAN: Duration = Duration::from_secs(3);

/// Appends of 4 KiB, each synced, a second.
fn syncs(folder: &Path) -> f64 {
    let mut file = File::create(folder.join("syncs")).unwrap();
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < SPAN {
        file.write_all(&[0; 4096]).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / started.elapsed().as_secs_f64()
}

/// Messages a second, and the 99th percentile of the time until one is durable.
async fn rate(store: &InboxStore, in_flight: u64) -> (f64, Duration) {
    let started = Instant::now();
    let senders = (0..in_flight).map(|sender| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut took = Vec::new();
            while started.elapsed() < SPAN {
                let (id, begun) = (uuid::Uuid::now_v7().to_string(), Instant::now());
                store.take(1 + sender % 16, &id, &[b'x'; 128]).await.unwrap();
                took.push(begun.elapsed());
            }
            took
        })
    });
    let mut all = Vec::new();
    for sender in senders.collect::<Vec<_>>() {
        all.extend(sender.await.unwrap());
    }
    let rate = all.len() as f64 / started.elapsed().as_secs_f64();
    all.sort();
    (rate, all[all.len() * 99 / 100])
}

#[test]
#[ignore = "a measurement: in release mode, on the disk that is meant"]
fn inbox_speed() {
    let folder = tempfile::tempdir_in(std::env::var("PILOT_BENCH_FOLDER").unwrap_or_else(|_| ".".into())).unwrap();
    let limits = Limits {
        sender_messages: u64::MAX,
        sender_bytes: u64::MAX,
        messages: u64::MAX,
        bytes: u64::MAX,
        ..Limits::default()
    };
    let store = open(folder.path(), limits);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let syncs = syncs(folder.path());
    println!("fsync/s {syncs:.0}");
    for (in_flight, target) in [(1, 0.0), (64, 5.0), (1_000, 15.0)] {
        let (rate, p99) = runtime.block_on(rate(&store, in_flight));
        println!("{in_flight} in flight: {rate:.0}/s, {:.1} x fsync, p99 {p99:?}", rate / syncs);
        assert!(rate >= target * syncs, "the target is {target} times the rate of the disk");
    }
}
