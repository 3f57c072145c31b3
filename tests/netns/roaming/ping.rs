//! The kernel's ping, ten times a second through the tunnel, and when it was answered.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::lab::{Node, Process};

/// A running ping.
pub struct Ping {
    told: PathBuf,
    _process: Process,
}

impl Ping {
    /// From one node to the other; what it says goes to a file.
    pub fn start(from: &Node, to: &Node, told: &Path) -> Ping {
        let process = from.runs(&format!("ping -6 -n -D -i 0.1 {}", to.ipv6), told);
        Ping { told: told.to_owned(), _process: process }
    }

    /// When replies came, in seconds of the Unix epoch.
    fn times(&self) -> Vec<f64> {
        let text = std::fs::read_to_string(&self.told).unwrap_or_default();
        let replies = text.lines().filter(|line| line.contains(" bytes from "));
        replies.filter_map(|line| line.strip_prefix('[')?.split(']').next()?.parse().ok()).collect()
    }

    /// How many replies came.
    pub fn replies(&self) -> usize {
        self.times().len()
    }

    /// Whether there have been five replies since: one alone may have been on its way.
    pub fn is_answered_after(&self, moment: SystemTime) -> bool {
        let moment = seconds(moment);
        self.times().iter().filter(|time| **time > moment).count() >= 5
    }

    /// The longest time without a reply around `moment`: from the reply before, or from the moment itself.
    pub fn outage(&self, moment: SystemTime, from_moment: bool) -> f64 {
        let (moment, times) = (seconds(moment), self.times());
        let first = times.iter().copied().find(|time| *time > moment);
        if from_moment {
            return first.expect("it was answered again") - moment;
        }
        // A reply may still have been on its way when the fault struck, so the longest gap from then on counts.
        let before = times.iter().copied().rfind(|time| *time <= moment);
        let since: Vec<f64> = before.into_iter().chain(times.iter().copied().filter(|time| *time > moment)).collect();
        since.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
    }
}

fn seconds(moment: SystemTime) -> f64 {
    moment.duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}
