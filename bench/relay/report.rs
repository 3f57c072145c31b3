//! What was measured, as text between processes and as a table.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// What came out again, Gbit/s of UDP payload.
    pub gbits: f64,
    /// Processor seconds of the server for 1e9 bytes of it.
    pub cpu_per_gb: f64,
    /// The share of what was sent that did not come out.
    pub lost: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.gbits, self.cpu_per_gb, self.lost)
    }
}

impl FromStr for Figures {
    type Err = Box<dyn Error>;

    fn from_str(text: &str) -> Result<Figures, Self::Err> {
        let [gbits, cpu_per_gb, lost] = three(text)?;
        Ok(Figures { gbits, cpu_per_gb, lost })
    }
}

/// How long the frames of a session that sends little are under way, there and back.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    /// The median, in microseconds.
    pub p50: f64,
    /// What one in a hundred exceeds, in microseconds.
    pub p99: f64,
    /// The share that did not come back.
    pub lost: f64,
}

impl fmt::Display for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.p50, self.p99, self.lost)
    }
}

impl FromStr for Delays {
    type Err = Box<dyn Error>;

    fn from_str(text: &str) -> Result<Delays, Self::Err> {
        let [p50, p99, lost] = three(text)?;
        Ok(Delays { p50, p99, lost })
    }
}

/// What a measurement printed.
fn three(text: &str) -> Result<[f64; 3], Box<dyn Error>> {
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    numbers.try_into().map_err(|_| "the load printed no figures".into())
}

/// All rounds of one kind.
pub struct Side<T> {
    /// Which.
    pub name: &'static str,
    /// In order.
    pub rounds: Vec<T>,
}

impl<T> Side<T> {
    /// Nothing measured yet.
    pub fn new(name: &'static str) -> Side<T> {
        Side { name, rounds: Vec::new() }
    }

    /// Lowest, median and highest.
    fn spread(&self, of: impl Fn(&T) -> f64) -> [f64; 3] {
        let mut all: Vec<f64> = self.rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        [0, all.len() / 2, all.len().saturating_sub(1)].map(|place| all.get(place).copied().unwrap_or(f64::NAN))
    }
}

/// Prints medians, with the extremes in brackets.
pub fn print(title: &str, sides: &[Side<Figures>]) {
    println!("\n{title}\n");
    println!("| | Gbit/s | processor s/GB | Gbit/s a core | lost |\n| --- | --- | --- | --- | --- |");
    for side in sides {
        let [slowest, gbits, fastest] = side.spread(|figures| figures.gbits);
        let [least, cpu, most] = side.spread(|figures| figures.cpu_per_gb);
        let [_, lost, _] = side.spread(|figures| figures.lost * 100.0);
        println!(
            "| {} | {gbits:.2} ({slowest:.2} to {fastest:.2}) | {cpu:.3} ({least:.3} to {most:.3}) | {:.1} | {lost:.2} % |",
            side.name,
            8.0 / cpu
        );
    }
    if let [relay, roof] = sides {
        let share = |of: fn(&Figures) -> f64| relay.spread(of)[1] / roof.spread(of)[1];
        println!(
            "\nrelay ÷ roof: {:.2} of the Gbit/s, {:.2} times the processor time",
            share(|figures| figures.gbits),
            share(|figures| figures.cpu_per_gb)
        );
    }
}

/// Prints medians of a session that sends little, with the extremes in brackets.
pub fn print_delays(sides: &[Side<Delays>]) {
    println!("\n| a light session, there and back | p50 µs | p99 µs | lost |\n| --- | --- | --- | --- |");
    for side in sides {
        let [least, p50, most] = side.spread(|delays| delays.p50);
        let [lowest, p99, highest] = side.spread(|delays| delays.p99);
        let [_, lost, _] = side.spread(|delays| delays.lost * 100.0);
        let (name, p50) = (side.name, format!("{p50:.0} ({least:.0} to {most:.0})"));
        println!("| {name} | {p50} | {p99:.0} ({lowest:.0} to {highest:.0}) | {lost:.2} % |");
    }
}
