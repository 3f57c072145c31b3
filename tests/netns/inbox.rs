//! Messages and files between real nodes: crashes, absences, every way in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::lab::{Node, TwoHomes, json, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// The IDs in a node's inbox, with how often each is there.
fn received(node: &Node) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    let mut after = 0;
    loop {
        let data = node.ctl(&["inbox", "--limit", "1000", "--after", &after.to_string()]);
        let messages = data["messages"].as_array().unwrap();
        let Some(last) = messages.last() else { break };
        after = last["seq"].as_u64().unwrap();
        for message in messages {
            *ids.entry(message["id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    ids
}

#[test]
fn l11_a_message_for_a_receiver_that_is_away_is_delivered_when_it_returns() {
    let mut pair = TwoHomes::connected();
    let delivered = pair.a.ctl(&["send-message", "b", "--data", "first", "--id", "m-1"]);
    assert_eq!(delivered["state"], "delivered", "{delivered}");
    pair.b.kill();
    let queued =
        pair.a.ctl(&["send-message", "b", "--data", r#"{"n": 2}"#, "--type", "json", "--id", "m-2", "--wait", "0s"]);
    assert_eq!(queued["state"], "queued", "{queued}");
    assert!(pair.a.says("pilotctl outbox").contains("m-2"));
    pair.a.kill();
    pair.a.launch();
    pair.b.start();
    until("the message is there", PATIENCE, || received(&pair.b).contains_key("m-2"));
    pair.a.ctl(&["wait"]);
    let again = pair.a.ctl(&["send-message", "b", "--data", "first", "--id", "m-1"]);
    assert_eq!(again["state"], "delivered", "a retry is harmless: {again}");
    pair.b.says("pilotctl inbox ack m-1; pilotctl inbox clear --read");
    pair.a.ctl(&["send-message", "b", "--data", "first", "--id", "m-1"]);
    assert!(!received(&pair.b).contains_key("m-1"), "also after it was cleared");
    let bad = pair.a.try_ctl(&["send-message", "b", "--data", "{broken", "--type", "json"]).unwrap_err();
    assert_eq!(bad["code"], "invalid_json", "{bad}");
}

#[test]
fn nobody_reads_an_inbox_over_the_overlay() {
    let pair = TwoHomes::connected();
    pair.a.ctl(&["send-message", "b", "--data", "secret"]);
    for path in ["inbox", "inbox/follow", "outbox", "received", "info", "peers"] {
        let said = pair.a.says(&format!("curl -s --max-time 5 'http://[{}]:1001/v1/{path}'", pair.b.ipv6));
        let answer = json(&said);
        assert_eq!(answer["status"], "error", "{path}: {said}");
        assert!(!said.contains("secret"));
    }
}

/// 16 senders at once, the receiver killed at random moments: every acknowledged message is there exactly once.
#[test]
fn acknowledged_messages_survive_crashes_of_the_receiver() {
    let rounds: u32 = std::env::var("PILOT_CRASH_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let mut pair = TwoHomes::connected();
    let acknowledged = std::sync::Mutex::new(Vec::new());
    let (stop, number) = (AtomicBool::new(false), AtomicU64::new(0));
    let (a, b) = (&pair.a, &mut pair.b);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    send_some(a, &number, &acknowledged);
                }
            });
        }
        for round in 0..rounds {
            let before = acknowledged.lock().unwrap().len();
            let more = 5 + (u64::from(round) * 7919 % 60) as usize;
            until("messages are acknowledged", PATIENCE, || acknowledged.lock().unwrap().len() > before + more);
            b.kill();
            b.start();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let there = received(&pair.b);
    let acknowledged = acknowledged.into_inner().unwrap();
    println!("{rounds} crashes, {} messages acknowledged, {} there", acknowledged.len(), there.len());
    for id in &acknowledged {
        assert_eq!(there.get(id), Some(&1), "{id} was acknowledged");
    }
    assert!(there.values().all(|count| *count == 1), "nothing is there twice");
}

/// A connection's worth of messages as JSON lines; those whose answer came are acknowledged.
fn send_some(node: &Node, number: &AtomicU64, acknowledged: &std::sync::Mutex<Vec<String>>) {
    let first = number.fetch_add(10, Ordering::Relaxed);
    let lines: String = (first..first + 10)
        .map(|n| format!("{{\"id\":\"m-{n}\",\"type\":\"json\",\"data\":{{\"n\":{n}}}}}\n"))
        .collect();
    let out = node.shell(&format!("printf '%s' '{lines}' | timeout 5 pilotctl connect b 1001")).output().unwrap();
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let Ok(answer) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        if answer["status"] == "ok" {
            acknowledged.lock().unwrap().push(answer["data"]["id"].as_str().unwrap().to_owned());
        }
    }
}

#[test]
fn a_file_arrives_whole_also_when_the_receiver_crashes_in_between() {
    let mut pair = TwoHomes::connected();
    let file = pair.lab.path("big.bin");
    pair.a.says(&format!("head -c 60000000 /dev/urandom > {}", file.display()));
    let out = pair.lab.path("sending");
    let mut sending = pair.a.runs(&format!("pilotctl --json send-file b {}", file.display()), &out);
    let partial = pair.b.state.join("received");
    let begun = || walk(&partial) > 1_000_000;
    until("some of it is there", PATIENCE, || begun() || sending.has_ended());
    pair.b.kill();
    pair.b.start();
    let line = format!("pilotctl --json send-file b {}", file.display());
    until("the file is sent", PATIENCE, || sending.has_ended());
    let said = pair.a.says(&line);
    let answer = json(said.lines().last().unwrap());
    assert_eq!(answer["status"], "ok", "{said}");
    let listed = pair.b.ctl(&["received"]);
    let path = listed["files"][0]["path"].as_str().unwrap().to_owned();
    let sums = pair.b.says(&format!("sha256sum < {}; sha256sum < {path}", file.display()));
    let sums: Vec<_> = sums.lines().collect();
    assert_eq!(sums[0], sums[1]);
    let sent = answer["data"]["blake3"].as_str().unwrap();
    assert_eq!(listed["files"][0]["blake3"], sent);
    assert!(pair.b.says("pilotctl inbox --type file").contains("big.bin"));
}

fn walk(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => walk(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
