//! Events: what happens on one node, told to every node that wants to know.
//!
//! In: events of publishers, patterns of subscribers. Out: to each subscriber the events that match, in their order. No
//! broker is in between: the node of the publisher tells each node that wants an event, once.

pub mod ask;
pub mod batch;
pub mod bridge;
pub mod bus;
pub mod compact;
pub mod dial;
pub mod event;
mod facade;
pub mod feed;
pub mod frame;
mod grpc;
mod hand;
mod http;
pub mod json;
mod lines;
mod link;
mod links;
mod outlet;
pub mod queue;
mod relay;
pub mod retention;
pub mod run;
pub mod sequence;
mod settings;
mod speak;
pub mod subscriber;
pub mod subscription;
#[cfg(test)]
mod tests;
pub mod topic;
mod topics;
pub mod trie;
pub mod wire;
pub mod wishes;

/// The gRPC service.
pub const SERVICE: &str = "pilot.v1.Events";

pub use facade::{Events, Intake, Question};
pub use settings::Settings;
