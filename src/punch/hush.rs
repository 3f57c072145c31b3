//! Whether a conversation broke off: data came in steadily, and now it does not.
//!
//! Who only replies sends nothing that could be missed; where its router has got another address, nothing reaches it any
//! more, and nobody can tell it. One question after the last word finds that out.

use std::time::{Duration, Instant};

/// Looks in a row that saw data until a pause means something.
const STEADY: u32 = 4;
/// A longer pause begins another conversation.
const PAUSE: Duration = Duration::from_secs(2);
/// The least and the longest quiet that is a reason to ask; in between, so many usual gaps.
const SHORTEST: Duration = Duration::from_millis(400);
const LONGEST: Duration = Duration::from_secs(5);
const GAPS: u32 = 4;
/// The least time between two questions.
const REST: Duration = Duration::from_secs(5);

/// When data came in by the chosen path.
#[derive(Default)]
pub(super) struct Hush {
    last: Option<Instant>,
    /// The usual time between two looks that see data.
    gap: Duration,
    seen: u32,
    asked: Option<Instant>,
    settled: Option<Instant>,
}

impl Hush {
    /// Data came in.
    pub fn replied(&mut self, now: Instant) {
        let gap = self.last.map(|last| now.saturating_duration_since(last)).filter(|gap| *gap <= PAUSE);
        match gap {
            Some(gap) if self.seen > 1 => self.gap = (self.gap * 3 + gap) / 4,
            Some(gap) => self.gap = gap,
            None => self.seen = 0,
        }
        self.seen = self.seen.saturating_add(1);
        self.last = Some(now);
    }

    /// The path was just found to work, or not to, or the question is asked: not again before there is more data.
    pub fn settle(&mut self, now: Instant) {
        self.settled = Some(now);
    }

    /// When quiet is a reason to ask.
    pub fn due(&self) -> Option<Instant> {
        let is_open = |last: &Instant| self.settled.is_none_or(|settled| settled < *last);
        let last = self.last.filter(|last| self.seen >= STEADY && is_open(last))?;
        let due = last + (self.gap * GAPS).clamp(SHORTEST, LONGEST);
        Some(self.asked.map_or(due, |asked| due.max(asked + REST)))
    }

    /// Whether to ask now.
    pub fn take(&mut self, now: Instant) -> bool {
        let is_due = self.due().is_some_and(|due| due <= now);
        if is_due {
            self.asked = Some(now);
            self.settle(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Data every `gap`, so often; when the last came, and when to ask.
    fn conversation(start: Instant, gap: u64, times: u32) -> (Hush, Instant, Option<Instant>) {
        let mut hush = Hush::default();
        for nth in 0..times {
            hush.replied(start + ms(gap) * nth);
        }
        let due = hush.due();
        (hush, start + ms(gap) * (times - 1), due)
    }

    #[test]
    fn a_steady_conversation_that_breaks_off_is_asked_about_once() {
        let (mut hush, last, due) = conversation(Instant::now(), 100, 20);
        assert_eq!(due, Some(last + ms(400)));
        assert!(!hush.take(last + ms(399)) && hush.take(last + ms(400)));
        assert_eq!(hush.due(), None);
        assert!(!hush.take(last + ms(60_000)));
    }

    #[test]
    fn a_slow_one_is_given_time_and_single_words_mean_nothing() {
        let (_, last, due) = conversation(Instant::now(), 1000, 20);
        assert_eq!(due, Some(last + ms(4000)));
        assert_eq!(conversation(Instant::now(), 3000, 20).2, None);
        assert_eq!(conversation(Instant::now(), 100, 3).2, None);
    }

    #[test]
    fn a_path_that_was_just_confirmed_is_asked_about_when_more_data_broke_off() {
        let (mut hush, last, _) = conversation(Instant::now(), 100, 20);
        hush.settle(last + ms(10));
        assert_eq!(hush.due(), None);
        hush.replied(last + ms(100));
        assert_eq!(hush.due(), Some(last + ms(500)));
    }

    #[test]
    fn questions_are_seldom_however_often_it_breaks_off() {
        let start = Instant::now();
        let mut hush = Hush::default();
        let mut asked = 0;
        for tenth in 0..600 {
            let now = start + ms(100) * tenth;
            if tenth % 20 < 8 {
                hush.replied(now);
            }
            asked += u32::from(hush.take(now));
        }
        assert!((1..=12).contains(&asked), "{asked}");
    }
}
