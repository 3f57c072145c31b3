//! Faults of the store in the words of the services.

use crate::control::Error;
use crate::services::api;
use crate::store::inbox::Fault;

/// What a caller is told of a fault.
pub fn refusal(fault: &Fault) -> Error {
    let text = fault.to_string();
    match fault {
        Fault::SenderQuota { .. } | Fault::InboxQuota { .. } => {
            Error::new("quota_exceeded", text).hint("it is free again when its owner clears it: `pilotctl inbox clear`")
        }
        Fault::OutboxQuota { .. } => {
            Error::new("quota_exceeded", text).hint("`pilotctl outbox` shows what waits, `outbox cancel ID` removes it")
        }
        Fault::TaskQuota { .. } => {
            Error::new("quota_exceeded", text).hint("tasks are forgotten 31 days after they end")
        }
        Fault::Conflict(_) => Error::new("wrong_state", text),
        Fault::DiskFull => Error::new("disk_full", text).hint("free some space in the state folder, then try again"),
        Fault::Stopped => Error::new("daemon_not_running", text),
        Fault::Engine(_) => {
            tracing::error!("{text}");
            Error::new("internal", text)
        }
    }
}

/// Whether a receiver that says so will never take the message.
pub fn is_lasting(code: &str) -> bool {
    matches!(code, "invalid_json" | "invalid_request" | "bad_argument" | "too_large" | "wrong_state")
}

/// A refusal inside of a gRPC stream.
pub fn to_api(error: Error) -> api::Refusal {
    api::Refusal { code: error.code, message: error.message, hint: error.hint }
}
