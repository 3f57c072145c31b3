//! Whole nodes against each other.

mod arbitrary;
#[cfg(feature = "sim")]
mod long;
mod netcheck;
mod roaming;
mod sizes;
mod stories;
mod trust;
pub(super) mod world;
