//! Whole nodes against each other.

mod arbitrary;
#[cfg(feature = "sim")]
mod long;
mod stories;
mod trust;
mod world;
