//! The two programs as a script sees them: output shapes, exit codes, refusals. Needs no root.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn pilotd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotd")).args(arguments).env_clear().output().unwrap()
}

fn pilotctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotctl")).args(arguments).env_clear().output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn keygen_makes_one_identity_and_tells_its_address() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let first = pilotd(&["keygen", "--state", text(&state), "--json"]);
    assert!(first.status.success(), "{}", stderr(&first));
    let data = json(&first)["data"].clone();
    let id = data["node_id"].as_str().unwrap();
    assert_eq!(data["address"], format!("0:{id}"));
    let ipv6: std::net::Ipv6Addr = data["ipv6"].as_str().unwrap().parse().unwrap();
    let tail = id.replace('.', "");
    assert_eq!(format!("{:012x}", u128::from(ipv6) & 0xffff_ffff_ffff), tail, "the ID is readable in the address");
    assert_eq!(data["public_key"].as_str().unwrap().len(), 43);
    let again = pilotd(&["keygen", "--state", text(&state), "--json"]);
    assert_eq!(json(&again), json(&first), "a second keygen keeps the identity");
}

#[test]
fn the_identity_is_private_and_never_replaced_when_damaged() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    pilotd(&["keygen", "--state", text(&state)]);
    let file = state.join("identity.pem");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
    std::fs::write(&file, "not a key").unwrap();
    let refused = pilotd(&["keygen", "--state", text(&state)]);
    assert!(!refused.status.success());
    assert!(stderr(&refused).contains(text(&file)), "{}", stderr(&refused));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a key");
}

#[test]
fn the_rendezvous_prints_one_url_for_each_advertised_address_before_its_first_start() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [
        "rendezvous",
        "--state",
        text(dir.path()),
        "--advertise",
        "rv.example.org",
        "--advertise",
        "[2001:db8::1]:443",
        "--print-url",
    ];
    let printed = pilotd(&arguments);
    assert!(printed.status.success(), "{}", stderr(&printed));
    let lines: Vec<String> = stdout(&printed).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("pilot://") && lines[0].ends_with("@rv.example.org:9000"), "{lines:?}");
    assert!(lines[1].ends_with("@[2001:db8::1]:443"), "{lines:?}");
    assert_eq!(stdout(&pilotd(&arguments)), stdout(&printed), "the key stays");
}

#[test]
fn without_a_daemon_pilotctl_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let refused = pilotctl(&["--socket", text(&socket), "--json", "info"]);
    let answer = json(&refused);
    assert_eq!(answer["status"], "error");
    assert_eq!(answer["code"], "daemon_not_running");
    assert!(answer["message"].as_str().unwrap().contains(text(&socket)), "{answer}");
    assert!(!answer["hint"].as_str().unwrap().is_empty());
    assert!(!refused.status.success());
}

#[test]
fn a_wait_for_a_daemon_that_never_comes_ends_at_its_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let refused = pilotctl(&["--socket", text(&socket), "--json", "wait", "--timeout", "200ms"]);
    assert_eq!(json(&refused)["code"], "timeout");
    assert!(!refused.status.success());
}

#[test]
fn usage_errors_are_json_when_json_is_asked_for() {
    let refused = pilotctl(&["--json", "no-such-verb"]);
    assert_eq!(json(&refused)["status"], "error");
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn a_bad_configuration_key_is_named_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("pilotd.toml");
    std::fs::write(&config, "interface = \"pilot0\"\nmtuu = 1280\n").unwrap();
    let refused = pilotd(&["up", "--foreground", "--config", text(&config), "--state", text(dir.path())]);
    assert!(!refused.status.success());
    let said = stderr(&refused);
    assert!(said.contains("pilotd.toml:2") && said.contains("mtuu"), "{said}");
}

#[test]
fn a_malformed_token_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let refused = pilotd(&["up", "--foreground", "--join", "pilot-nonsense", "--state", text(&state)]);
    assert!(!refused.status.success());
    assert!(stderr(&refused).contains("token"), "{}", stderr(&refused));
    assert!(!state.join("identity.pem").exists(), "nothing half-done is left behind");
}

#[test]
fn both_programs_tell_their_version() {
    for output in [pilotd(&["--version"]), pilotctl(&["--version"])] {
        assert!(stdout(&output).contains(env!("CARGO_PKG_VERSION")));
    }
}
