//! Whole nodes against each other.

mod arbitrary;
mod grants;
#[cfg(feature = "sim")]
mod long;
mod netcheck;
mod roaming;
mod sizes;
mod stories;
mod trust;
pub(super) mod world;
