//! `kill -9` at any moment: what was acknowledged is there, once, in its order.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{InboxStore, Limits, Outcome, everything, open};

const SENDERS: u64 = 16;
/// The folder of the child; it also says that this process is the child.
const FOLDER: &str = "PILOT_CRASH_FOLDER";
/// How often the child is killed.
const ROUNDS: &str = "PILOT_CRASH_ROUNDS";

/// Not a test: the process that is killed. Delivers for 16 senders at once, and says what was acknowledged.
#[test]
#[ignore = "the child process of the next test"]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(folder.as_ref(), Limits::default());
        let held = store.ids(everything()).await;
        let senders = (1..=SENDERS).map(|sender| tokio::spawn(deliver(store.clone(), sender, first(&held, sender))));
        for sender in senders.collect::<Vec<_>>() {
            sender.await.unwrap();
        }
    });
}

/// The number of the last message of a sender: its acknowledgement may have been lost, so it is delivered again.
fn first(held: &[String], sender: u64) -> u64 {
    let prefix = format!("{sender}-");
    held.iter().filter_map(|id| id.strip_prefix(&prefix)?.parse().ok()).max().unwrap_or(0)
}

async fn deliver(store: InboxStore, sender: u64, first: u64) {
    for number in first.. {
        let id = format!("{sender}-{number}");
        let outcome = store.take(sender, &id, id.as_bytes()).await.unwrap();
        assert!(matches!(outcome, Outcome::Stored(_) | Outcome::Duplicate), "{outcome:?}");
        // One write a line: a killed process leaves whole lines.
        nix::unistd::write(std::io::stdout(), format!("\nacknowledged {id}\n").as_bytes()).unwrap();
    }
}

/// Runs the child until it has acknowledged something and `lifetime` is over; gives what it acknowledged.
fn round(folder: &std::path::Path, lifetime: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "store::inbox::tests::crash::child"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    let mut killed_at = None;
    for line in lines.map_while(Result::ok) {
        acknowledged.extend(line.strip_prefix("acknowledged ").map(str::to_owned));
        if acknowledged.is_empty() {
            continue;
        }
        let at = *killed_at.get_or_insert_with(|| Instant::now() + lifetime);
        if Instant::now() >= at {
            // SIGKILL; lines that it had written are still read.
            let _ = child.kill();
        }
    }
    child.wait().unwrap();
    acknowledged
}

#[test]
fn what_was_acknowledged_is_there_once_and_in_order_after_every_kill() {
    let rounds: u64 = std::env::var(ROUNDS).ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = std::collections::BTreeSet::new();
    for round_number in 0..rounds {
        let lifetime = Duration::from_micros(round_number * 7_919 % 60_000);
        let new = round(folder.path(), lifetime);
        assert!(!new.is_empty(), "round {round_number}: the child acknowledged nothing");
        acknowledged.extend(new);
        let held =
            tokio::runtime::Runtime::new().unwrap().block_on(open(folder.path(), Limits::default()).ids(everything()));
        let mut last = std::collections::BTreeMap::new();
        for id in &held {
            let (sender, number) = id.split_once('-').unwrap();
            let number: u64 = number.parse().unwrap();
            let next = last.insert(sender, number).map_or(0, |before: u64| before + 1);
            assert_eq!(number, next, "round {round_number}: sender {sender}");
        }
        let held: std::collections::BTreeSet<_> = held.into_iter().collect();
        let lost: Vec<_> = acknowledged.difference(&held).collect();
        assert!(lost.is_empty(), "round {round_number}: lost {lost:?}");
    }
}
