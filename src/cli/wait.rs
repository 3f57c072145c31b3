//! `pilotctl wait`: until the daemon is ready, or a node is connected.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::Session;
use crate::control::views::Waited;
use crate::control::{Error, RETRY, Request};

pub async fn run(session: &Session, condition: String, timeout: Duration) -> Result<ExitCode, Error> {
    let started = Instant::now();
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        let request = Request::Wait { condition: condition.clone(), timeout_ms: left.as_millis() as u64 };
        match session.show(&request, |_, waited: Waited| waited.condition).await {
            Err(error) if error.code == "daemon_not_running" => {
                if left.is_zero() {
                    return Err(
                        Error::new("timeout", format!("not within {timeout:?}: {}", error.message)).hint(error.hint)
                    );
                }
                tokio::time::sleep(RETRY.min(left)).await;
            }
            outcome => return outcome,
        }
    }
}
