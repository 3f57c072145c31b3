//! Now, times as text, and waiting for the next that is due.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::sleep;

/// Milliseconds since 1970.
pub fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970 as RFC 3339 in UTC: `2026-11-25T12:00:00.123Z`.
pub fn rfc3339(millis: u64) -> String {
    format!("{}.{:03}Z", Utc(millis / 1_000), millis % 1_000)
}

/// Seconds since 1970, shown as date and time of day in UTC: `2026-11-25T12:00:00`.
pub struct Utc(pub u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0 / 86_400);
        let of_day = self.0 % 86_400;
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// Year, month and day of a day since 1970, in years that begin in March so that leap days come last.
fn date(days: u64) -> (u64, u64, u64) {
    // Beyond the year 9999 a time is a mistake of whoever said it: it is shown as the end.
    let days = days.min(2_932_896) + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// What ends is looked for at least this often.
const SWEEP: Duration = Duration::from_secs(60);
/// A breath between looks in busy times, and after the database failed.
pub const PAUSE: Duration = Duration::from_secs(1);

/// Returns when it is time to look at what ends: at `end`, milliseconds since 1970, a breath after something has changed,
/// for that may end sooner, and at the latest after a minute.
pub async fn until_due(end: Option<u64>, now: u64, changes: &mut watch::Receiver<u64>) {
    let until = end.map_or(SWEEP, |end| Duration::from_millis(end.saturating_sub(now)).min(SWEEP));
    tokio::select! {
        () = sleep(until) => {}
        _ = changes.changed() => sleep(PAUSE.min(until)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_calendars_have_them() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (1_764_072_000_000, "2025-11-25T12:00:00.000Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(millis), text);
        }
        assert!(rfc3339(u64::MAX).starts_with("9999-12-31T"));
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(
            [0, 58, 59, 11_016, 11_017, 20_788].map(date),
            [(1970, 1, 1), (1970, 2, 28), (1970, 3, 1), (2000, 2, 29), (2000, 3, 1), (2026, 12, 1)]
        );
    }
}
