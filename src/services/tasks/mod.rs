//! Work for other nodes: port 1003, and the local socket.
//!
//! Tasks travel as messages of type `task`, through the outbox and inbox of both sides, and are as durable. A new task
//! is `{"task":TASK,"deadline_unix_millis":N}`, or TASK alone; the ID of the message is that of the task, and it stays
//! in the inbox to be read. News of a task is `{"update":{"id":ID,"state":STATE,"result":RESULT}}`: from the worker
//! `accepted`, `running`, `done`, `failed` or `declined`, from the submitter `cancelled`. News is not kept in the inbox:
//! it moves the record. Only the two nodes of a task can move it, each its own way, and it never goes back.

mod state;
mod travel;

pub use state::State;
pub use travel::{arrival, departure};
