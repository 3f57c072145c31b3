//! What to measure: the command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;

use crate::contenders::{CONTENDERS, Contender};
use crate::measures::{MEASURES, Measure};
use crate::site::Topology;

/// Pilot's tunnel beside its rivals, in network namespaces; needs root.
#[derive(Parser)]
#[command(version, about)]
pub struct Arguments {
    /// Contenders, measures and networks; a word stands for all names that start with it, and where no word names one of
    /// a kind, all of that kind are meant
    words: Vec<String>,
    /// Rounds; each measures every contender in everything
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds a measurement
    #[arg(long, default_value_t = 5.0)]
    secs: f64,
    /// One round of two seconds each, to see that it runs
    #[arg(long)]
    quick: bool,
    /// Where the results go, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where pilotd and pilotctl are
    #[arg(long, default_value = "target/release")]
    programs: PathBuf,
    /// Where the logs of all daemons are kept; by default nowhere
    #[arg(long)]
    logs: Option<PathBuf>,
}

/// The command line, made sense of.
pub struct Plan {
    /// Who.
    pub contenders: Vec<&'static Contender>,
    /// What.
    pub measures: Vec<&'static Measure>,
    /// Over which networks.
    pub topologies: Vec<Topology>,
    /// How often.
    pub rounds: usize,
    /// How long each time.
    pub span: Duration,
    /// Where the results go.
    pub json: Option<PathBuf>,
    /// Where pilotd and pilotctl are.
    pub programs: PathBuf,
    /// Where logs go.
    pub logs: Option<PathBuf>,
}

impl Arguments {
    /// Makes sense of the words.
    ///
    /// # Errors
    /// A word says nothing, or a number is out of range.
    pub fn plan(self) -> Result<Plan> {
        let (rounds, secs) = if self.quick { (1, 2.0) } else { (self.rounds, self.secs) };
        if rounds == 0 || !(0.2..=600.0).contains(&secs) {
            bail!("at least one round, of 0.2 to 600 seconds a measurement");
        }
        self.check_words()?;
        let programs = std::path::absolute(&self.programs)?;
        let mut contenders = self.chosen(CONTENDERS.iter().copied(), |contender| contender.name);
        contenders.retain(|contender| is_to_be_had(contender, &programs));
        Ok(Plan {
            contenders,
            measures: self.chosen(MEASURES.iter(), |measure| measure.name),
            topologies: self.chosen(Topology::ALL, Topology::name),
            rounds,
            span: Duration::from_secs_f64(secs),
            json: self.json,
            programs,
            logs: self.logs,
        })
    }

    /// Those that a word stands for, or all.
    fn chosen<T: Copy>(&self, all: impl IntoIterator<Item = T>, name: impl Fn(T) -> &'static str) -> Vec<T> {
        let all: Vec<T> = all.into_iter().collect();
        let meant = |one: &T| self.words.iter().any(|word| name(*one).starts_with(word.as_str()));
        if all.iter().any(meant) { all.into_iter().filter(meant).collect() } else { all }
    }

    fn check_words(&self) -> Result<()> {
        let contenders = CONTENDERS.iter().map(|contender| contender.name);
        let measures = MEASURES.iter().map(|measure| measure.name);
        let known: Vec<&str> = contenders.chain(measures).chain(Topology::ALL.map(Topology::name)).collect();
        for word in &self.words {
            if !known.iter().any(|name| name.starts_with(word.as_str())) {
                bail!("nothing is called {word}; there are {}", known.join(", "));
            }
        }
        Ok(())
    }
}

fn is_to_be_had(contender: &Contender, programs: &Path) -> bool {
    let is_there = (contender.version)(programs).is_some();
    if !is_there {
        eprintln!("{} is not to be had here", contender.name);
    }
    is_there
}
