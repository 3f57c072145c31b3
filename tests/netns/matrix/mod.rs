//! The matrix: every pair of networks, what is possible between them, and what the product makes of it.
//!
//! `make nat-matrix` runs all of it; `PILOT_MATRIX=WORD` only rows whose line has the word, `PILOT_MATRIX_ROUNDS=N`
//! each of them so often. The part in `make test` has each kind of network and each means at least once.

mod budget;
mod couple;
mod oracle;
mod run;

use oracle::{Feasible, Pair};
use run::Run;

use crate::lab::{Nat, Site};

/// All sites of the full matrix: each is paired with each.
fn sites() -> Vec<Site> {
    let homes = Nat::ALL.map(Site::Home);
    let others = [
        Site::Public,
        Site::Mapping(Nat::Symmetric),
        Site::Carrier(Nat::PortRestricted),
        Site::Carrier(Nat::Symmetric),
        Site::Double(Nat::PortRestricted),
        Site::DualStack(Nat::PortRestricted),
        Site::DualStack(Nat::Symmetric),
        Site::Ipv6Only,
        Site::UdpBlocked,
        Site::Proxied,
    ];
    homes.into_iter().chain(others).collect()
}

fn neighbours() -> Vec<Pair> {
    vec![
        Pair::SameLan(Nat::PortRestricted),
        Pair::SameLan(Nat::Symmetric),
        Pair::SameCarrier(Nat::FullCone),
        Pair::SameCarrier(Nat::PortRestrictedRandom),
        Pair::SameCarrier(Nat::PortRestricted),
        Pair::InnerAndOuter,
    ]
}

fn all() -> Vec<Pair> {
    let sites = sites();
    let pairs = sites.iter().enumerate().flat_map(|(nth, a)| sites[nth..].iter().map(|b| Pair::Apart(*a, *b)));
    pairs.chain(neighbours()).collect()
}

fn representative() -> Vec<Pair> {
    use Nat::{
        AddressRestricted, AddressSymmetric, FullCone, Poisonable, PortRestricted, PortRestrictedRandom, Symmetric,
        SymmetricSequential,
    };
    let homes = |a, b| Pair::Apart(Site::Home(a), Site::Home(b));
    vec![
        homes(PortRestricted, PortRestrictedRandom),
        homes(PortRestricted, Poisonable),
        homes(Poisonable, Poisonable),
        homes(FullCone, Symmetric),
        homes(AddressRestricted, AddressSymmetric),
        homes(PortRestricted, SymmetricSequential),
        homes(SymmetricSequential, SymmetricSequential),
        homes(PortRestricted, Symmetric),
        homes(Symmetric, Symmetric),
        Pair::Apart(Site::Public, Site::Home(Symmetric)),
        Pair::Apart(Site::Mapping(Symmetric), Site::Home(Symmetric)),
        Pair::Apart(Site::Carrier(PortRestricted), Site::Double(PortRestricted)),
        Pair::Apart(Site::DualStack(Symmetric), Site::DualStack(Symmetric)),
        Pair::Apart(Site::Ipv6Only, Site::DualStack(PortRestricted)),
        Pair::Apart(Site::Ipv6Only, Site::Home(PortRestricted)),
        Pair::Apart(Site::UdpBlocked, Site::Home(PortRestricted)),
        Pair::Apart(Site::Proxied, Site::UdpBlocked),
        Pair::SameLan(Symmetric),
        Pair::SameCarrier(FullCone),
        Pair::SameCarrier(PortRestricted),
        Pair::InnerAndOuter,
    ]
}

/// Measures the rows, prints each as it is known, and fails with all that is wrong.
fn matrix(rows: Vec<Pair>, rounds: impl Fn(Feasible) -> usize) {
    println!(
        "{:46} {:10} {:>9} {:>6} {:>8} {:>8} {:>6}  why",
        "pair", "feasible", "connected", "direct", "reply s", "direct s", "flows"
    );
    let mut faults = Vec::new();
    for pair in rows {
        let feasible = pair.feasible();
        let runs: Vec<Run> = (0..rounds(feasible)).map(|_| run::run(pair)).collect();
        println!("{}", line(pair, &runs));
        faults.extend(runs.iter().flat_map(|run| run.faults(pair)).map(|fault| format!("{pair}: {fault}")));
        let (late, of) = (runs.iter().filter(|run| !run.in_time(feasible)).count(), runs.len());
        // One in ten birthdays may fail: it is a game of chance.
        let forgiven = if feasible == Feasible::Birthday { of / 10 } else { 0 };
        if late > forgiven {
            faults.push(format!(
                "{pair}: {late} of {of} not direct within {} s ({})",
                feasible.limit(),
                feasible.name()
            ));
        }
        keep_traces(pair, &runs);
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn line(pair: Pair, runs: &[Run]) -> String {
    let count = |some: &dyn Fn(&Run) -> bool| format!("{}/{}", runs.iter().filter(|run| some(run)).count(), runs.len());
    let median = |of: &dyn Fn(&Run) -> Option<f64>| {
        let mut all: Vec<f64> = runs.iter().filter_map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).map_or("-".to_owned(), |seconds| format!("{seconds:.2}"))
    };
    let flows = runs.iter().flat_map(|run| &run.flows).max().copied().unwrap_or(0);
    let mut why: Vec<&str> = runs.iter().flat_map(|run| run.why.iter().flatten()).map(String::as_str).collect();
    why.sort_unstable();
    why.dedup();
    format!(
        "{:46} {:10} {:>9} {:>6} {:>8} {:>8} {:>6}  {}",
        pair.to_string(),
        pair.feasible().name(),
        count(&|run| run.reply.is_some()),
        count(&|run| run.both_direct().is_some()),
        median(&|run| run.reply),
        median(&Run::both_direct),
        flows,
        why.join(", ")
    )
}

/// Logs and tables of rows that failed stay in the folder that PILOT_MATRIX_LOGS names.
fn keep_traces(pair: Pair, runs: &[Run]) {
    let Ok(folder) = std::env::var("PILOT_MATRIX_LOGS") else { return };
    let failed = runs.iter().filter(|run| run.reply.is_none() || !run.in_time(pair.feasible()));
    for (nth, run) in failed.enumerate() {
        for (kind, text) in &run.traces {
            let name = pair.to_string().replace([' ', ':'], "_");
            std::fs::write(format!("{folder}/{name}-{nth}-{kind}"), text).expect("the folder for traces exists");
        }
    }
}

#[test]
fn every_means_of_the_matrix_works() {
    matrix(representative(), |_| 1);
}

#[test]
#[ignore = "half an hour; run by `make nat-matrix`"]
fn the_whole_matrix() {
    let word = std::env::var("PILOT_MATRIX").unwrap_or_default();
    let rounds: Option<usize> = std::env::var("PILOT_MATRIX_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let chosen = |pair: &Pair| format!("{pair} {}", pair.feasible().name()).contains(&word);
    let rows = all().into_iter().filter(chosen).collect();
    matrix(rows, |feasible| rounds.unwrap_or(if feasible == Feasible::Birthday { 10 } else { 1 }));
}
