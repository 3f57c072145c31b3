//! Rounds of measurements, interleaved: each round measures everybody in everything, one after the other, so that a slow
//! minute of the machine hits all of them.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::contenders::{Contender, Tunnel};
use crate::interrupt;
use crate::measures::Measure;
use crate::plan::Plan;
use crate::report::{Key, Results};
use crate::site::{Site, Topology};

/// A contender that runs. Its tunnel ends before its network does.
struct Runner {
    contender: &'static Contender,
    tunnel: Tunnel,
    _site: Site,
}

/// Measures what was asked for, and prints the tables.
///
/// # Errors
/// Somebody could not be measured in something: what could be is printed before.
pub fn run(plan: &Plan) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let dir = plan.logs.clone().unwrap_or_else(|| scratch.path().to_owned());
    let mut results = Results::new(plan);
    let mut outcome = Ok(());
    for &topology in &plan.topologies {
        let measures: Vec<_> = plan.measures.iter().filter(|measure| measure.topologies.contains(&topology)).collect();
        if !measures.is_empty() && outcome.is_ok() {
            outcome = measure_all(plan, topology, &measures, &dir, &mut results);
        }
    }
    println!("{}", results.tables());
    if let Some(path) = &plan.json {
        std::fs::write(path, results.json()?)?;
    }
    outcome?;
    match results.failures() {
        0 => Ok(()),
        count => bail!("{count} measurements failed"),
    }
}

/// All rounds over one network; only an interruption ends them early.
fn measure_all(
    plan: &Plan,
    topology: Topology,
    measures: &[&&'static Measure],
    dir: &std::path::Path,
    results: &mut Results,
) -> Result<()> {
    let mut runners = Vec::new();
    for contender in plan.contenders.iter().filter(|contender| topology != Topology::Lan || contender.is_a_mesh) {
        interrupt::check()?;
        let dir = dir.join(topology.name()).join(contender.name);
        match start(plan, topology, contender, dir) {
            Ok(runner) => runners.push(runner),
            Err(error) => results.fail(Key::start(topology, contender.name), &error),
        }
    }
    for round in 1..=plan.rounds {
        for measure in measures.iter().filter(|measure| round == 1 || !measure.is_first_only) {
            for runner in &runners {
                interrupt::check()?;
                let key = Key { topology, measure: measure.name, contender: runner.contender.name };
                match (measure.run)(&runner.tunnel, plan.span) {
                    Ok(values) => results.add(round, key, measure, values),
                    Err(error) => results.fail(key, &error),
                }
            }
        }
    }
    Ok(())
}

fn start(plan: &Plan, topology: Topology, contender: &'static Contender, dir: PathBuf) -> Result<Runner> {
    let tag = format!("bench-{}", contender.name);
    let site = Site::new(topology, &tag, &plan.programs, &dir).context("no network")?;
    let tunnel = contender.connect(&site)?;
    Ok(Runner { contender, tunnel, _site: site })
}
