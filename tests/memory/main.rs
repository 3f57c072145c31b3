//! What peers take of the heap: the same to the byte in each run, for time and randomness are virtual.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod counted;
mod lan;

use std::time::{Duration, Instant};

use lan::{Host, Lan, Who};
use pilot::peer::Cipher;
use pilot::wire::Now;

#[global_allocator]
static HEAP: counted::Counted = counted::Counted;

/// Peers that come, and as many that stay away. Trees and tables have room in steps, which counts for each.
const PEERS: u16 = 100;
/// Bytes for a peer that is connected, beside what it takes while it is only known.
const LIMIT: isize = 15_000;
const SECOND: Duration = Duration::from_secs(1);

fn now() -> Now {
    Now { monotonic: Instant::now(), unix_millis: 1_800_000_000_000 }
}

/// Bytes that are freed with a node.
fn weight(host: Host) -> isize {
    let before = counted::in_use();
    drop(host);
    before - counted::in_use()
}

fn lanes(host: &Host) -> usize {
    let table = host.node.table();
    let tunnels = table.entries().filter_map(|entry| entry.tunnel.as_ref());
    tunnels.filter(|tunnel| tunnel.cipher() == Some(Cipher::Aes256Gcm)).count()
}

/// What the peers do before they are weighed.
#[derive(Clone, Copy, Debug)]
enum Story {
    /// Connect, and say something.
    Greet,
    /// The same until all have other keys than at first.
    Renew,
    /// Send so much that the replay windows are as long as they get.
    Load,
}

impl Story {
    /// The hub at the end, where so many of its peers came.
    fn play(self, all: &(Who, Vec<Who>), present: u16) -> Host {
        let mut lan = Lan::new(all, present, now());
        lan.run(10 * SECOND);
        let seconds = if let Story::Renew = self { 170 } else { 20 };
        for _ in 0..seconds {
            lan.talk();
            lan.run(SECOND);
        }
        if let Story::Load = self {
            lan.shout(5_000);
            lan.talk();
            lan.run(SECOND);
        }
        assert_eq!(lanes(&lan.hub), usize::from(present), "all have lanes");
        lan.hub
    }
}

#[test]
fn a_connected_peer_with_a_lane_takes_at_most_15_kb() {
    let all = Who::all(2 * PEERS);
    let per = |bytes: isize, peers: u16| bytes / isize::from(peers.cast_signed());
    let alone = weight(Host::new(&all.0, &[], now()));
    let known = weight(Host::new(&all.0, &all.1, now()));
    println!("{} bytes a known peer", per(known - alone, 2 * PEERS));
    for story in [Story::Greet, Story::Renew, Story::Load] {
        let (one, many) = (weight(story.play(&all, 1)), weight(story.play(&all, PEERS)));
        let more = per(many - one, PEERS - 1);
        println!("{more} bytes more a connected peer ({story:?})");
        assert!(more <= LIMIT, "{more} bytes");
    }
}
