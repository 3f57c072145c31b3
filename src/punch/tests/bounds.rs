//! What an agent never exceeds: packets, memory, and the patience of its caller.

use proptest::prelude::*;

use super::pair::*;
use crate::punch::decisions::MAX_OUTPUTS;
use crate::punch::{Agent, Families, MAX_DIRECT, MAX_RELAYED, MAX_SEEN, Output};
use crate::wire::{Candidate, CandidateKind, Now, Path};

fn probes(pair: &Pair) -> usize {
    pair.count(secs(0), |o| matches!(o, Output::Probe { .. }))
}

fn answers(pair: &Pair) -> usize {
    pair.count(secs(0), |o| matches!(o, Output::Answer { .. }))
}

fn links(count: u16, up: bool) -> Vec<Link> {
    let mut links = vec![Link::new(relayed(1), relayed(2), ms(40))];
    for nth in 0..count {
        let end = |side| direct(&format!("198.51.100.{side}:{}", 4000 + nth));
        let mut link = Link::new(end(1), end(2), ms(10 + u64::from(nth)));
        link.up = [up, up];
        links.push(link);
    }
    links
}

#[test]
fn ten_idle_minutes_on_a_direct_path_are_quiet() {
    let mut pair = Pair::new(links(4, true));
    pair.links[4].up = [false, false];
    pair.connect();
    pair.run(secs(600));
    // 23 keepalives, of which each side sends every other one, a check of the relay, one shot at each candidate that
    // answers before the next, and 6 at the one that does not.
    assert!(probes(&pair) <= 23 + 2 * (1 + 3 + 6), "{}", probes(&pair));
    assert!(answers(&pair) <= probes(&pair));
}

#[test]
fn ten_idle_minutes_on_the_relay_are_quiet() {
    let mut pair = Pair::new(links(4, false));
    pair.connect();
    pair.run(secs(600));
    // Both sides: 30 keepalives, 6 rounds of 8 shots at 4 candidates, and a check each round.
    let bound = 2 * (30 + 6 * (8 * 4 + 1));
    assert!(probes(&pair) <= bound, "{} > {bound}", probes(&pair));
    assert!(pair.count(secs(0), |o| matches!(o, Output::Introduce { .. })) <= 20);
}

#[test]
fn ten_minutes_of_one_way_data_are_nearly_quiet() {
    let mut pair = Pair::new(links(1, true));
    pair.connect();
    pair.talks = [true, false];
    pair.run(secs(600));
    assert!(probes(&pair) <= 600 / 5 + 60, "{}", probes(&pair));
}

#[test]
fn a_busy_path_needs_no_checks() {
    let mut pair = Pair::new(links(1, true));
    pair.connect();
    pair.talks = [true, true];
    pair.run(secs(600));
    assert!(probes(&pair) <= 2 * (30 + 2), "{}", probes(&pair));
}

#[test]
fn a_peer_that_tells_new_candidates_all_the_time_starts_no_storm() {
    let now = start();
    let mut agent = agent(now, 7);
    agent.session_established(now, relayed(2));
    let mut probes = 0;
    for nth in 0..100_u64 {
        let told = [candidate(CandidateKind::Host, direct(&format!("192.0.2.{nth}:1")))];
        agent.set_remote_candidates(now.after(ms(nth * 10)), &told);
        agent.handle_timeout(now.after(ms(nth * 10)));
        let outputs = std::iter::from_fn(|| agent.poll_output());
        probes += outputs.filter(|o| matches!(o, Output::Probe { .. })).count();
    }
    // The shots of one second, at one candidate and the relay, and the check of the relay.
    assert!(probes <= 5 * 2 + 3, "{probes}");
}

#[derive(Clone, Debug)]
enum Step {
    Candidates(Vec<u8>),
    Local(bool, bool, bool),
    Established(u8),
    Lost,
    Probe(u8),
    Answer(usize, bool),
    Received(u8),
    Sent,
    Changed(bool),
    Refused(u8),
    Introduced(u8),
    Wait(u64),
    Due,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Step::Candidates),
        any::<(bool, bool, bool)>().prop_map(|(v4, v6, relay)| Step::Local(v4, v6, relay)),
        any::<u8>().prop_map(Step::Established),
        Just(Step::Lost),
        any::<u8>().prop_map(Step::Probe),
        (any::<usize>(), any::<bool>()).prop_map(|(nth, astray)| Step::Answer(nth, astray)),
        any::<u8>().prop_map(Step::Received),
        Just(Step::Sent),
        any::<bool>().prop_map(Step::Changed),
        any::<u8>().prop_map(Step::Refused),
        any::<u8>().prop_map(Step::Introduced),
        (0..30_000_u64).prop_map(Step::Wait),
        Just(Step::Due),
        Just(Step::Due),
        Just(Step::Due),
    ]
}

/// Some path for each number, among them unusable ones.
fn path(number: u8) -> Path {
    match number % 8 {
        0 => relayed(u64::from(number) / 64),
        1 => direct(&format!("[2001:db8::{number:x}]:7")),
        2 => direct(&format!("127.0.0.{number}:7")),
        3 => direct(&format!("[fd50:494c:4f54::{number:x}]:7")),
        _ => direct(&format!("10.0.0.{number}:7")),
    }
}

fn told(number: u8) -> Candidate {
    let path = path(number);
    let kind = match (path.is_direct(), number >= 128) {
        (false, _) => CandidateKind::Relayed,
        (true, true) => CandidateKind::Host,
        (true, false) => CandidateKind::Reflexive,
    };
    candidate(kind, path)
}

/// The agent, the probes that it sent, and the paths that may be chosen.
struct World {
    agent: Agent,
    now: Now,
    sent: Vec<(Path, u64)>,
    deserving: Vec<Path>,
}

impl World {
    fn take(&mut self, step: &Step) {
        let (agent, now) = (&mut self.agent, self.now);
        match step {
            Step::Candidates(numbers) => {
                let told: Vec<Candidate> = numbers.iter().map(|n| told(*n)).collect();
                agent.set_remote_candidates(now, &told);
            }
            Step::Local(v4, v6, relay) => {
                let families = Families { v4: *v4, v6: *v6 };
                let relays = if *relay { relays() } else { Vec::new() };
                agent.set_local(now, families, relays);
            }
            Step::Established(number) => {
                agent.session_established(now, path(*number));
                self.deserving.extend(agent.chosen());
                self.deserving.extend(Some(path(*number)).filter(|path| !path.is_direct()));
            }
            Step::Lost => {
                agent.session_lost(now);
                // What the relay delivered shows that it reaches the peer, whatever becomes of the session.
                self.deserving.retain(|path| !path.is_direct());
            }
            Step::Probe(number) => {
                let via = path(*number);
                agent.handle_probe(now, via, 1);
                self.deserving.extend((!via.is_direct()).then_some(via));
            }
            Step::Answer(nth, astray) => self.answer(*nth, *astray),
            Step::Received(number) => {
                let via = path(*number);
                agent.received(now, via);
                // What our relay delivers from the peer may be answered the same way.
                self.deserving.extend((!via.is_direct()).then_some(via));
            }
            Step::Sent => agent.sent(now),
            Step::Changed(lost) => agent.network_changed(now, Families { v4: *lost, v6: *lost }),
            Step::Refused(number) => agent.refused(now, path(*number)),
            Step::Introduced(number) => agent.introduced_by(now, path(*number)),
            Step::Wait(millis) => self.now = now.after(ms(*millis)),
            Step::Due => self.due(),
        }
    }

    fn answer(&mut self, nth: usize, astray: bool) {
        if self.sent.is_empty() {
            return;
        }
        let (via, id) = self.sent[nth % self.sent.len()];
        if astray {
            let elsewhere = direct("192.0.2.9:9");
            self.agent.handle_answer(self.now, elsewhere, id, via);
        } else {
            self.agent.handle_answer(self.now, via, id, via);
            self.deserving.push(via);
        }
    }

    fn due(&mut self) {
        let Some((at, _)) = self.agent.poll_timeout() else {
            return;
        };
        let wait = at.saturating_duration_since(self.now.monotonic);
        self.now = self.now.after(wait);
        let mut calls = 0;
        while let Some((at, why)) = self.agent.poll_timeout() {
            if at > self.now.monotonic {
                break;
            }
            self.agent.handle_timeout(self.now);
            calls += 1;
            assert!(calls <= 3, "{why} stays due");
        }
    }

    fn check(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.agent.poll_output() {
            outputs += 1;
            if let Output::Probe { via, id } = output {
                self.sent.push((via, id));
            }
        }
        assert!(outputs <= MAX_OUTPUTS + 2);
        self.agent.assert_bounded(MAX_DIRECT + MAX_RELAYED + MAX_SEEN + 1);
        if let Some(chosen) = self.agent.chosen() {
            assert!(self.deserving.contains(&chosen), "{chosen} proved nothing");
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens(steps in proptest::collection::vec(step(), 1..200)) {
        let now = start();
        let mut world = World { agent: agent(now, 7), now, sent: Vec::new(), deserving: Vec::new() };
        for step in &steps {
            world.take(step);
            world.check();
        }
    }
}
