//! How long answers took.

use std::time::Duration;

/// Round trips, in any order.
#[derive(Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Takes one in.
    pub fn add(&mut self, trip: Duration) {
        self.0.push(trip);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The median and the 99th percentile, microseconds; `NaN` of none.
    pub fn p50_p99(mut self) -> [f64; 2] {
        self.0.sort_unstable();
        [50, 99].map(|percent| {
            let place = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
            self.0.get(place).map_or(f64::NAN, |trip| trip.as_secs_f64() * 1e6)
        })
    }
}
