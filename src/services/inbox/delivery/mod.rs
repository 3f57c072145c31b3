//! Delivers the outbox: one courier for each receiver that has messages waiting.
//!
//! A courier is woken when a message is sent to its receiver and when the directory says that it is there again;
//! otherwise it tries from time to time. What expires is dropped here, with a word in the log.

mod answers;
pub(super) mod connect;
mod courier;
mod wakes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

pub use answers::{Answer, Answers};
pub use connect::Dial;
pub use wakes::Wakes;

use super::{DAY_SECS, Inbox, LONGEST_DAYS, count};
use crate::identity::PublicKey;
use crate::services::directory::Roster;
use crate::services::time::{PAUSE, now_millis, until_due};
use crate::store::inbox::Waiting;
use courier::Courier;

/// How often old IDs are forgotten.
const FORGET: Duration = Duration::from_secs(DAY_SECS);
/// How long IDs are remembered: a day longer than any sender may try.
const REMEMBERED_MILLIS: u64 = (LONGEST_DAYS + 1) * DAY_SECS * 1_000;

/// Delivers, expires and forgets until the future is dropped.
pub async fn run(inbox: Inbox) {
    tokio::join!(dispatch(inbox.clone()), expire(inbox.clone()), forget(inbox));
}

#[derive(Default)]
struct Couriers {
    by_receiver: HashMap<PublicKey, Arc<Notify>>,
    running: JoinSet<PublicKey>,
}

async fn dispatch(inbox: Inbox) {
    let mut directory = inbox.directory.clone();
    let mut couriers = Couriers::default();
    let mut roster = directory.roster();
    inbox.wakes.wake_all(receivers(&inbox).await);
    let mut follows = true;
    loop {
        tokio::select! {
            woken = inbox.wakes.woken() => woken.into_iter().for_each(|receiver| couriers.wake(&inbox, receiver)),
            Some(ended) = couriers.running.join_next() => couriers.ended(&inbox, ended.ok()).await,
            changed = directory.changed(), if follows => {
                follows = changed;
                let now = directory.roster();
                couriers.wake_those_that_came(&roster, &now);
                roster = now;
            }
        }
    }
}

async fn receivers(inbox: &Inbox) -> Vec<PublicKey> {
    loop {
        match inbox.store.read(Waiting::receivers).await {
            Ok(receivers) => return receivers,
            Err(fault) => tracing::error!("the outbox cannot be read: {fault}"),
        }
        sleep(PAUSE).await;
    }
}

impl Couriers {
    fn wake(&mut self, inbox: &Inbox, receiver: PublicKey) {
        let wake = self.by_receiver.entry(receiver).or_insert_with(|| {
            let wake = Arc::new(Notify::new());
            let courier = Courier::new(inbox.clone(), receiver, wake.clone());
            self.running.spawn(async move {
                courier.run().await;
                receiver
            });
            wake
        });
        wake.notify_one();
    }

    /// What came at the last moment is not forgotten.
    async fn ended(&mut self, inbox: &Inbox, receiver: Option<PublicKey>) {
        let Some(receiver) = receiver else { return };
        self.by_receiver.remove(&receiver);
        let now = now_millis();
        let left = inbox.store.read(move |connection| Waiting::next(connection, &receiver, 0, now, 1)).await;
        if left.is_ok_and(|left| !left.is_empty()) {
            self.wake(inbox, receiver);
        }
    }

    fn wake_those_that_came(&self, before: &Roster, now: &Roster) {
        for member in now.peers.values() {
            let was_there = before.member(member.id).is_some_and(|old| old.key == member.key && old.is_online);
            let was_known = before.member(member.id).is_some_and(|old| old.key == member.key);
            if (member.is_online && !was_there) || !was_known {
                self.by_receiver.get(&member.key).into_iter().for_each(|wake| wake.notify_one());
            }
        }
    }
}

/// Drops what is over.
async fn expire(inbox: Inbox) {
    let mut changes = inbox.stored();
    loop {
        changes.mark_unchanged();
        let now = now_millis();
        match inbox.store.read(Waiting::next_end).await {
            Ok(Some(end)) if end <= now => drop_expired(&inbox, now).await,
            Ok(end) => until_due(end, now, &mut changes).await,
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn drop_expired(inbox: &Inbox, now: u64) {
    match inbox.store.write(0, move |batch| batch.expire(now)).await {
        Ok(expired) => {
            count(&inbox.counters.expired, expired);
            tracing::warn!("{expired} messages in the outbox expired before their receivers came");
        }
        Err(_) => sleep(PAUSE).await,
    }
}

/// Forgets IDs that no sender uses any more, in small steps.
async fn forget(inbox: Inbox) {
    loop {
        let before = now_millis().saturating_sub(REMEMBERED_MILLIS);
        let mut cursor = Some((0, String::new()));
        while let Some(at) = cursor {
            cursor = inbox.store.write(0, move |batch| batch.forget_seen(before, at)).await.unwrap_or_default();
            sleep(Duration::from_millis(20)).await;
        }
        sleep(FORGET).await;
    }
}
