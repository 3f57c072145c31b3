//! The flows that programs here have opened towards one peer: a small cache that forgets what lies still.
//!
//! 1024 places of one atomic word each, in sets of a cache line; they are made when the first flow is. Whoever writes a
//! place at the same moment as another may lose: the flow is refused then until the program repeats its packet.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const SETS: usize = 128;
const WAYS: usize = 8;
/// A place holds the flow, its state and when it last went on, from the upper bits to the lower.
const STATE_BITS: u32 = 2;
const TIME_BITS: u32 = 28;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const STATE_MASK: u64 = (1 << STATE_BITS) - 1;

/// Seconds that a flow outlives its last packet of ours: RFC 5382 (section 5, both times), RFC 4787 (section 4.3) and
/// RFC 5508 (section 3.2) ask so much of translators.
const OPEN: u64 = 7440;
const HALF_OPEN: u64 = 240;
const UDP: u64 = 300;
const ECHO: u64 = 60;

/// The seconds that have passed, shared by all gates of a node. It may lag behind by as long as nothing is sent.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicU32>);

impl Clock {
    /// Tells the time, since whenever; it never goes back.
    pub fn tell(&self, elapsed: Duration) {
        self.0.store((elapsed.as_secs() & TIME_MASK) as u32, Relaxed);
    }

    pub(super) fn seconds(&self) -> u64 {
        self.0.load(Relaxed).into()
    }
}

/// A flow, as it is seen from here: 34 bits, and never 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow(u64);

const TCP_FLOW: u64 = 1;
const UDP_FLOW: u64 = 2;
const ECHO_FLOW: u64 = 3;

impl Flow {
    pub fn tcp(ours: u16, theirs: u16) -> Flow {
        Flow::new(TCP_FLOW, ours, theirs)
    }

    pub fn udp(ours: u16, theirs: u16) -> Flow {
        Flow::new(UDP_FLOW, ours, theirs)
    }

    pub fn echo(id: u16) -> Flow {
        Flow::new(ECHO_FLOW, id, 0)
    }

    fn new(protocol: u64, ours: u16, theirs: u16) -> Flow {
        Flow(protocol << 32 | u64::from(ours) << 16 | u64::from(theirs))
    }

    fn protocol(self) -> u64 {
        self.0 >> 32
    }

    /// Which of the sets it belongs to: the upper bits of a product are the well-mixed ones (Knuth, volume 3, 6.4).
    fn set(self) -> usize {
        (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SETS.ilog2())) as usize
    }
}

/// How far a TCP connection is; all else stays as it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    Opening = 0,
    Open = 1,
    Closing = 2,
}

/// What a place holds; 0 is nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Held(u64);

impl Held {
    fn new(flow: Flow, state: State, now: u64) -> Held {
        Held(flow.0 << (STATE_BITS + TIME_BITS) | (state as u64) << TIME_BITS | now & TIME_MASK)
    }

    fn flow(self) -> Flow {
        Flow(self.0 >> (STATE_BITS + TIME_BITS))
    }

    fn state(self) -> State {
        match self.0 >> TIME_BITS & STATE_MASK {
            0 => State::Opening,
            1 => State::Open,
            _ => State::Closing,
        }
    }

    /// How many seconds it has left; 0 when it is over.
    fn left(self, now: u64) -> u64 {
        let life = match (self.flow().protocol(), self.state()) {
            (TCP_FLOW, State::Open) => OPEN,
            (TCP_FLOW, _) => HALF_OPEN,
            (UDP_FLOW, _) => UDP,
            (ECHO_FLOW, _) => ECHO,
            _ => 0,
        };
        life.saturating_sub(now.saturating_sub(self.0 & TIME_MASK))
    }
}

#[derive(Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

/// The cache.
#[derive(Default)]
pub(super) struct Flows(OnceLock<Box<[Set]>>);

impl Flows {
    /// Whether a flow is open.
    pub fn knows(&self, flow: Flow, now: u64) -> bool {
        self.find(flow, now).is_some()
    }

    /// Opens a flow. Where there is no room, the one with the least time left makes it.
    pub fn open(&self, flow: Flow, now: u64) {
        if !self.go_on(flow, now, |_| State::Opening) {
            self.put(Held::new(flow, State::Opening, now), now);
        }
    }

    /// Goes on with a flow, in the state that `next` makes of its own; false where it is not open.
    pub fn go_on(&self, flow: Flow, now: u64, next: impl FnOnce(State) -> State) -> bool {
        let Some((place, held)) = self.find(flow, now) else {
            return false;
        };
        let fresh = Held::new(flow, next(held.state()), now);
        // Most packets of a flow come in the same second as the one before: they write nothing.
        if fresh != held {
            let _ = place.compare_exchange(held.0, fresh.0, Relaxed, Relaxed);
        }
        true
    }

    /// Takes over the TCP connections of another cache.
    pub fn take_over(&self, other: &Flows) {
        let sets = other.0.get().map_or(&[][..], |sets| sets);
        let held = sets.iter().flat_map(|set| &set.0).map(|place| Held(place.load(Relaxed)));
        for held in held.filter(|held| held.flow().protocol() == TCP_FLOW) {
            self.put(held, held.0 & TIME_MASK);
        }
    }

    fn put(&self, held: Held, now: u64) {
        let sets = self.0.get_or_init(|| std::iter::repeat_with(Set::default).take(SETS).collect());
        let places = sets.get(held.flow().set()).map_or(&[][..], |set| &set.0);
        let least = places.iter().min_by_key(|place| Held(place.load(Relaxed)).left(now));
        if let Some(place) = least {
            place.store(held.0, Relaxed);
        }
    }

    fn find(&self, flow: Flow, now: u64) -> Option<(&AtomicU64, Held)> {
        let set = self.0.get()?.get(flow.set())?;
        let held = set.0.iter().map(|place| (place, Held(place.load(Relaxed))));
        held.filter(|(_, held)| held.flow() == flow).find(|(_, held)| held.left(now) > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(flows: &Flows, flow: Flow, now: u64) {
        flows.open(flow, now);
        assert!(flows.go_on(flow, now, |_| State::Open));
    }

    #[test]
    fn a_flow_is_known_until_its_time_is_over() {
        let flows = Flows::default();
        for (flow, life) in [(Flow::tcp(1, 2), HALF_OPEN), (Flow::udp(1, 2), UDP), (Flow::echo(1), ECHO)] {
            assert!(!flows.knows(flow, 1000));
            flows.open(flow, 1000);
            assert!(flows.knows(flow, 1000 + life - 1) && !flows.knows(flow, 1000 + life));
            assert!(!flows.go_on(flow, 1000 + life, |_| State::Open), "it is over");
        }
        let flow = Flow::tcp(3, 4);
        open(&flows, flow, 1000);
        assert!(flows.knows(flow, 1000 + OPEN - 1));
        assert!(flows.go_on(flow, 8000, |_| State::Closing));
        assert!(flows.knows(flow, 8000 + HALF_OPEN - 1) && !flows.knows(flow, 8000 + HALF_OPEN));
    }

    #[test]
    fn each_packet_of_ours_keeps_a_flow_open() {
        let flows = Flows::default();
        let flow = Flow::udp(5353, 53);
        flows.open(flow, 0);
        for now in (0..4000).step_by(200) {
            assert!(flows.knows(flow, now));
            flows.open(flow, now);
        }
    }

    #[test]
    fn flows_differ_by_protocol_and_by_either_port() {
        let flows = Flows::default();
        flows.open(Flow::tcp(7, 9), 5);
        for other in [Flow::udp(7, 9), Flow::tcp(9, 7), Flow::tcp(7, 8), Flow::tcp(6, 9), Flow::echo(7)] {
            assert!(!flows.knows(other, 5));
        }
        flows.open(Flow::tcp(0, 0), 5);
        assert!(flows.knows(Flow::tcp(0, 0), 5));
    }

    #[test]
    fn a_storm_of_short_flows_displaces_no_open_connection() {
        let flows = Flows::default();
        let quiet: Vec<Flow> = (0..100).map(|port| Flow::tcp(40_000 + port, 1002)).collect();
        quiet.iter().for_each(|flow| open(&flows, *flow, 0));
        for port in 0..60_000 {
            flows.open(Flow::udp(port, 53), 3000);
            flows.open(Flow::tcp(port, 80), 3000);
        }
        // Some of the hundred share a set; it has eight places.
        let kept = quiet.iter().filter(|flow| flows.knows(**flow, 3000)).count();
        assert_eq!(kept, 100);
        assert!(flows.knows(Flow::tcp(59_999, 80), 3000), "and the newest is there");
    }

    #[test]
    fn only_connections_are_taken_over() {
        let (former, flows) = (Flows::default(), Flows::default());
        open(&former, Flow::tcp(1, 2), 50);
        former.open(Flow::udp(1, 2), 50);
        flows.take_over(&former);
        assert!(flows.knows(Flow::tcp(1, 2), 50 + HALF_OPEN + 1) && !flows.knows(Flow::udp(1, 2), 50));
        flows.take_over(&Flows::default());
    }
}
