//! Why something was not stored.

use rusqlite::ErrorCode;

/// Why something was not stored; nothing of it is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// One sender's share is used up.
    #[error("the inbox holds {messages} messages, {bytes} bytes of this sender, which is as much as it may")]
    SenderQuota {
        /// Messages that it holds.
        messages: u64,
        /// Bytes that it holds.
        bytes: u64,
    },
    /// The inbox is full.
    #[error("the inbox holds {messages} messages, {bytes} bytes, which is as much as it may")]
    InboxQuota {
        /// Messages that it holds.
        messages: u64,
        /// Bytes that it holds.
        bytes: u64,
    },
    /// The outbox is full.
    #[error("the outbox holds {messages} messages, {bytes} bytes, which is as much as it may")]
    OutboxQuota {
        /// Messages that it holds.
        messages: u64,
        /// Bytes that it holds.
        bytes: u64,
    },
    /// One peer's tasks are too many.
    #[error("there are {tasks} tasks of this peer, which is as many as there may be")]
    TaskQuota {
        /// Tasks that there are.
        tasks: u64,
    },
    /// Something else is there under this name.
    #[error("{0}")]
    Conflict(String),
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// The program ends.
    #[error("pilotd is stopping")]
    Stopped,
    /// The database engine failed.
    #[error("the inbox database failed: {0}")]
    Engine(String),
}

impl Fault {
    /// Whether the transaction in which it happened is spoilt.
    pub(super) fn spoils(&self) -> bool {
        matches!(self, Fault::DiskFull | Fault::Engine(_))
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Fault::DiskFull,
            _ => Fault::Engine(error.to_string()),
        }
    }
}
