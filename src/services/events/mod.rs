//! Events: what happens on one node, told to every node that wants to know.
//!
//! In: events of publishers, patterns of subscribers. Out: to each subscriber the events that match, in their order. No
//! broker is in between: the node of the publisher tells each node that wants an event, once.

pub mod batch;
pub mod bus;
pub mod event;
pub mod frame;
pub mod queue;
pub mod retention;
pub mod run;
pub mod sequence;
mod settings;
pub mod subscriber;
pub mod subscription;
pub mod topic;
mod topics;
pub mod trie;
pub mod wire;
pub mod wishes;

#[cfg(test)]
mod tests;

pub use settings::Settings;
