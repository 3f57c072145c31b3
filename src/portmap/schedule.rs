//! When to ask a gateway again. No IO.

use std::time::Duration;

/// What is asked for; a gateway may give less.
pub const LIFETIME: Duration = Duration::from_secs(3600);

/// A mapping is checked so often, for a gateway that has restarted does not always say so.
const CHECK: Duration = Duration::from_secs(300);

/// However short a gateway's lifetimes, it is not asked more often.
const LEAST: Duration = Duration::from_secs(10);

/// After the first failure; twice as long after each further one.
const FIRST: Duration = Duration::from_secs(15);

/// At last.
const LAST: Duration = Duration::from_secs(3600);

/// How long to wait before a mapping that lasts `lifetime` is renewed.
pub fn renewal(lifetime: Duration) -> Duration {
    (lifetime / 2).clamp(LEAST, CHECK)
}

/// How long to wait after so many failures in a row.
pub fn backoff(failures: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_renewed_well_before_it_ends() {
        assert_eq!(renewal(Duration::from_secs(3600)), CHECK);
        assert_eq!(renewal(Duration::from_secs(120)), Duration::from_secs(60));
        assert_eq!(renewal(Duration::ZERO), LEAST);
    }

    #[test]
    fn a_silent_gateway_is_asked_less_and_less() {
        let waits: Vec<u64> = [1, 2, 3, 8, 9, 40, u32::MAX].map(backoff).map(|wait| wait.as_secs()).into();
        assert_eq!(waits, [15, 30, 60, 1920, 3600, 3600, 3600]);
    }
}
