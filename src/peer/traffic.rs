//! How much a tunnel carried, counted without a lock and read by sampling.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::wire::mtu::BASE;

/// The counters of one tunnel. They only grow: whoever wants to know *when* something happened
/// compares two samples, so that no clock is read for a packet.
#[derive(Debug, Default)]
pub struct Traffic {
    sent_packets: AtomicU64,
    sent_bytes: AtomicU64,
    sent_large: AtomicU64,
    received_packets: AtomicU64,
    received_bytes: AtomicU64,
    heard_on_path: AtomicU64,
    data_on_path: AtomicU64,
}

/// A sample of [`Traffic`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficCounts {
    /// Packets of our programs that were sealed.
    pub sent_packets: u64,
    /// Bytes of those packets, headers of the overlay included.
    pub sent_bytes: u64,
    /// Those packets that had more than 1280 bytes.
    pub sent_large: u64,
    /// Packets for our programs that were opened and allowed.
    pub received_packets: u64,
    /// Bytes of those packets.
    pub received_bytes: u64,
    /// Authenticated datagrams that came by the chosen path, keepalives and control packets included.
    pub heard_on_path: u64,
    /// Those of them that were packets for our programs.
    pub data_on_path: u64,
}

impl Traffic {
    pub(crate) fn count_sent(&self, bytes: usize) {
        self.sent_packets.fetch_add(1, Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
        if bytes > usize::from(BASE) {
            self.sent_large.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.received_packets.fetch_add(1, Relaxed);
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn count_heard_on_path(&self) {
        self.heard_on_path.fetch_add(1, Relaxed);
    }

    pub(super) fn count_data_on_path(&self) {
        self.data_on_path.fetch_add(1, Relaxed);
    }

    /// Packets of programs both ways: no keepalives, nothing of our own.
    pub(super) fn packets(&self) -> u64 {
        self.sent_packets.load(Relaxed) + self.received_packets.load(Relaxed)
    }

    /// The counters now.
    pub fn sample(&self) -> TrafficCounts {
        TrafficCounts {
            sent_packets: self.sent_packets.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
            sent_large: self.sent_large.load(Relaxed),
            received_packets: self.received_packets.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            heard_on_path: self.heard_on_path.load(Relaxed),
            data_on_path: self.data_on_path.load(Relaxed),
        }
    }
}
