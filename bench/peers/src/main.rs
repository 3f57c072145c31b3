//! What many peers cost a real `pilotd`: known ones, and connected ones.
//!
//! Needs root, for a network namespace. Arguments: the folder of the programs, `known` or `connected`, and how many. CPU is
//! time of the daemon, user and system, from `/proc`: a busy machine does not change it much.

mod connected;
mod known;
mod site;

use std::path::PathBuf;

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: pilot-bench-peers FOLDER known|connected COUNT";
    let programs = PathBuf::from(arguments.next().context(usage)?);
    let mode = arguments.next().context(usage)?;
    let count: u32 = arguments.next().context(usage)?.parse().context(usage)?;
    match mode.as_str() {
        "known" => known::measure(&programs, count.into()),
        "connected" => connected::measure(&programs, count),
        _ => bail!(usage),
    }
}
