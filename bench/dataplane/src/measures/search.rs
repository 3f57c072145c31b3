//! Finds the highest rate that still goes through.

/// How much faster each step is until one fails.
const STRIDE: f64 = 1.5;
/// How often the gap between what went through and what did not is halved.
const HALVINGS: u32 = 4;
/// Below this rate nothing is tried.
const LEAST: f64 = 100.0;

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Try {
    /// It went through.
    Through,
    /// Too much was lost.
    Lossy,
    /// It went through, but the sender could not keep the pace: no use in going faster.
    Roof,
}

/// Tries rates from `first` on; gives the highest that went through.
pub fn highest<E>(first: f64, mut attempt: impl FnMut(f64) -> Result<Try, E>) -> Result<Option<f64>, E> {
    let (mut good, mut rate) = (None, first);
    let mut bad = loop {
        match attempt(rate)? {
            Try::Roof => return Ok(Some(rate)),
            Try::Through => {
                good = Some(rate);
                rate *= STRIDE;
            }
            Try::Lossy if good.is_some() => break rate,
            Try::Lossy if rate / 4.0 < LEAST => return Ok(None),
            Try::Lossy => rate /= 4.0,
        }
    };
    for _ in 0..HALVINGS {
        let Some(below) = good else { break };
        let between = f64::sqrt(below * bad);
        match attempt(between)? {
            Try::Lossy => bad = between,
            Try::Through => good = Some(between),
            Try::Roof => return Ok(Some(between)),
        }
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(limit: f64, roof: f64) -> Option<f64> {
        let attempt = |rate: f64| {
            Ok::<_, ()>(match rate {
                _ if rate > limit => Try::Lossy,
                _ if rate > roof => Try::Roof,
                _ => Try::Through,
            })
        };
        highest(20_000.0, attempt).unwrap()
    }

    #[test]
    fn comes_close_from_below_and_from_above() {
        for limit in [700.0, 5_000.0, 20_000.0, 123_456.0, 1_000_000.0] {
            let found = search(limit, f64::MAX).unwrap();
            assert!(found <= limit && found > 0.95 * limit, "{found} of {limit}");
        }
    }

    #[test]
    fn stops_where_the_sender_does() {
        let found = search(f64::MAX, 100_000.0).unwrap();
        assert!(found > 100_000.0 && found < 160_000.0, "{found}");
    }

    #[test]
    fn gives_up() {
        assert_eq!(search(10.0, f64::MAX), None);
    }
}
