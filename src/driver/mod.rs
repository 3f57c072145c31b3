//! What Rust programs use: publish, subscribe, send messages, open streams.
//!
//! ```no_run
//! # async fn program() -> Result<(), pilot::Error> {
//! use pilot::Pilot;
//! let pilot = Pilot::connect().await?;
//! let events = pilot.events().await?;
//! events.publish("metrics.cpu", &serde_json::json!({"host": pilot.hostname(), "percent": 73.2})).await?;
//! let mut metrics = events.subscribe("metrics.*").await?;
//! while let Some(event) = metrics.next().await {
//!     println!("{}: {}", event.topic(), event.text());
//! }
//! # Ok(()) }
//! ```
//!
//! In: calls of a program, and what a node says on its local socket or its overlay ports. Out: the same, as the other
//! side understands it. Everything needs a tokio runtime; nothing is kept on disk, the daemon does that.

mod asking;
mod draft;
mod event;
mod events;
mod frames;
mod inbox;
mod link;
mod messages;
mod options;
mod pilot;
mod publisher;
mod route;
mod streams;
mod subscription;
mod tasks;
#[cfg(test)]
mod tests;
mod waiting;

pub use draft::Draft;
pub use event::Event;
pub use events::Events;
pub use inbox::{Follow, Inbox, Which};
pub use messages::{Message, Received, Sent};
pub use options::{Options, Overflow};
pub use pilot::Pilot;
pub use streams::{Incoming, Listener, Stream};
pub use subscription::Subscription;
pub use tasks::{Changes, NewTask, Task, Tasks, WhichTasks};
