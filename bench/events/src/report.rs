//! Medians and spread, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use anyhow::Result;
use pilot_bench_lab::Spread;
use serde_json::{Value, json};

use crate::compare::Plan;
use crate::load::Outcome;
use crate::rivals::Name;

/// What is measured, whoever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    /// Events a second; 0 for full speed.
    pub rate: u64,
    /// Subscribers.
    pub subscribers: usize,
    /// Patterns of each.
    pub patterns: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speed = if self.rate == 0 { "full speed".to_owned() } else { format!("{}/s", self.rate) };
        let patterns = if self.patterns == 1 { String::new() } else { format!(", {} patterns", self.patterns) };
        f.pad(&format!("1 to {}, {speed}{patterns}", self.subscribers))
    }
}

/// Every outcome of one run.
pub struct Results {
    title: String,
    rounds: usize,
    secs: f64,
    outcomes: BTreeMap<(Case, Name), Vec<Outcome>>,
}

type Measure = fn(&Outcome) -> f64;

const MEASURES: [(&str, Measure); 8] = [
    ("events_per_sec", |o| o.events_per_sec),
    ("deliveries_per_sec", |o| o.deliveries_per_sec),
    ("p50_us", |o| o.p50_us.unwrap_or(f64::NAN)),
    ("p99_us", |o| o.p99_us.unwrap_or(f64::NAN)),
    ("server_cpu_secs_per_million", |o| o.server_cpu_per_million),
    ("load_cpu_secs_per_million", |o| o.load_cpu_per_million),
    ("machine_cpu_secs_per_million", |o| o.machine_cpu_per_million),
    ("resident_mib", |o| o.resident_mib),
];

impl Results {
    /// None yet.
    pub fn new(title: &str, plan: &Plan) -> Results {
        Results { title: title.to_owned(), rounds: plan.rounds, secs: plan.secs, outcomes: BTreeMap::new() }
    }

    /// Takes one in.
    pub fn add(&mut self, rival: Name, case: Case, outcome: Outcome) {
        self.outcomes.entry((case, rival)).or_default().push(outcome);
    }

    /// Medians, with the spread of what matters most, and the ratio to nats-server's raw client.
    pub fn table(&self) -> String {
        let mut out = format!(
            "{}: 128-byte JSON, {} interleaved rounds of {} s, nothing lost; median (lowest to highest)\n",
            self.title, self.rounds, self.secs
        );
        let mut last = None;
        for ((case, rival), outcomes) in &self.outcomes {
            if last.replace(*case) != Some(*case) {
                let _ = write!(out, "\n{case}\n{}\n", heading(*case));
            }
            let _ = writeln!(out, "{:<12} {}", rival.text(), self.row(*case, outcomes));
        }
        out
    }

    fn row(&self, case: Case, outcomes: &[Outcome]) -> String {
        let [_, deliveries, p50, p99, server, load, machine, resident] =
            MEASURES.map(|(_, measure)| Spread::of(outcomes.iter().map(measure)));
        let leading = if case.rate == 0 { vec![deliveries] } else { vec![p50, p99] };
        let mut row = String::new();
        for spread in leading {
            let _ = write!(row, "{:<36}", text(spread));
        }
        let ratio = self.ratio(case, outcomes).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let _ = write!(row, "{ratio:>8}{:>10.2}{:>8.2}{:>10.2}", server.median, load.median, machine.median);
        let _ = write!(row, "{:>8.0}", resident.median);
        row
    }

    /// How many times as good as nats-server with its raw client: more deliveries, or less delay.
    fn ratio(&self, case: Case, outcomes: &[Outcome]) -> Option<f64> {
        let nats = self.outcomes.get(&(case, Name::NatsRaw))?;
        Some(if case.rate == 0 {
            let measure: Measure = |o| o.deliveries_per_sec;
            Spread::of(outcomes.iter().map(measure)).median / Spread::of(nats.iter().map(measure)).median
        } else {
            let measure: Measure = |o| o.p50_us.unwrap_or(f64::NAN);
            Spread::of(nats.iter().map(measure)).median / Spread::of(outcomes.iter().map(measure)).median
        })
    }

    /// Everything.
    ///
    /// # Errors
    /// None that can be provoked.
    pub fn json(&self) -> Result<String> {
        let cases: Vec<Value> =
            self.outcomes.iter().map(|((case, rival), all)| self.entry(*case, *rival, all)).collect();
        let all = json!({"title": self.title, "rounds": self.rounds, "secs": self.secs, "payload_bytes": 128,
            "results": cases});
        Ok(serde_json::to_string_pretty(&all)?)
    }

    fn entry(&self, case: Case, rival: Name, outcomes: &[Outcome]) -> Value {
        let mut entry = json!({"rival": rival, "subscribers": case.subscribers, "patterns": case.patterns,
            "rate": (case.rate > 0).then_some(case.rate), "ratio_to_nats_raw": self.ratio(case, outcomes)});
        for (name, measure) in MEASURES {
            let spread = Spread::of(outcomes.iter().map(measure));
            if !spread.median.is_nan() {
                entry[name] = json!({"median": spread.median, "lowest": spread.lowest, "highest": spread.highest});
            }
        }
        entry
    }
}

fn heading(case: Case) -> String {
    let leading = match case.rate {
        0 => format!("{:<36}", "deliveries/s"),
        _ => format!("{:<36}{:<36}", "p50 µs", "p99 µs"),
    };
    format!("{:<12} {leading}{:>8}{:>10}{:>8}{:>10}{:>8}", "", "÷ nats", "server s", "load s", "machine s", "MiB")
}

/// One outcome in few words.
pub fn line(outcome: &Outcome, case: Case) -> String {
    let cpu = format!("server {:.2} s/M, load {:.2} s/M", outcome.server_cpu_per_million, outcome.load_cpu_per_million);
    match case.rate {
        0 => format!("{:>12.0} deliveries/s, {cpu}", outcome.deliveries_per_sec),
        _ => format!("p50 {:.0} µs, p99 {:.0} µs, {cpu}", outcome.p50_us.unwrap_or(0.0), outcome.p99_us.unwrap_or(0.0)),
    }
}

fn text(spread: Spread) -> String {
    format!("{:.0} ({:.0} to {:.0})", spread.median, spread.lowest, spread.highest)
}
