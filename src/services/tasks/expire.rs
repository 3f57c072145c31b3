//! Ends tasks whose deadline has passed, and forgets those that are long over.

use tokio::time::sleep;

use super::{State, Tasks};
use crate::services::time::{PAUSE, now_millis, until_due};
use crate::store::inbox::TaskQuery;

/// How long a task that is over is remembered: as long as the IDs of messages.
const REMEMBERED_MILLIS: u64 = 31 * 86_400_000;

pub async fn run(tasks: Tasks) {
    let store = tasks.inbox.store();
    let mut changes = store.changes();
    loop {
        changes.mark_unchanged();
        let now = now_millis();
        match store.read(|connection| TaskQuery::next_end(connection, State::OVER)).await {
            Ok(Some(end)) if end <= now => end_late(&tasks, now).await,
            Ok(end) => until_due(end, now, &mut changes).await,
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn end_late(tasks: &Tasks, now: u64) {
    let step = move |batch: &mut crate::store::inbox::Batch<'_>| {
        batch.forget_tasks(State::OVER, now.saturating_sub(REMEMBERED_MILLIS))?;
        batch.expire_tasks(now, State::Expired.as_str(), State::OVER)
    };
    match tasks.inbox.store().write(0, step).await {
        Ok(ended) => tracing::info!("{ended} tasks expired"),
        Err(_) => sleep(PAUSE).await,
    }
}
