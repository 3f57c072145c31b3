//! What was measured, as text between processes and as tables.

use anyhow::Context;
use pilot_bench_lab::Spread;

/// Three numbers, which a process of a measurement prints in one line.
///
/// Of a load: what came out again in Gbit/s of UDP payload, the server's processor seconds for 1e9 bytes of it, and the share
/// of what was sent that did not come out. Of a light session: how long its frames are under way there and back, the median
/// and what one in a hundred exceeds in microseconds, and the share that did not come back.
pub type Figures = [f64; 3];

/// Prints what a process measured.
pub fn tell(figures: Figures) {
    let [first, second, third] = figures;
    println!("{first} {second} {third}");
}

/// Reads it.
pub fn read(text: &str) -> anyhow::Result<Figures> {
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    numbers.try_into().ok().context("a measurement printed no figures")
}

/// All rounds of one kind.
pub struct Side {
    /// Which.
    pub name: &'static str,
    /// In order.
    pub rounds: Vec<Figures>,
}

impl Side {
    /// Nothing measured yet.
    pub fn new(name: &'static str) -> Side {
        Side { name, rounds: Vec::new() }
    }

    fn spread(&self, place: usize) -> Spread {
        Spread::of(self.rounds.iter().filter_map(|figures| figures.get(place).copied()))
    }
}

/// Prints medians of loads, with the extremes in brackets.
pub fn print(title: &str, sides: &[Side]) {
    println!("\n{title}\n");
    println!("| | Gbit/s | processor s/GB | Gbit/s a core | lost |\n| --- | --- | --- | --- | --- |");
    for side in sides {
        let [gbits, cpu, lost] = [0, 1, 2].map(|place| side.spread(place));
        let (a_core, lost) = (8.0 / cpu.median, lost.median * 100.0);
        println!("| {} | {} | {} | {a_core:.1} | {lost:.2} % |", side.name, cell(gbits, 2), cell(cpu, 3));
    }
    if let [relay, roof] = sides {
        let share = |place| relay.spread(place).median / roof.spread(place).median;
        println!("\nrelay ÷ roof: {:.2} of the Gbit/s, {:.2} times the processor time", share(0), share(1));
    }
}

/// Prints medians of light sessions, with the extremes in brackets.
pub fn print_delays(sides: &[Side]) {
    println!("\n| a light session, there and back | p50 µs | p99 µs | lost |\n| --- | --- | --- | --- |");
    for side in sides {
        let [p50, p99, lost] = [0, 1, 2].map(|place| side.spread(place));
        println!("| {} | {} | {} | {:.2} % |", side.name, cell(p50, 0), cell(p99, 0), lost.median * 100.0);
    }
}

fn cell(spread: Spread, digits: usize) -> String {
    let Spread { median, lowest, highest } = spread;
    format!("{median:.digits$} ({lowest:.digits$} to {highest:.digits$})")
}
