//! Rounds of measurements, interleaved: each round measures every rival in every case, one after the other, so that
//! a slow minute of the machine hits all of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use pilot_bench_lab::{Host, output};

use crate::load::Outcome;
use crate::report::{self, Case, Results};
use crate::rivals::Name;

/// How to compare.
#[derive(Args, Clone, Debug)]
pub struct Plan {
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Seconds a measurement.
    #[arg(long, default_value_t = 3.0)]
    pub secs: f64,
    /// One round of one second each, to see that it runs.
    #[arg(long)]
    pub quick: bool,
    /// Whom; all where nobody is named.
    #[arg(long, value_delimiter = ',')]
    pub rivals: Vec<Name>,
    /// How many subscribers.
    #[arg(long, value_delimiter = ',', default_value = "1,10")]
    pub subscribers: Vec<usize>,
    /// To how many patterns each of them subscribes; for Pilot alone.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub patterns: Vec<usize>,
    /// Fixed rates, events a second; 0 is full speed.
    #[arg(long, value_delimiter = ',', default_value = "0,1000,20000")]
    pub rates: Vec<u64>,
    /// Where the results go, as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// A server, as its clients see it.
pub struct Broker {
    /// Where subscribers connect.
    pub subscribe_at: String,
    /// Where the publisher connects.
    pub publish_at: String,
    /// In which network namespace; none for that of the subscribers.
    pub publish_from: Option<String>,
    /// Its processes.
    pub pids: Vec<i32>,
}

impl Plan {
    /// With `--quick` taken in, and `all` where no rivals are named.
    pub fn settled(mut self, all: &[Name]) -> Plan {
        if self.quick {
            (self.rounds, self.secs) = (1, 1.0);
        }
        if self.rivals.is_empty() {
            self.rivals = all.to_vec();
        }
        self
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for &rate in &self.rates {
            for &subscribers in &self.subscribers {
                cases.extend(self.patterns.iter().map(|&patterns| Case { rate, subscribers, patterns }));
            }
        }
        cases
    }
}

/// Measures everything from `host`, and prints the table.
///
/// # Errors
/// A measurement failed: a lost event fails it.
pub fn run(plan: &Plan, title: &str, host: &Host, brokers: &BTreeMap<Name, Broker>) -> Result<()> {
    let mut results = Results::new(title, plan);
    for round in 1..=plan.rounds {
        for case in plan.cases() {
            for rival in plan.rivals.iter().filter(|rival| rival.takes(case.subscribers)) {
                let broker = brokers.get(rival).context("a rival without a server")?;
                let outcome = measure(plan, host, *rival, broker, case)
                    .with_context(|| format!("{title}: {} {case}", rival.text()))?;
                eprintln!("round {round}  {case}  {:<12}{}", rival.text(), report::line(&outcome, case));
                results.add(*rival, case, outcome);
            }
        }
    }
    println!("{}", results.table());
    if let Some(path) = &plan.json {
        std::fs::write(path, results.json()?)?;
    }
    Ok(())
}

fn measure(plan: &Plan, host: &Host, rival: Name, broker: &Broker, case: Case) -> Result<Outcome> {
    let pids: Vec<String> = broker.pids.iter().map(ToString::to_string).collect();
    let mut command = host.command(std::env::current_exe()?);
    command.args(["load", "--rival", rival.text(), "--pids", &pids.join(",")]);
    command.args(["--subscribe-at", &broker.subscribe_at, "--publish-at", &broker.publish_at]);
    if let Some(namespace) = &broker.publish_from {
        command.args(["--publish-from", namespace]);
    }
    command.args(["--subscribers", &case.subscribers.to_string(), "--secs", &plan.secs.to_string()]);
    command.args(["--patterns", &case.patterns.to_string()]);
    if case.rate > 0 {
        command.args(["--rate", &case.rate.to_string()]);
    }
    Ok(serde_json::from_str(&output(&mut command)?)?)
}
