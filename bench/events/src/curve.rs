//! What many subscribers and many patterns cost Pilot, across a plain cable.

use anyhow::Result;

use crate::compare::Plan;
use crate::rivals::Name;
use crate::veth;

const STEPS: [usize; 4] = [1, 10, 100, 1_000];
/// At full speed, and as many events a second as an agent makes.
const RATES: [u64; 2] = [0, 100];

/// Measures 1 to 1,000 subscribers with a connection and a pattern each, then one with 1 to 1,000 patterns.
///
/// # Errors
/// The server or a measurement failed.
pub fn run(plan: Plan) -> Result<()> {
    let plan = Plan { rivals: vec![Name::Pilot], rates: RATES.to_vec(), ..plan };
    let subscribers = Plan { subscribers: STEPS.to_vec(), patterns: vec![1], ..plan.clone() };
    veth::compare(subscribers, "subscribers")?;
    let json = plan.json.as_ref().map(|path| path.with_extension("patterns.json"));
    veth::compare(Plan { subscribers: vec![1], patterns: STEPS.to_vec(), json, ..plan }, "patterns")
}
