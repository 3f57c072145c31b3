//! Single rules, on one agent.

use super::pair::*;
use crate::punch::{Agent, Families, MAX_DIRECT, MAX_RELAYED, Origin, Output};
use crate::wire::{Candidate, CandidateKind, Now, Path};

const HOST: CandidateKind = CandidateKind::Host;
const REFLEXIVE: CandidateKind = CandidateKind::Reflexive;

/// An agent with a session over the relay, which was told of these hosts; its outputs drained.
fn relayed_agent(now: Now, hosts: &[Path]) -> (Agent, Vec<Output>) {
    let mut agent = agent(now, 7);
    let mut told = vec![candidate(CandidateKind::Relayed, relayed(2))];
    told.extend(hosts.iter().map(|path| candidate(HOST, *path)));
    agent.set_remote_candidates(now, &told);
    agent.session_established(now, relayed(2));
    let outputs = drain(&mut agent);
    (agent, outputs)
}

fn drain(agent: &mut Agent) -> Vec<Output> {
    std::iter::from_fn(|| agent.poll_output()).collect()
}

fn probe_of(outputs: &[Output], path: Path) -> Option<u64> {
    outputs.iter().find_map(|output| match output {
        Output::Probe { via, id } if *via == path => Some(*id),
        _ => None,
    })
}

fn told_paths(agent: &Agent) -> Vec<Path> {
    agent.report().iter().map(|line| line.path).collect()
}

#[test]
fn unusable_candidates_are_refused() {
    let now = start();
    let mut agent = agent(now, 7);
    let wrong = [
        "127.0.0.1:1",
        "0.0.0.0:1",
        "0.1.2.3:1",
        "224.0.0.1:1",
        "255.255.255.255:1",
        "169.254.169.254:80",
        "192.0.2.1:0",
        "[::]:1",
        "[::1]:1",
        "[ff02::1]:1",
        "[fe80::1]:1",
        "[::ffff:192.0.2.1]:1",
        "[fd50:494c:4f54::1:2:3]:1",
    ];
    let mut told: Vec<Candidate> = wrong.map(|text| candidate(HOST, direct(text))).to_vec();
    told.push(candidate(HOST, relayed(1)));
    told.push(candidate(CandidateKind::Relayed, direct("192.0.2.1:1")));
    agent.set_remote_candidates(now, &told);
    assert_eq!(told_paths(&agent), []);
    agent.set_remote_candidates(now, &[candidate(HOST, direct("[fd51::1]:1"))]);
    assert_eq!(told_paths(&agent), [direct("[fd51::1]:1")]);
}

#[test]
fn many_interfaces_do_not_crowd_out_the_reflexive_candidates() {
    let now = start();
    let mut agent = agent(now, 7);
    let host = |n: usize| candidate(HOST, direct(&format!("172.17.0.{n}:1")));
    let mut told: Vec<Candidate> = (1..40).map(host).collect();
    told.extend((1..9).map(|n| candidate(CandidateKind::Relayed, relayed(n))));
    told.extend([candidate(REFLEXIVE, direct("192.0.2.1:1"))]);
    agent.set_remote_candidates(now, &told);
    let paths = told_paths(&agent);
    assert_eq!(paths.len(), MAX_DIRECT + MAX_RELAYED);
    assert_eq!(paths[MAX_DIRECT - 1], direct("192.0.2.1:1"));
    assert!(!paths[MAX_DIRECT].is_direct());
}

#[test]
fn candidates_are_replaced_but_the_chosen_path_stays() {
    let now = start();
    let old = direct("192.0.2.1:1");
    let (mut agent, outputs) = relayed_agent(now, &[old, direct("192.0.2.2:1")]);
    let id = probe_of(&outputs, old).unwrap();
    agent.handle_answer(now.after(ms(10)), old, id, old);
    let new = direct("192.0.2.3:1");
    agent.set_remote_candidates(now.after(secs(300)), &[candidate(HOST, new)]);
    assert_eq!(agent.chosen(), Some(old));
    let report = agent.report();
    let lines: Vec<_> = report.iter().map(|l| (l.path, l.origin)).collect();
    assert_eq!(lines, [(new, Origin::Told(HOST)), (old, Origin::Seen)]);
    assert!(probe_of(&drain(&mut agent), new).is_some());
}

#[test]
fn handshakes_go_over_the_relay_first_then_everywhere_then_only_where_it_works() {
    let now = start();
    let (host, reflexive) = (direct("192.0.2.9:1"), direct("192.0.2.1:1"));
    let mut agent = agent(now, 7);
    let told = [candidate(REFLEXIVE, reflexive), candidate(HOST, host), candidate(CandidateKind::Relayed, relayed(2))];
    agent.set_remote_candidates(now, &told);
    assert_eq!(agent.handshake_paths(false), [relayed(2), host, reflexive]);
    agent.session_established(now, relayed(2));
    assert_eq!(agent.handshake_paths(false), [relayed(2)]);
    agent.handle_timeout(now.after(ms(500)));
    assert_eq!(agent.handshake_paths(false), [relayed(2), host, reflexive]);
    agent.session_lost(now.after(secs(1)));
    assert_eq!(agent.handshake_paths(false), [relayed(2), host, reflexive]);
}

#[test]
fn nothing_is_sent_from_a_family_that_is_not_there() {
    let now = start();
    let (v4, v6) = (direct("192.0.2.1:1"), direct("[2001:db8::1]:1"));
    let (mut agent, outputs) = relayed_agent(now, &[v4, v6]);
    assert!(probe_of(&outputs, v4).is_some() && probe_of(&outputs, v6).is_some());
    let only_v6 = Families { v4: false, v6: true };
    agent.set_local(now, only_v6, Vec::new());
    assert_eq!(agent.handshake_paths(false), [v6]);
    let later = now.after(ms(100));
    agent.handle_timeout(later);
    let outputs = drain(&mut agent);
    assert_eq!(probe_of(&outputs, v4), None);
    assert!(probe_of(&outputs, v6).is_some());
    let both = Families { v4: true, v6: true };
    agent.set_local(later.after(secs(60)), both, relays());
    assert!(probe_of(&drain(&mut agent), v4).is_some());
}

#[test]
fn only_the_answer_to_an_outstanding_probe_by_its_own_path_counts() {
    let now = start();
    let (path, other) = (direct("192.0.2.1:1"), direct("192.0.2.2:1"));
    let (mut agent, outputs) = relayed_agent(now, &[path, other]);
    let id = probe_of(&outputs, path).unwrap();
    let soon = now.after(ms(10));
    agent.handle_answer(soon, other, id, other);
    agent.handle_answer(soon, relayed(2), id, other);
    agent.handle_answer(soon, path, id ^ 1, path);
    assert_eq!(agent.chosen(), Some(relayed(2)));
    agent.handle_answer(now.after(secs(6)), path, id, path);
    assert_eq!(agent.chosen(), Some(relayed(2)));
    agent.handle_timeout(now.after(secs(6)));
    let id = probe_of(&drain(&mut agent), path).unwrap();
    agent.handle_answer(now.after(secs(7)), path, id, path);
    assert_eq!(agent.chosen(), Some(path));
}

#[test]
fn a_direct_path_gives_way_only_to_a_clearly_faster_one() {
    for (first, second, switched) in [(100, 94, false), (100, 79, true), (20, 14, true), (8, 4, false), (1, 1, false)] {
        let now = start();
        let (slow, fast) = (direct("192.0.2.1:1"), direct("192.0.2.2:1"));
        let (mut agent, outputs) = relayed_agent(now, &[slow, fast]);
        let id = probe_of(&outputs, slow).unwrap();
        agent.handle_answer(now.after(ms(first)), slow, id, slow);
        agent.handle_probe(now.after(ms(200)), fast, 1);
        let id = probe_of(&drain(&mut agent), fast).unwrap();
        agent.handle_answer(now.after(ms(200 + second)), fast, id, fast);
        let expected = if switched { fast } else { slow };
        assert_eq!(agent.chosen(), Some(expected), "{first} then {second}");
    }
}

#[test]
fn a_path_whose_family_is_gone_is_left_at_once() {
    let now = start();
    let path = direct("192.0.2.1:1");
    let (mut agent, outputs) = relayed_agent(now, &[path]);
    for via in [relayed(2), path] {
        let id = probe_of(&outputs, via).unwrap();
        agent.handle_answer(now.after(ms(5)), via, id, via);
    }
    assert_eq!(agent.chosen(), Some(path));
    agent.set_local(now.after(secs(9)), Families::default(), relays());
    assert_eq!(agent.chosen(), Some(relayed(2)));
}

/// Which of two relays is used, whose round trips are these, and after the second is lost.
fn of_two_relays(first: u64, second: u64) -> [Option<Path>; 2] {
    let now = start();
    let (usual, other) = (relayed(2), relayed_at("203.0.113.2:9001", 3));
    let mut agent = agent(now, 7);
    agent.set_remote_candidates(now, &[usual, other].map(|path| candidate(CandidateKind::Relayed, path)));
    agent.session_established(now, usual);
    let outputs = drain(&mut agent);
    for (via, rtt) in [(usual, first), (other, second)] {
        let id = probe_of(&outputs, via).unwrap();
        agent.handle_answer(now.after(ms(rtt)), via, id, via);
    }
    let chosen = agent.chosen();
    let families = Families { v4: true, v6: true };
    agent.set_local(now.after(secs(1)), families, relays()[..1].to_vec());
    [chosen, agent.chosen()]
}

#[test]
fn the_nearer_relay_is_used_and_the_other_one_when_it_is_lost() {
    let (usual, other) = (Some(relayed(2)), Some(relayed_at("203.0.113.2:9001", 3)));
    assert_eq!(of_two_relays(40, 10), [other, usual]);
    assert_eq!(of_two_relays(40, 37), [usual, usual], "hardly nearer");
    assert_eq!(of_two_relays(40, 90), [usual, usual]);
}

#[test]
fn a_direct_path_found_between_rounds_ends_the_search() {
    let start = start();
    let (path, silent) = (direct("192.0.2.1:1"), direct("192.0.2.2:1"));
    let (mut agent, outputs) = relayed_agent(start, &[path, silent]);
    let id = probe_of(&outputs, relayed(2)).unwrap();
    agent.handle_answer(start.after(ms(9)), relayed(2), id, path);
    for now in (1..=70).map(|tenths| start.after(ms(100 * tenths))) {
        agent.handle_timeout(now);
        if let Some(id) = probe_of(&drain(&mut agent), relayed(2)) {
            agent.handle_answer(now, relayed(2), id, path);
        }
    }
    agent.handle_probe(start.after(secs(8)), path, 1);
    let id = probe_of(&drain(&mut agent), path).unwrap();
    agent.handle_answer(start.after(secs(8)), path, id, path);
    assert_eq!(agent.chosen(), Some(path));
    agent.handle_timeout(start.after(secs(20)));
    assert_eq!(probe_of(&drain(&mut agent), silent), None);
}

#[test]
fn a_renewed_session_changes_nothing() {
    let now = start();
    let path = direct("192.0.2.1:1");
    let (mut agent, outputs) = relayed_agent(now, &[path]);
    let id = probe_of(&outputs, path).unwrap();
    agent.handle_answer(now.after(ms(5)), path, id, path);
    drain(&mut agent);
    agent.session_established(now.after(ms(50)), relayed(2));
    assert_eq!(agent.chosen(), Some(path));
    assert_eq!(drain(&mut agent), []);
}

#[test]
fn a_session_may_come_up_directly_and_is_checked_there() {
    let now = start();
    let path = direct("192.0.2.1:1");
    let mut agent = agent(now, 7);
    agent.session_established(now, path);
    let outputs = drain(&mut agent);
    assert_eq!(outputs[0], Output::Chosen(Some(path)));
    assert!(probe_of(&outputs, path).is_some());
}

#[test]
fn without_a_session_probes_are_answered_and_none_are_sent() {
    let now = start();
    let mut agent = agent(now, 7);
    let via = direct("192.0.2.1:1");
    agent.handle_probe(now, via, 9);
    let observed = via;
    let answer = Output::Answer { via, id: 9, observed };
    assert_eq!(drain(&mut agent), [answer]);
    assert_eq!(agent.poll_timeout(), None);
    assert_eq!(agent.handshake_paths(false), [via]);
}

#[test]
fn a_lost_session_leaves_no_path_and_no_timer() {
    let now = start();
    let (mut agent, _) = relayed_agent(now, &[direct("192.0.2.1:1")]);
    agent.session_lost(now.after(secs(1)));
    assert_eq!(drain(&mut agent), [Output::Chosen(None)]);
    assert_eq!((agent.chosen(), agent.poll_timeout()), (None, None));
}

#[test]
fn ids_depend_on_the_seed() {
    let now = start();
    let first = |seed| {
        let mut agent = agent(now, seed);
        agent.session_established(now, relayed(2));
        probe_of(&drain(&mut agent), relayed(2)).unwrap()
    };
    assert_eq!(first(1), first(1));
    assert_ne!(first(1), first(2));
}

/// Whether a follower moves within five minutes to a path that has become clearly faster.
fn moves_by_itself(speaks: bool) -> bool {
    let start = start();
    let (used, faster) = (direct("192.0.2.1:1"), direct("198.51.100.1:1"));
    let (mut agent, mut outputs) = relayed_agent(start, &[used, faster]);
    for tenth in 1..3_000 {
        let mut answers: Vec<(u64, Path, u64)> = Vec::new();
        for path in [used, faster] {
            let rtt = if path == faster && tenth > 100 { 10 } else { 90 };
            answers.extend(probe_of(&outputs, path).map(|id| (rtt, path, id)));
        }
        answers.sort();
        let asked = start.after(ms(100 * (tenth - 1)));
        answers.iter().for_each(|(rtt, path, id)| agent.handle_answer(asked.after(ms(*rtt)), *path, *id, *path));
        let now = start.after(ms(100 * tenth));
        agent.sent(now);
        if speaks {
            agent.received(now, used);
            agent.replied(now);
        }
        agent.handle_timeout(now);
        outputs = drain(&mut agent);
    }
    agent.chosen() == Some(faster)
}

#[test]
fn who_follows_leaves_the_choice_of_a_faster_path_to_a_peer_that_speaks() {
    assert!(!moves_by_itself(true));
    assert!(moves_by_itself(false));
}

#[test]
fn a_path_is_asked_every_second_while_the_peer_speaks_by_one_that_does_not_answer() {
    let start = start();
    let (used, silent) = (direct("192.0.2.1:1"), direct("198.51.100.1:1"));
    let (mut agent, mut outputs) = relayed_agent(start, &[used, silent]);
    let mut asked = 0;
    for tenth in 1..600 {
        let now = start.after(ms(100 * tenth));
        if let Some(id) = probe_of(&outputs, used) {
            asked += u32::from(tenth > 300);
            agent.handle_answer(now, used, id, used);
        }
        agent.sent(now);
        agent.spoken(now, silent);
        agent.handle_timeout(now);
        outputs = drain(&mut agent);
    }
    assert_eq!(agent.chosen(), Some(used));
    assert!((20..=30).contains(&asked), "{asked} times in half a minute");
}
