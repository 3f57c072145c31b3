//! Two agents and the links between them, in virtual time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::punch::{Agent, Families, Output};
use crate::wire::{Allocation, Candidate, CandidateKind, Now, Path, RelayAddress};

pub const A: usize = 0;
pub const B: usize = 1;

pub fn overlay() -> ipnet::Ipv6Net {
    "fd50:494c:4f54::/48".parse().unwrap()
}

pub fn direct(endpoint: &str) -> Path {
    Path::Direct(endpoint.parse().unwrap())
}

pub fn relayed(allocation: u64) -> Path {
    relayed_at("203.0.113.1:9001", allocation)
}

/// By another relay than the usual one.
pub fn relayed_at(server: &str, allocation: u64) -> Path {
    Path::Relayed(RelayAddress { server: server.parse().unwrap(), allocation: Allocation(allocation) })
}

/// The relays that agents are bound to.
pub fn relays() -> Vec<std::net::SocketAddr> {
    ["203.0.113.1:9001", "203.0.113.2:9001"].map(|server| server.parse().unwrap()).to_vec()
}

pub fn candidate(kind: CandidateKind, path: Path) -> Candidate {
    Candidate { kind, path }
}

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn start() -> Now {
    Now { monotonic: Instant::now(), unix_millis: 1_800_000_000_000 }
}

/// An agent that can send everywhere.
pub fn agent(now: Now, seed: u64) -> Agent {
    let mut agent = Agent::new(seed, overlay(), seed == 1);
    let families = Families { v4: true, v6: true };
    agent.set_local(now, families, relays());
    agent
}

/// One way for packets between the two: each end as the other one names it.
pub struct Link {
    pub ends: [Path; 2],
    pub latency: Duration,
    /// Whether packets pass from A, and from B.
    pub up: [bool; 2],
    /// Lets packets in only within 30 s after the receiving end sent by it: a NAT on either side.
    pub guarded: bool,
    pub loss_percent: u64,
    /// The largest packet that passes.
    pub mtu: u16,
    sent: [Option<Instant>; 2],
}

impl Link {
    pub fn new(end_a: Path, end_b: Path, latency: Duration) -> Link {
        Link {
            ends: [end_a, end_b],
            latency,
            up: [true, true],
            guarded: false,
            loss_percent: 0,
            mtu: 1420,
            sent: [None, None],
        }
    }
}

#[derive(Clone)]
enum Message {
    Probe(u64),
    Answer(u64, Path),
    Introduction,
    Data,
    MtuProbe(u64, u16),
    MtuAnswer(u64, u16),
}

struct Flight {
    to: usize,
    via: Path,
    message: Message,
}

/// What an agent put out, and when (since the start of the pair).
pub struct Logged {
    pub at: Duration,
    pub side: usize,
    pub output: Output,
}

pub struct Pair {
    pub now: Now,
    pub agents: [Agent; 2],
    pub links: Vec<Link>,
    /// What each side tells in its introductions.
    pub told: [Vec<Candidate>; 2],
    /// Which sides send data over their chosen path, every 100 ms.
    pub talks: [bool; 2],
    /// Whether B answers each piece of data with another.
    pub echoes: bool,
    pub log: Vec<Logged>,
    start: Instant,
    next_data: Instant,
    flights: BTreeMap<(Instant, u64), Flight>,
    count: u64,
    pub rng: ChaCha8Rng,
}

impl Pair {
    pub fn new(links: Vec<Link>) -> Pair {
        let now = start();
        let told = [A, B].map(|side| links.iter().map(|link| told(link.ends[side])).collect());
        Pair {
            now,
            agents: [agent(now, 1), agent(now, 2)],
            links,
            told,
            talks: [false, false],
            echoes: false,
            log: Vec::new(),
            start: now.monotonic,
            next_data: now.monotonic,
            flights: BTreeMap::new(),
            count: 0,
            rng: ChaCha8Rng::seed_from_u64(1),
        }
    }

    /// Introductions exchanged, and a session up on both sides by the first link.
    pub fn connect(&mut self) {
        for side in [A, B] {
            let told = self.told[1 - side].clone();
            self.agents[side].set_remote_candidates(self.now, &told);
        }
        let [end_a, end_b] = self.links[0].ends;
        self.agents[A].session_established(self.now, end_b);
        self.agents[B].session_established(self.now, end_a);
        self.drain();
    }

    pub fn run(&mut self, span: Duration) {
        let end = self.now.monotonic + span;
        let mut stuck = 0;
        while let Some(next) = self.next_event().filter(|next| *next <= end) {
            stuck = if next > self.now.monotonic { 0 } else { stuck + 1 };
            assert!(stuck < 500, "time stands still");
            self.advance_to(next);
            self.step();
        }
        self.advance_to(end);
    }

    /// The end of link `index` on `side` changes to an endpoint that nobody has seen yet, and the
    /// side knows it.
    pub fn move_end(&mut self, index: usize, side: usize, endpoint: Path) {
        let link = &mut self.links[index];
        self.told[side].retain(|candidate| candidate.path != link.ends[side]);
        self.told[side].push(told(endpoint));
        link.ends[side] = endpoint;
        link.sent = [None, None];
        self.agents[side].network_changed(self.now, Families::default());
        self.drain();
    }

    pub fn chosen(&self, side: usize) -> Option<Path> {
        self.agents[side].chosen()
    }

    /// Whether both sides use link `index`.
    pub fn both_on(&self, index: usize) -> bool {
        let [end_a, end_b] = self.links[index].ends;
        self.chosen(A) == Some(end_b) && self.chosen(B) == Some(end_a)
    }

    pub fn elapsed(&self) -> Duration {
        self.now.monotonic - self.start
    }

    /// How many logged outputs fit, from `since` on.
    pub fn count(&self, since: Duration, fits: impl Fn(&Output) -> bool) -> usize {
        let late = self.log.iter().filter(|logged| logged.at >= since);
        late.filter(|logged| fits(&logged.output)).count()
    }

    /// Carries out what the agents want after they were called from outside.
    pub fn drain(&mut self) {
        for side in [A, B] {
            while let Some(output) = self.agents[side].poll_output() {
                let at = self.elapsed();
                self.log.push(Logged { at, side, output });
                match output {
                    Output::Probe { via, id } => self.send(side, via, Message::Probe(id)),
                    Output::Answer { via, id, observed } => {
                        self.send(side, via, Message::Answer(id, observed));
                    }
                    Output::Introduce { via } => self.send(side, via, Message::Introduction),
                    Output::Prepare { .. } => self.agents[side].unprepared(self.now),
                    Output::Opener { .. } | Output::Offer { .. } | Output::Accept { .. } => {}
                    Output::Release | Output::Doubt => {}
                    Output::MtuProbe { via, id, size } => self.send(side, via, Message::MtuProbe(id, size)),
                    Output::MtuAnswer { via, id, size } => self.send(side, via, Message::MtuAnswer(id, size)),
                    Output::Chosen(_) | Output::Mtu(_) => {}
                }
            }
        }
    }

    fn next_event(&self) -> Option<Instant> {
        let timers = self.agents.iter().filter_map(|agent| agent.poll_timeout());
        let flight = self.flights.keys().next().map(|(at, _)| *at);
        let data = self.talks.contains(&true).then_some(self.next_data);
        timers.map(|(at, _)| at).chain(flight).chain(data).min()
    }

    fn advance_to(&mut self, at: Instant) {
        let elapsed = at.saturating_duration_since(self.now.monotonic);
        self.now = self.now.after(elapsed);
    }

    fn step(&mut self) {
        self.deliver();
        for agent in &mut self.agents {
            if agent.poll_timeout().is_some_and(|(at, _)| at <= self.now.monotonic) {
                agent.handle_timeout(self.now);
            }
        }
        if self.next_data <= self.now.monotonic {
            self.next_data = self.now.monotonic + ms(100);
            self.talk();
        }
        self.drain();
    }

    fn talk(&mut self) {
        for side in [A, B] {
            if self.talks[side] {
                self.talk_from(side);
            }
        }
    }

    fn talk_from(&mut self, side: usize) {
        if let Some(chosen) = self.chosen(side) {
            self.agents[side].sent(self.now);
            self.send(side, chosen, Message::Data);
        }
    }

    fn send(&mut self, from: usize, via: Path, message: Message) {
        let lost = self.rng.next_u64() % 100;
        let to = 1 - from;
        let Some(link) = self.links.iter_mut().find(|link| link.ends[to] == via) else {
            return;
        };
        link.sent[from] = Some(self.now.monotonic);
        let large = matches!(message, Message::MtuProbe(_, size) if size > link.mtu);
        if !link.up[from] || large || lost < link.loss_percent {
            return;
        }
        let arrival = self.now.monotonic + link.latency;
        let via = link.ends[from];
        self.count += 1;
        let flight = Flight { to, via, message };
        self.flights.insert((arrival, self.count), flight);
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.flights.first_entry() {
            if entry.key().0 > self.now.monotonic {
                return;
            }
            let flight = entry.remove();
            if self.lets_in(&flight) {
                self.arrive(flight);
            }
        }
    }

    fn lets_in(&self, flight: &Flight) -> bool {
        let from = 1 - flight.to;
        let link = self.links.iter().find(|l| l.ends[from] == flight.via);
        let open = |at: Instant| self.now.monotonic - at < secs(30);
        link.is_some_and(|link| !link.guarded || link.sent[flight.to].is_some_and(open))
    }

    fn arrive(&mut self, flight: Flight) {
        let agent = &mut self.agents[flight.to];
        agent.received(self.now, flight.via);
        match flight.message {
            Message::Probe(id) => agent.handle_probe(self.now, flight.via, id),
            Message::Answer(id, observed) => {
                agent.handle_answer(self.now, flight.via, id, observed);
            }
            Message::MtuProbe(id, size) => agent.handle_mtu_probe(self.now, flight.via, id, size),
            Message::MtuAnswer(id, size) => agent.handle_mtu_answer(self.now, flight.via, id, size),
            Message::Data => {
                agent.spoken(self.now, flight.via);
                if agent.chosen() == Some(flight.via) {
                    agent.replied(self.now);
                }
                if self.echoes && flight.to == B {
                    self.talk_from(B);
                }
            }
            Message::Introduction => {
                agent.received(self.now, flight.via);
                agent.set_remote_candidates(self.now, &self.told[1 - flight.to]);
                agent.introduced_by(self.now, flight.via);
            }
        }
        self.drain();
    }
}

fn told(path: Path) -> Candidate {
    match path {
        Path::Direct(_) | Path::Spare { .. } => candidate(CandidateKind::Reflexive, path),
        Path::Relayed(_) | Path::Friend { .. } => candidate(CandidateKind::Relayed, path),
    }
}
