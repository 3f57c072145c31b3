//! Makes the plan of a failing world smaller while it goes on failing, so that a person can read it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::plan::Plan;
use super::play::{Tally, play};

/// The most worlds that are played to find a smaller one.
const PATIENCE: usize = 60;

/// Plays a plan; a panic is a failure like any other.
pub fn attempt(plan: &Plan) -> Result<Tally, String> {
    catch_unwind(AssertUnwindSafe(|| play(plan))).unwrap_or_else(|panic| Err(said(&*panic)))
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "a panic".to_owned())
}

/// The smallest plan found that fails, and how.
pub fn smallest(plan: Plan, failure: String) -> (Plan, String) {
    let (mut best, mut failure) = (plan, failure);
    let mut left = PATIENCE;
    'smaller: loop {
        for candidate in smaller(&best) {
            if left == 0 {
                break 'smaller;
            }
            left -= 1;
            if let Err(reason) = attempt(&candidate) {
                (best, failure) = (candidate, reason);
                continue 'smaller;
            }
        }
        break;
    }
    (best, failure)
}

/// Plans with one thing less: an event, a friendship, the last node, the quality of links.
fn smaller(plan: &Plan) -> Vec<Plan> {
    let mut plans = Vec::new();
    for place in 0..plan.events.len() {
        let mut events = plan.events.clone();
        events.remove(place);
        plans.push(Plan { events, ..plan.clone() });
    }
    for place in 0..plan.friends.len() {
        let mut friends = plan.friends.clone();
        friends.remove(place);
        plans.push(Plan { friends, ..plan.clone() });
    }
    plans.extend(without_last_node(plan));
    plans
}

/// Without the last node, where nothing speaks of it.
fn without_last_node(plan: &Plan) -> Option<Plan> {
    use super::plan::Event::*;
    let last = plan.nodes.len().checked_sub(1).filter(|last| *last >= 2)?;
    let is_named = plan.friends.iter().any(|(a, b)| *a == last || *b == last)
        || plan.events.iter().any(|(event, _)| match event {
            Restart(node) | Roam(node, _) | Flap(node, _) | Sleep(node, _) => *node == last,
            Part(one, other) => *one == last || *other == last,
            Reboot(..) | Block(_) | Kill | Start => false,
        });
    let nodes = plan.nodes.iter().take(last).cloned().collect();
    (!is_named).then(|| Plan { nodes, ..plan.clone() })
}
