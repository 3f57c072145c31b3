//! Events between real nodes: every dialect in and out, slow subscribers, many of them, and the lines of the README.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::articles::lines;
use crate::lab::{Process, TwoHomes, program, until};

const PATIENCE: Duration = Duration::from_secs(30);
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The Python with grpcio, set up by `make test`.
fn python() -> String {
    std::env::var("PILOT_TEST_PYTHON").expect("PILOT_TEST_PYTHON names a Python with grpcio (make test sets it up)")
}

fn example(name: &str) -> PathBuf {
    program("pilotctl").with_file_name("examples").join(name)
}

/// The payload that must come out of every dialect to the letter: spaces, digits, escapes and order are part of it.
const DATA: &str = r#"{"z": 1.50, "a":"\u00fc","big":12345678901234567890}"#;

#[test]
fn l20_every_way_to_publish_reaches_every_way_to_subscribe_to_the_letter() {
    let pair = TwoHomes::connected();
    let (a, b) = (&pair.a, &pair.b);
    let python = python();
    let client = format!("PYTHONPATH={ROOT}/clients/python");
    let grpc = format!("{python} {ROOT}/examples/grpc/client.py");
    let here = format!("[{}]:1002", a.ipv6);
    let publishers = [
        ("cli", format!("pilotctl publish mix.cli '{DATA}'")),
        ("rust", format!("{} publish mix.rust '{DATA}'", example("events_raw").display())),
        ("python", format!("{client} {python} {ROOT}/tests/netns/publish_once.py mix.python '{DATA}'")),
        (
            "curl",
            format!(
                "curl -sf -H 'content-type: application/json' -d '{{\"topic\":\"mix.curl\",\"data\":{DATA}}}' 'http://{here}/v1/events'"
            ),
        ),
        ("grpc", format!("{grpc} publish '{here}' mix.grpc '{DATA}'")),
        ("pipe", format!("echo '{{\"topic\":\"mix.pipe\",\"data\":{DATA}}}' | pilotctl connect {} 1002", a.id)),
    ];
    let there = format!("[{}]:1002", a.ipv6);
    let subscribers = [
        ("cli", "exec pilotctl --json subscribe 'mix.*'".to_owned()),
        ("rust", format!("exec {} subscribe 'mix.*'", example("events_raw").display())),
        ("python", format!("export {client}; exec {python} {ROOT}/tests/netns/subscribe_raw.py 'mix.*'")),
        ("sse", format!("exec curl -sN -H 'accept: text/event-stream' 'http://{there}/v1/events?pattern=mix.*'")),
        ("grpc", format!("exec {grpc} subscribe '{there}' 'mix.*'")),
        ("ndjson", format!("(echo '{{\"subscribe\":\"mix.*\"}}'; sleep 1000) | exec pilotctl connect {} 1002", a.id)),
    ];
    let files: Vec<_> = subscribers.iter().map(|(name, _)| pair.lab.path(name)).collect();
    let _running: Vec<Process> = subscribers
        .iter()
        .zip(&files)
        .map(|((_, line), file)| b.runs(&format!("sh -c '{}'", line.replace('\'', r"'\''")), file))
        .collect();
    let text = |file: &Path| std::fs::read_to_string(file).unwrap_or_default();
    until("all listen", PATIENCE, || {
        a.says("pilotctl publish mix.ready '\"ready\"'");
        files.iter().all(|file| text(file).contains("ready"))
    });
    for (_, line) in &publishers {
        a.says(line);
    }
    a.says("pilotctl publish mix.end '\"the end\"'");
    until("all have heard the end", PATIENCE, || files.iter().all(|file| text(file).contains("the end")));
    for ((name, _), file) in subscribers.iter().zip(&files) {
        let times = text(file).matches(DATA).count();
        assert_eq!(times, publishers.len(), "the {name} subscriber heard:\n{}", text(file));
    }
}

#[test]
fn a_stopped_subscriber_costs_nobody_else_anything_and_learns_what_it_missed() {
    const COUNT: u64 = 20_000;
    let pair = TwoHomes::connected();
    let (a, b) = (&pair.a, &pair.b);
    let files: Vec<_> = (0..10).map(|n| pair.lab.path(&format!("subscriber{n}"))).collect();
    // Nine have room for everything, the one that is to be stopped has not.
    let line =
        |n: usize| format!("pilotctl --json subscribe 'load.*' --queue {}", if n == 0 { 1_000 } else { 100_000 });
    let subscribers: Vec<_> = files.iter().enumerate().map(|(n, file)| b.runs(&line(n), file)).collect();
    until("all listen", PATIENCE, || {
        a.says("pilotctl publish load.ready 0");
        files.iter().all(|file| !lines(file).is_empty())
    });
    a.says("pilotctl publish load.start '\"start\"'");
    let has_started = |file: &PathBuf| std::fs::read_to_string(file).unwrap_or_default().contains("\"start\"");
    until("all have heard what came before", PATIENCE, || files.iter().all(has_started));
    let before: Vec<_> = files.iter().map(|file| lines(file).len()).collect();
    subscribers[0].signal("STOP");
    let payload = pair.lab.path("load.ndjson");
    // More than what a stopped reader's queue and sockets hold together.
    let filler = "x".repeat(600);
    let events: String =
        (1..=COUNT).map(|n| format!("{{\"topic\":\"load.n\",\"data\":[{n},\"{filler}\"]}}\n")).collect();
    std::fs::write(&payload, events).unwrap();
    let socket = a.socket.display();
    a.says(&format!(
        "curl -sf --unix-socket {socket} -H 'content-type: application/x-ndjson' -T {} -X POST http://pilotd/v1/events",
        payload.display()
    ));
    let last = format!("[{COUNT},");
    let has_last = |file: &PathBuf| std::fs::read_to_string(file).unwrap_or_default().contains(&last);
    until("the other nine have the last event", PATIENCE, || files[1..].iter().all(has_last));
    for (n, file) in files.iter().enumerate().skip(1) {
        assert_eq!((lines(file).len() - before[n]) as u64, COUNT, "subscriber {n} has lost nothing");
    }
    subscribers[0].signal("CONT");
    until("the tenth has the last event", PATIENCE, || has_last(&files[0]));
    let heard = lines(&files[0]);
    let missed: u64 = heard.iter().filter_map(|line| line["missed"].as_u64()).sum();
    let events = heard.iter().filter(|line| line["missed"].is_null()).count() - before[0];
    assert!(missed > 0, "more came than its queue holds");
    assert_eq!(events as u64 + missed, COUNT, "it is told how many it missed");
}

#[test]
fn l23_a_thousand_subscribers_on_one_node_all_hear() {
    let pair = TwoHomes::connected();
    let script = format!("{ROOT}/tests/netns/thousand.py");
    let out = pair.lab.path("thousand");
    let mut crowd = pair.b.runs(&format!("python3 {script} {} 1002 1000 100", pair.a.ipv6), &out);
    until("a thousand listen", PATIENCE, || std::fs::read_to_string(&out).unwrap_or_default().contains("ready"));
    let events: String = (0..100).map(|n| format!("{{\"topic\":\"crowd.n\",\"data\":{n}}}\n")).collect();
    let payload = pair.lab.path("crowd.ndjson");
    std::fs::write(&payload, events).unwrap();
    pair.a.says(&format!("pilotctl connect {} 1002 < {}", pair.a.id, payload.display()));
    until("the crowd has heard", PATIENCE, || crowd.has_ended());
    let said = std::fs::read_to_string(&out).unwrap();
    assert!(said.contains("1000 subscribers, 100000 events, in order"), "{said}");
}

#[test]
fn l19_the_twelve_lines_of_the_readme_run() {
    let readme = std::fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    let blocks = |language: &str| -> Vec<String> {
        let fence = format!("```{language}\n");
        readme.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
    };
    let counted = |block: &str| block.lines().filter(|line| !line.trim().is_empty()).count();
    let (python_blocks, rust_blocks) = (blocks("python"), blocks("rust"));
    for block in python_blocks.iter().chain(&rust_blocks) {
        assert!(counted(block) <= 6, "more than six lines:\n{block}");
    }
    let pair = TwoHomes::connected();
    for (name, block) in [("publish", &rust_blocks[0]), ("subscribe", &rust_blocks[1])] {
        let file = std::fs::read_to_string(format!("{ROOT}/examples/{name}.rs")).unwrap();
        let mut rest = file.lines().map(str::trim);
        for line in block.lines() {
            assert!(rest.any(|other| other == line.trim()), "examples/{name}.rs has no line {line:?} in its place");
        }
    }
    for (name, block) in [("publish.py", &python_blocks[0]), ("subscribe.py", &python_blocks[1])] {
        std::fs::write(pair.lab.path(name), block).unwrap();
    }
    let client = format!("PYTHONUNBUFFERED=1 PYTHONPATH={ROOT}/clients/python");
    let programs = [
        ("rust", example("subscribe").display().to_string(), example("publish").display().to_string()),
        (
            "python",
            format!("env {client} python3 {}", pair.lab.path("subscribe.py").display()),
            format!("env {client} timeout 10 python3 {}", pair.lab.path("publish.py").display()),
        ),
    ];
    for (name, subscribe, publish) in programs {
        let heard = pair.lab.path(&format!("twelve-{name}"));
        let _subscriber = pair.b.runs(&subscribe, &heard);
        until(&format!("the {name} subscriber prints"), PATIENCE, || {
            pair.a.says(&publish);
            std::fs::read_to_string(&heard).unwrap_or_default().contains("73.2")
        });
    }
}

#[test]
fn reflection_health_and_bad_input_on_every_port() {
    let pair = TwoHomes::connected();
    let grpc = format!("{} {ROOT}/examples/grpc/client.py", python());
    for (port, service) in [(1001, "pilot.v1.Inbox"), (1002, "pilot.v1.Events"), (1003, "pilot.v1.Tasks")] {
        let address = format!("'[{}]:{port}'", pair.b.ipv6);
        assert!(pair.a.says(&format!("{grpc} reflect {address}")).contains(service));
        assert!(pair.a.says(&format!("{grpc} health {address}")).contains("SERVING"));
    }
    let url = format!("http://[{}]:1002/v1/events", pair.b.ipv6);
    for (line, code) in [
        (
            format!("curl -s -H 'content-type: application/json' -d '{{\"topic\":\"a..b\",\"data\":1}}' '{url}'"),
            "invalid_topic",
        ),
        (format!("curl -s -H 'content-type: application/json' -d '{{broken' '{url}'"), "invalid_json"),
        (format!("curl -s -H 'content-type: text/plain' -d '{{}}' '{url}'"), "invalid_request"),
        (format!("curl -s -H 'origin: http://evil.example' '{url}?pattern=*'"), "permission_denied"),
        (format!("curl -s '{url}?pattern=a..b'"), "invalid_topic"),
        (
            format!(
                "head -c 3000000 /dev/zero | tr '\\0' 'x' | curl -s -H 'content-type: application/json' -H 'expect:' --data-binary @- '{url}'"
            ),
            "too_large",
        ),
    ] {
        let said = pair.a.says(&line);
        let answer: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{line}: {said}"));
        assert_eq!(answer["code"], code, "{line}: {said}");
    }
    let version =
        pair.a.shell(&format!("curl -s --http2-prior-knowledge -w '%{{http_version}}' '{url}/last?pattern=*'"));
    let said = crate::lab::output({ version }.stdin(Stdio::null()));
    assert!(said.ends_with('2') && said.contains("\"ok\""), "{said}");
}
