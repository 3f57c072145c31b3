//! Events as lines of JSON and as Server-Sent Events.
//!
//! In: segments of a feed. Out: text, several events at once, and never more events than were asked for.

use std::io::Write;

use serde_json::Value;

use super::batch::elements;
use super::event::EventView;
use super::json::put_json;
use super::queue::Segment;
use crate::control::Error;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// One JSON object a line.
    Lines,
    /// Server-Sent Events.
    ServerSent,
}

impl Style {
    /// Appends what a segment says, at most `left` events of it, which is counted down.
    pub fn put(self, segment: &Segment, left: &mut u64, out: &mut Vec<u8>) {
        // Writing into memory does not fail.
        if segment.missed > 0 && *left > 0 {
            let _ = match self {
                Style::Lines => writeln!(out, "{{\"missed\":{}}}", segment.missed),
                Style::ServerSent => write!(out, "event: missed\ndata: {{\"missed\":{}}}\n\n", segment.missed),
            };
        }
        for (_, body) in elements(&segment.bytes) {
            if *left == 0 {
                return;
            }
            if let Ok(event) = EventView::parse(body) {
                *left -= 1;
                self.put_event(&event, out);
            }
        }
    }

    fn put_event(self, event: &EventView<'_>, out: &mut Vec<u8>) {
        if self == Style::ServerSent {
            if event.seq > 0 {
                let _ = writeln!(out, "id: {}", event.seq);
            }
            out.extend_from_slice(b"data: ");
        }
        put_json(event, out);
        out.extend_from_slice(if self == Style::ServerSent { b"\n\n" } else { b"\n" });
    }

    /// The last words of a feed that was ended.
    pub fn ended(self, error: &Error) -> String {
        let error: Value = error.to_json();
        match self {
            Style::Lines => format!("{error}\n"),
            Style::ServerSent => format!("event: error\ndata: {error}\n\n"),
        }
    }
}
