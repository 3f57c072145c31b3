//! Medians, spread and ratios, as tables and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use pilot_bench_lab::{Spread, shell};
use serde_json::{Value, json};

use crate::contenders::Role;
use crate::measures::{Figure, Measure};
use crate::plan::Plan;
use crate::site::Topology;

/// Who was measured in what, over which network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The network.
    pub topology: Topology,
    /// The measure's name.
    pub measure: &'static str,
    /// The contender's name.
    pub contender: &'static str,
}

impl Key {
    /// For what is not measured yet.
    pub fn start(topology: Topology, contender: &'static str) -> Key {
        Key { topology, measure: "start", contender }
    }
}

/// Everything that was read off.
pub struct Results<'a> {
    plan: &'a Plan,
    samples: BTreeMap<Key, Vec<Vec<f64>>>,
    failures: Vec<(Key, String)>,
}

impl<'a> Results<'a> {
    /// None yet.
    pub fn new(plan: &'a Plan) -> Results<'a> {
        Results { plan, samples: BTreeMap::new(), failures: Vec::new() }
    }

    /// Takes one measurement in, and says so.
    pub fn add(&mut self, round: usize, key: Key, measure: &Measure, values: Vec<f64>) {
        let mut line = format!("{:<7}{round:>2}  {:<17}{:<13}", key.topology.name(), key.measure, key.contender);
        for (figure, value) in measure.figures.iter().zip(&values) {
            let _ = write!(line, "  {} {}", number(*value, figure), figure.name);
        }
        eprintln!("{line}");
        self.samples.entry(key).or_default().push(values);
    }

    /// Takes in that there is nothing to read off.
    pub fn fail(&mut self, key: Key, error: &anyhow::Error) {
        let text = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
        eprintln!("{:<7}    {:<17}{:<13}  failed: {text}", key.topology.name(), key.measure, key.contender);
        self.failures.push((key, text));
    }

    /// How often that was so.
    pub fn failures(&self) -> usize {
        self.failures.len()
    }

    /// A table for each network and measure.
    pub fn tables(&self) -> String {
        let (rounds, span) = (self.plan.rounds, self.plan.span);
        let mut out = format!(
            "{rounds} interleaved rounds of {span:?}; median (lowest to highest), ÷ the tunnel without a cipher, ÷ the best rival\n"
        );
        for &topology in &self.plan.topologies {
            for measure in self.plan.measures.iter().filter(|measure| measure.topologies.contains(&topology)) {
                out += &self.table(topology, measure);
            }
        }
        for (key, text) in &self.failures {
            let _ = write!(out, "\nfailed: {}, {}, {}: {text}", key.topology.name(), key.measure, key.contender);
        }
        out
    }

    fn table(&self, topology: Topology, measure: &Measure) -> String {
        let mut out = format!("\n{} ({}): {}\n{:<13}", measure.name, topology.name(), measure.title, "");
        for figure in measure.figures {
            let _ = write!(out, "  {:<23}{:>7}{:>7}", figure.name, "÷ null", "÷ best");
        }
        out.push('\n');
        for contender in &self.plan.contenders {
            let key = Key { topology, measure: measure.name, contender: contender.name };
            if topology == Topology::Lan && !contender.is_a_mesh {
                continue;
            }
            let _ = write!(out, "{:<13}", contender.name);
            for (place, figure) in measure.figures.iter().enumerate() {
                out += &self.cell(key, place, figure);
            }
            out.push('\n');
        }
        out
    }

    fn cell(&self, key: Key, place: usize, figure: &Figure) -> String {
        let Some(spread) = self.spread(key, place).filter(|spread| !spread.median.is_nan()) else {
            return format!("  {:<23}{:>7}{:>7}", "-", "", "");
        };
        let [median, lowest, highest] =
            [spread.median, spread.lowest, spread.highest].map(|value| number(value, figure));
        let text = if self.plan.rounds > 1 { format!("{median} ({lowest} to {highest})") } else { median };
        let ratio = |other: Option<f64>| other.map_or(String::new(), |other| format!("{:.2}", spread.median / other));
        let (floor, rival) = (self.best(Role::Floor, key, place, figure), self.best(Role::Rival, key, place, figure));
        format!("  {text:<23}{:>7}{:>7}", ratio(floor), ratio(rival))
    }

    /// The median of all rounds.
    fn spread(&self, key: Key, place: usize) -> Option<Spread> {
        let samples = self.samples.get(&key)?;
        Some(Spread::of(samples.iter().filter_map(|values| values.get(place).copied())))
    }

    /// The best median among the contenders of one role.
    fn best(&self, role: Role, key: Key, place: usize, figure: &Figure) -> Option<f64> {
        let those = self.plan.contenders.iter().filter(|contender| contender.role == role);
        let medians = those.filter_map(|contender| {
            self.spread(Key { contender: contender.name, ..key }, place).map(|spread| spread.median)
        });
        let medians = medians.filter(|median| *median > 0.0);
        if figure.is_more_better { medians.max_by(f64::total_cmp) } else { medians.min_by(f64::total_cmp) }
    }

    /// Everything, each single value as well.
    ///
    /// # Errors
    /// None that can be provoked.
    pub fn json(&self) -> Result<String> {
        let mut results = Vec::new();
        for (key, samples) in &self.samples {
            let Some(measure) = self.plan.measures.iter().find(|measure| measure.name == key.measure) else { continue };
            results.push(self.entry(*key, measure, samples));
        }
        let failures: Vec<Value> = self.failures.iter().map(|(key, text)| {
            json!({"topology": key.topology.name(), "measure": key.measure, "contender": key.contender, "error": text})
        }).collect();
        let all = json!({"machine": machine(), "versions": self.versions(), "rounds": self.plan.rounds,
            "secs": self.plan.span.as_secs_f64(), "results": results, "failures": failures});
        Ok(serde_json::to_string_pretty(&all)?)
    }

    fn entry(&self, key: Key, measure: &Measure, samples: &[Vec<f64>]) -> Value {
        let mut figures = serde_json::Map::new();
        for (place, figure) in measure.figures.iter().enumerate() {
            let values: Vec<f64> = samples.iter().filter_map(|values| values.get(place).copied()).collect();
            let median = self.spread(key, place).map(|spread| spread.median);
            let ratio = |role| Some(median? / self.best(role, key, place, figure)?);
            figures.insert(
                figure.name.to_owned(),
                json!({"values": values, "median": median,
                "ratio_to_null": ratio(Role::Floor), "ratio_to_best_rival": ratio(Role::Rival)}),
            );
        }
        json!({"topology": key.topology.name(), "measure": key.measure, "contender": key.contender, "figures": figures})
    }

    fn versions(&self) -> Value {
        let version = |programs| {
            move |contender: &&crate::contenders::Contender| {
                (contender.name.to_owned(), Value::from((contender.version)(programs)))
            }
        };
        Value::Object(self.plan.contenders.iter().map(|contender| version(&self.plan.programs)(contender)).collect())
    }
}

/// Where this was measured.
fn machine() -> Value {
    let says = |line: &str| shell(line).map(|text| text.trim().to_owned()).ok();
    json!({"kernel": says("uname -r"), "cores": says("nproc"), "date": says("date -u +%FT%TZ"),
        "processor": says("sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1"),
        "default_qdisc": says("sysctl -n net.core.default_qdisc"),
        "rmem_max": says("sysctl -n net.core.rmem_max"), "wmem_max": says("sysctl -n net.core.wmem_max")})
}

fn number(value: f64, figure: &Figure) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:.*}", figure.digits) }
}
