//! Plays a plan: everything happens while packets flow; then peace comes, and the oracle's words must come true.

use std::collections::BTreeMap;
use std::time::Duration;

use super::plan::{Event, NodePlan, Plan};
use crate::fabric::{INTERNET, Link};
use crate::oracle::Class;
use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);
/// How long after the return of peace friends may take to be connected, and to be directly connected: pauses between
/// dials and between searches have grown by then.
const CONNECTED: u32 = 45;
const DIRECT: u32 = 75;

/// What became of the pairs of a world.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Of each class that is not certain: pairs, and those of them that got a direct path.
    pub likely: BTreeMap<Class, (usize, usize)>,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: &Tally) {
        for (class, (pairs, direct)) in &other.likely {
            let count = self.likely.entry(*class).or_default();
            *count = (count.0 + pairs, count.1 + direct);
        }
    }
}

/// Plays a plan to its end; says what is wrong, if anything is.
pub fn play(plan: &Plan) -> Result<Tally, String> {
    let mut world = build(plan);
    let stranger = world.fabric.host(INTERNET, Link::GOOD);
    for (event, pause) in &plan.events {
        happen(&mut world, plan, *event);
        everybody_sends(&mut world, plan);
        world.run(*pause);
    }
    let replayed = world.recorded.clone();
    for (node, payload) in &replayed {
        world.throw(stranger, world.endpoint(*node), payload.clone());
    }
    make_peace(&mut world, plan);
    connected(&mut world, plan)?;
    let tally = direct(&mut world, plan)?;
    world.check();
    overheard(&world, &replayed).map(|()| tally)
}

/// A replayed datagram is answered with nothing, but for an initiation that no tunnel has taken before.
fn overheard(world: &World, replayed: &[(usize, Vec<u8>)]) -> Result<(), String> {
    let is_response = |payload: &[u8]| payload.len() == 92 && payload.starts_with(&[2, 0, 0, 0]);
    let initiations = replayed.iter().filter(|(_, payload)| payload.len() == 148 && payload.starts_with(&[1, 0, 0, 0]));
    let allowed = initiations.count();
    match world.overheard.iter().find(|(.., payload)| !is_response(payload)) {
        Some((.., from, payload)) => Err(format!("a stranger got {} bytes from {from}", payload.len())),
        None if world.overheard.len() > allowed => Err(format!("a stranger got {} answers", world.overheard.len())),
        None => Ok(()),
    }
}

fn build(plan: &Plan) -> World {
    let mut world = World::with_server_addresses(plan.seed, plan.addresses);
    world.seeks_lan = plan.seed.is_multiple_of(4);
    for zone in &plan.zones {
        let number = world.fabric.zone(zone.access);
        world.fabric.gateway(number).udp_blocked = zone.is_blocked;
    }
    for (number, NodePlan { zone, link, is_mapped, after }) in plan.nodes.iter().enumerate() {
        world.run(*after);
        world.node(Some(*zone), *link);
        if *is_mapped {
            world.open_port(number);
        }
    }
    plan.friends.iter().for_each(|(a, b)| world.befriend(*a, *b));
    world
}

fn happen(world: &mut World, plan: &Plan, event: Event) {
    match event {
        Event::Restart(node) => world.restart(node),
        Event::Roam(node, zone) => world.roam(node, Some(zone)),
        Event::Reboot(zone, is_renumbered) => world.fabric.reboot(zone, is_renumbered),
        Event::Flap(node, seconds) => world.flap(node, SECOND * seconds),
        Event::Sleep(node, seconds) => {
            world.fall_asleep(node);
            everybody_sends(world, plan);
            world.run(SECOND * seconds);
            world.wake(node);
        }
        Event::Part(one, other) => {
            let (one, other) = (world.nodes[one].host, world.nodes[other].host);
            world.fabric.part(one, other, true);
        }
        Event::Block(zone) => world.fabric.gateway(zone).udp_blocked = true,
        Event::Kill if world.server.is_up() => world.kill_server(),
        Event::Start if !world.server.is_up() => world.start_server(),
        Event::Kill | Event::Start => {}
    }
}

/// Everybody sends to everybody: strangers, too, may try.
fn everybody_sends(world: &mut World, plan: &Plan) {
    for a in 0..plan.nodes.len() {
        for b in (0..plan.nodes.len()).filter(|b| *b != a) {
            world.send(a, b);
        }
    }
}

fn make_peace(world: &mut World, plan: &Plan) {
    if !world.server.is_up() {
        world.start_server();
    }
    world.fabric.heal();
    for (place, zone) in plan.zones.iter().enumerate() {
        world.fabric.gateway(place + 1).udp_blocked = zone.is_blocked;
    }
}

/// Friends reach each other in time, and nobody else does.
fn connected(world: &mut World, plan: &Plan) -> Result<(), String> {
    let is_reached = |world: &mut World, a, b| world.exchange(a, b, SECOND).is_some();
    world.run(SECOND * 15);
    let mut missing = plan.friends.clone();
    for _ in 15..CONNECTED {
        missing.retain(|(a, b)| !is_reached(world, *a, *b));
    }
    if let Some((a, b)) = missing.first() {
        let said = format!("{}\n{}", world.why(*a, *b), world.why(*b, *a));
        return Err(format!("nodes {a} and {b} are not connected\n{said}"));
    }
    let pairs = (0..plan.nodes.len()).flat_map(|a| (a + 1..plan.nodes.len()).map(move |b| (a, b)));
    for (a, b) in pairs.filter(|pair| !plan.friends.contains(pair)) {
        if is_reached(world, a, b) {
            return Err(format!("nodes {a} and {b} are connected, though strangers"));
        }
    }
    Ok(())
}

/// Friends reach each other directly wherever that is promised, and not where it cannot be.
fn direct(world: &mut World, plan: &Plan) -> Result<Tally, String> {
    for _ in 0..DIRECT {
        plan.friends.iter().for_each(|(a, b)| {
            world.send(*a, *b);
            world.send(*b, *a);
        });
        world.run(SECOND);
    }
    let mut tally = Tally::default();
    for (a, b) in &plan.friends {
        let (class, is_direct) = (world.feasible(*a, *b), world.is_direct(*a, *b));
        let is_wrong = match class {
            Class::RelayOnly => is_direct,
            Class::Timed | Class::Sequential | Class::Birthday => {
                let count = tally.likely.entry(class).or_default();
                *count = (count.0 + 1, count.1 + usize::from(is_direct));
                false
            }
            _ => class.is_certain() && !is_direct,
        };
        if is_wrong {
            let said = format!("{}\n{}", world.why(*a, *b), world.why(*b, *a));
            return Err(format!("nodes {a} and {b}: {class:?}, but direct is {is_direct}\n{said}"));
        }
    }
    Ok(tally)
}
