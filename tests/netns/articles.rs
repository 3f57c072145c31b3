//! The promises of the articles that define the system, by their numbers, with the command lines as they are printed.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::lab::{Agents, Node, json, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// The lines of a file, each as JSON; a line that is still being written is left out.
pub fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete.lines().map(json).collect()
}

/// Publishes by `line` until an event of `topic` stands in the file of a subscriber, which then listens surely.
fn publish_until_heard(publisher: &Node, line: &str, topic: &str, heard: &Path) -> Value {
    let mut found = Value::Null;
    until(&format!("{topic} is heard"), PATIENCE, || {
        publisher.says(line);
        found = lines(heard).into_iter().find(|event| event["topic"] == topic).unwrap_or_default();
        !found.is_null()
    });
    found
}

#[test]
fn the_command_lines_of_the_articles_run_as_they_are_printed() {
    let mut agents = Agents::strangers();
    assert!(agents.monitor.stop());
    let start =
        format!("PILOT_RENDEZVOUS='{}' pilotctl daemon start --hostname market-monitor-node", agents.rendezvous.url);
    let said = agents.monitor.says(&start);
    assert!(said.contains("market-monitor-node") && said.contains(&agents.monitor.ipv6), "{said}");

    agents.monitor.says("pilotctl handshake execution-worker-alpha");
    until("the request is pending", PATIENCE, || agents.alpha.says("pilotctl pending").contains(&agents.monitor.id));
    agents.alpha.says("pilotctl approve market-monitor-node");
    agents.monitor.says("pilotctl handshake worker-node 'for the weekly report'");
    agents.worker.says("pilotctl handshake market-monitor-node");
    for name in ["execution-worker-alpha", "worker-node"] {
        agents.monitor.says(&format!("pilotctl wait --for {name}"));
    }

    let alerts = agents.lab.path("alerts");
    let _subscriber = agents.alpha.runs("pilotctl --json subscribe '*'", &alerts);
    let line =
        r#"echo '{"topic":"market.anomaly", "data":"price_spike"}' | pilotctl connect execution-worker-alpha 1002"#;
    let event = publish_until_heard(&agents.monitor, line, "market.anomaly", &alerts);
    assert_eq!(event["data"], "price_spike");
    assert_eq!(event["source"], agents.monitor.id.as_str());

    let tasks = agents.lab.path("tasks");
    let _listener = agents.worker.runs("pilotctl listen 1000", &tasks);
    let line = r#"echo '{"task":"vector_search", "target":"knowledge_base"}' | pilotctl connect worker-node 1000"#;
    until("somebody listens on port 1000", PATIENCE, || agents.monitor.tries(line));
    until("the task is received", PATIENCE, || !lines(&tasks).is_empty());
    assert_eq!(lines(&tasks)[0]["target"], "knowledge_base");

    let line = r#"pilotctl send-message worker-node --data '{"status":"operational"}' --type json"#;
    assert!(agents.monitor.says(line).contains("delivered"));
    assert!(agents.worker.says("pilotctl inbox").contains("operational"));
    agents.monitor.says("pilotctl daemon stop");
}

#[test]
fn l08_connect_is_a_stream_both_ways_that_ends_when_both_sides_end() {
    let agents = Agents::connected();
    let (monitor, worker) = (&agents.monitor, &agents.worker);
    assert!(!monitor.tries("echo hello | pilotctl connect worker-node 1000"), "nobody listens");
    let error = monitor.try_ctl(&["connect", "worker-node", "1000"]).unwrap_err();
    assert_eq!(error["code"], "no_listener", "{error}");
    let _listener = worker.runs("pilotctl listen 1000 --exec 'tr a-z A-Z'", &agents.lab.path("log"));
    until("somebody listens", PATIENCE, || monitor.tries("true | pilotctl connect worker-node 1000"));
    assert_eq!(monitor.says("echo hello | pilotctl connect worker-node 1000"), "HELLO\n");
    let _echo = worker.runs("pilotctl listen 4000 --exec cat", &agents.lab.path("log2"));
    until("somebody listens", PATIENCE, || monitor.tries("true | pilotctl connect worker-node 4000"));
    let sums = monitor.says(&format!(
        "head -c 5000000 /dev/urandom > {0}; sha256sum < {0}; pilotctl connect worker-node 4000 < {0} | sha256sum",
        agents.lab.path("random").display()
    ));
    let sums: Vec<_> = sums.lines().collect();
    assert_eq!(sums[0], sums[1], "5 MB of any bytes come back");
}

#[test]
fn l09_a_python_program_pipes_into_connect() {
    let agents = Agents::connected();
    let received = agents.lab.path("received");
    let mut listener = agents.worker.runs("pilotctl listen 1000 --count 1", &received);
    let script = r#"
import subprocess, sys
payload = bytes(range(256)) * 8192
while True:
    process = subprocess.Popen(["pilotctl", "connect", "worker-node", "1000"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    _, errors = process.communicate(input=payload)
    if process.returncode == 0 or b"listen" not in errors:
        break
print(process.returncode, errors.decode())
"#;
    let path = agents.lab.path("popen.py");
    std::fs::write(&path, script).unwrap();
    let said = agents.monitor.says(&format!("timeout 30 python3 {}", path.display()));
    assert_eq!(said.trim(), "0");
    until("the listener has it all", PATIENCE, || listener.has_ended());
    let expected: Vec<u8> = (0..=255u8).cycle().take(256 * 8192).collect();
    assert!(std::fs::read(&received).unwrap() == expected, "2 MiB with NUL bytes arrive as they were");
}

#[test]
fn l10_listen_prints_what_comes_one_connection_after_the_other() {
    let agents = Agents::connected();
    let received = agents.lab.path("received");
    let mut listener = agents.worker.runs("pilotctl listen 1000 --count 2", &received);
    until("somebody listens", PATIENCE, || agents.monitor.tries("echo one | pilotctl connect worker-node 1000"));
    agents.alpha.says("echo two | pilotctl connect worker-node 1000");
    until("the listener ends after two", PATIENCE, || listener.has_ended());
    assert_eq!(std::fs::read_to_string(&received).unwrap(), "one\ntwo\n");
}

#[test]
fn l12_json_lines_on_port_1002_publish() {
    let agents = Agents::connected();
    let heard = agents.lab.path("heard");
    let _subscriber = agents.alpha.runs("pilotctl --json subscribe 'a.*'", &heard);
    let said = agents.monitor.says(r#"printf '{"topic":"a.b","data":1}\n{"topic":"bad..topic","data":1}\n{"topic":"a.c","data":{"x": 1.50}}\n' | pilotctl connect execution-worker-alpha 1002"#);
    assert_eq!(json(said.lines().next().unwrap())["code"], "invalid_topic", "{said}");
    let line = r#"echo '{"topic":"a.c","data":{"x": 1.50}}' | pilotctl connect execution-worker-alpha 1002"#;
    publish_until_heard(&agents.monitor, line, "a.c", &heard);
    let text = std::fs::read_to_string(&heard).unwrap();
    assert!(text.contains(r#""data":{"x": 1.50}"#), "to the letter: {text}");
}

#[test]
fn l13_to_l17_a_publisher_reaches_all_trusted_subscribers_by_their_patterns() {
    let agents = Agents::connected();
    let patterns = [
        (&agents.alpha, "metrics.*"),
        (&agents.worker, "*"),
        (&agents.worker, "pipeline.stage2.result.anomaly"),
        (&agents.alpha, "pipeline.*"),
        (&agents.alpha, "pipeline.stage2.result.*"),
    ];
    let files: Vec<_> = (0..patterns.len()).map(|n| agents.lab.path(&format!("heard{n}"))).collect();
    let _subscribers: Vec<_> = patterns
        .iter()
        .zip(&files)
        .map(|((node, pattern), file)| node.runs(&format!("pilotctl --json subscribe '{pattern}'"), file))
        .collect();
    let heard = |n: usize, topic: &str| lines(&files[n]).iter().any(|event: &Value| event["topic"] == topic);
    // Each subscriber has heard something: from now on nothing is missed.
    until("all listen", PATIENCE, || {
        agents.monitor.says("pilotctl publish pipeline.stage2.result.anomaly 0; pilotctl publish metrics.start 0");
        heard(0, "metrics.start") && (1..5).all(|n| heard(n, "pipeline.stage2.result.anomaly"))
    });
    agents.monitor.says(r#"pilotctl publish metrics.cpu '{"host":"agent-a","percent":73.2}'"#);
    agents.monitor.says("pilotctl publish metrics.cpu.core0 --data 1");
    agents.monitor.says("pilotctl publish pipeline.stage1.complete done");
    agents.monitor.says("pilotctl publish execution-worker-alpha metrics.direct --data 5");
    agents.monitor.says("pilotctl publish metrics.end 0; pilotctl publish pipeline.stage2.result.anomaly '\"end\"'");
    until("all have heard the last", PATIENCE, || {
        heard(0, "metrics.end")
            && heard(0, "metrics.direct")
            && (1..5).all(|n| lines(&files[n]).iter().any(|event| event["data"] == "end"))
    });
    for (n, topic, expected) in [
        (0, "metrics.cpu", true),
        (0, "metrics.cpu.core0", true),
        (0, "pipeline.stage1.complete", false),
        (1, "metrics.cpu", true),
        (1, "pipeline.stage1.complete", true),
        (1, "metrics.direct", false),
        (2, "pipeline.stage1.complete", false),
        (3, "pipeline.stage1.complete", true),
        (3, "metrics.cpu", false),
        (4, "pipeline.stage1.complete", false),
    ] {
        assert_eq!(heard(n, topic), expected, "{topic} at {}", patterns[n].1);
    }
    let event = lines(&files[0]).into_iter().find(|event| event["topic"] == "metrics.cpu").unwrap();
    assert_eq!(event["data"]["percent"], 73.2);
    assert_eq!(event["source"], agents.monitor.id.as_str());
    let last: Vec<u64> = lines(&files[1]).iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(last.is_sorted(), "in the publisher's order: {last:?}");
}

#[test]
fn l14_interest_covers_nodes_that_are_trusted_later_and_survives_their_restarts() {
    let mut agents = Agents::strangers();
    let heard = agents.lab.path("heard");
    let _subscriber = agents.worker.runs("pilotctl --json subscribe 'metrics.*'", &heard);
    crate::lab::befriend(&agents.worker, &agents.monitor);
    publish_until_heard(&agents.monitor, "pilotctl publish metrics.first 1", "metrics.first", &heard);
    agents.monitor.kill();
    agents.monitor.start();
    publish_until_heard(&agents.monitor, "pilotctl publish metrics.second 1", "metrics.second", &heard);
    let seqs: Vec<u64> = lines(&heard).iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted(), "numbers never go back, not even over a crash: {seqs:?}");
}

#[test]
fn l18_only_trusted_nodes_subscribe() {
    let agents = Agents::connected();
    let url = format!("'http://[{}]:1002/v1/events?pattern=*'", agents.alpha.ipv6);
    let heard = agents.lab.path("heard");
    let mut subscriber = agents.worker.runs(&format!("curl -sN {url}"), &heard);
    until("the subscriber hears", PATIENCE, || {
        agents.alpha.says("pilotctl publish a.b 1");
        !lines(&heard).is_empty()
    });
    agents.alpha.says("pilotctl untrust worker-node");
    let before = std::fs::read(&heard).unwrap();
    agents.alpha.says("pilotctl publish a.secret 2");
    assert!(!agents.worker.tries(&format!("curl -s --max-time 3 {url}")), "a stranger gets no connection");
    assert_eq!(std::fs::read(&heard).unwrap(), before, "and what it had ends");
    subscriber.kill();
}

#[test]
fn l21_an_event_missed_while_away_is_lost_unless_replay_is_asked_for() {
    let agents = Agents::connected();
    let (monitor, worker) = (&agents.monitor, &agents.worker);
    monitor.says("pilotctl publish a.early 1");
    let live = agents.lab.path("live");
    let _subscriber = worker.runs("pilotctl --json subscribe '*'", &live);
    publish_until_heard(monitor, "pilotctl publish a.late 2", "a.late", &live);
    assert!(lines(&live).iter().all(|event| event["topic"] != "a.early"));
    let replayed =
        worker.says("pilotctl --json subscribe market-monitor-node a.early --since 10m --count 1 --timeout 10s");
    assert_eq!(json(&replayed)["data"], 1);
    let last = worker.says("pilotctl --json subscribe market-monitor-node 'a.*' --last --count 2 --timeout 10s");
    assert_eq!(last.lines().count(), 2, "{last}");
}

#[test]
fn l28_tasks_are_taken_on_both_ports() {
    let agents = Agents::connected();
    let (monitor, worker) = (&agents.monitor, &agents.worker);
    let id = monitor.ctl(&["task", "submit", "worker-node", r#"{"task":"vector_search"}"#])["id"]
        .as_str()
        .unwrap()
        .to_owned();
    until("the task is there", PATIENCE, || worker.says("pilotctl task list").contains(&id));
    worker.says(&format!("pilotctl task execute {id} -- sh -c 'cat; true'"));
    let result = monitor.ctl(&["task", "results", &id, "--wait"]);
    assert_eq!(result["state"], "done", "{result}");
    assert_eq!(result["result"]["task"], "vector_search", "{result}");
    for port in [1001, 1003] {
        let line = match port {
            1001 => r#"{"type":"task","id":"by-1001","data":{"task":"by 1001"}}"#,
            _ => r#"{"id":"by-1003","task":{"task":"by 1003"}}"#,
        };
        let answer = monitor.says(&format!("echo '{line}' | pilotctl connect worker-node {port}"));
        assert_eq!(json(&answer)["status"], "ok", "{answer}");
        let listed = worker.says("pilotctl --json task list");
        assert!(listed.contains(&format!("by-{port}")), "{listed}");
    }
}
