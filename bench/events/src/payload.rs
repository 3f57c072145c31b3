//! What is published: 128 bytes of JSON that carry a number and a time at fixed places.

use std::time::Instant;

/// Length of a payload.
pub const LEN: usize = 128;
const NUMBER: std::ops::Range<usize> = 6..18;
const TIME: std::ops::Range<usize> = 25..45;
const TEMPLATE: &[u8; LEN] =
    br#"{"n":"000000000000","t":"00000000000000000000","host":"agent-a","percent":73.2,"note":"one hundred and twenty-eight bytes of t"}"#;

/// What is published until every subscriber has seen it: as long as a payload, and counted by nobody.
pub const PROBE: &[u8; LEN] = &[b'1'; LEN];

/// A payload that is written anew for each event.
pub struct Payload {
    bytes: [u8; LEN],
    epoch: Instant,
}

impl Payload {
    /// Number 0, sent at `epoch`.
    pub fn new(epoch: Instant) -> Payload {
        Payload { bytes: *TEMPLATE, epoch }
    }

    /// The payload with a number.
    pub fn numbered(&mut self, number: u64) -> &[u8; LEN] {
        write_digits(&mut self.bytes[NUMBER], number);
        &self.bytes
    }

    /// The payload with a number, sent now.
    pub fn stamped(&mut self, number: u64) -> &[u8; LEN] {
        write_digits(&mut self.bytes[TIME], nanos_since(self.epoch));
        self.numbered(number)
    }
}

/// The number in a payload.
pub fn number(payload: &[u8]) -> Option<u64> {
    if payload.first() != Some(&b'{') {
        return None;
    }
    digits(payload.get(NUMBER)?)
}

/// When a payload was sent, nanoseconds since the epoch.
pub fn sent_at(payload: &[u8]) -> Option<u64> {
    digits(payload.get(TIME)?)
}

/// Nanoseconds since `epoch`.
pub fn nanos_since(epoch: Instant) -> u64 {
    u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn write_digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
        if value == 0 && *digit == b'0' {
            // What is left is zero already: numbers only grow.
            break;
        }
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0u64, |value, digit| {
        digit.is_ascii_digit().then(|| value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_survive_and_the_payload_is_json() {
        let mut payload = Payload::new(Instant::now());
        for n in [0, 1, 9, 10, 99, 100, 999_999_999_999] {
            let bytes = *payload.stamped(n);
            assert_eq!(number(&bytes), Some(n));
            assert!(sent_at(&bytes).unwrap() > 0);
            serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
        }
    }
}
