//! The Python driver and the example programs against real nodes.

use std::time::Duration;

use crate::lab::{Lab, until};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_python_driver_does_everything_on_a_real_node() {
    let mut lab = Lab::new();
    let host = lab.public_host("only");
    let node = lab.node(&host, "only", None);
    println!(
        "{}",
        node.says(&format!("PYTHONPATH={ROOT}/clients/python timeout 120 python3 {ROOT}/clients/python/tests/live.py"))
    );
}

#[test]
fn the_five_programs_of_the_articles_run() {
    let mut lab = Lab::new();
    let host = lab.public_host("only");
    let node = lab.node(&host, "local-threat-orchestrator", None);
    println!("{}", node.says(&format!("PYTHONPATH={ROOT}/clients/python timeout 120 python3 {ROOT}/examples/live.py")));
}

#[test]
fn a_python_program_outlives_its_daemon() {
    let mut lab = Lab::new();
    let host = lab.public_host("only");
    let mut node = lab.node(&host, "only", None);
    let out = lab.path("restart");
    let line = format!(
        "env PYTHONUNBUFFERED=1 PYTHONPATH={ROOT}/clients/python python3 {ROOT}/clients/python/tests/restart.py"
    );
    let mut program = node.runs(&line, &out);
    let said = || std::fs::read_to_string(&out).unwrap_or_default();
    until("it asks for a restart", Duration::from_secs(20), || said().contains("restart"));
    node.kill();
    node.start();
    until("it has gone on", Duration::from_secs(30), || program.has_ended());
    println!("{}", said());
    assert!(program.succeeded(), "{}", said());
}
