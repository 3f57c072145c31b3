//! Sends: into the durable outbox, or straight into our own inbox, and waits for the delivery as long as asked.

use std::time::Duration;

use serde::Serialize;

use super::message::Draft;
use super::receive::delivery;
use super::{DAY_SECS, DEFAULT_DAYS, Inbox, LONGEST_DAYS, count, refusal};
use crate::control::Error;
use crate::services::directory::Member;
use crate::services::{tasks, time};
use crate::store::inbox::{Batch, Fault, Kind, Outcome, Outgoing};

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// On the receiver's disk.
    Delivered,
    /// In our durable outbox.
    Queued,
}

/// How sending went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// The message.
    pub id: String,
    /// How far it is.
    pub state: State,
}

/// What else happens in the transaction of a message.
pub(in crate::services) type Also = Box<dyn FnOnce(&mut Batch<'_>) -> Result<(), Fault> + Send>;

impl Inbox {
    /// Sends a message; returns when it is delivered, or after `wait` when it is only in the outbox.
    ///
    /// # Errors
    /// `quota_exceeded`, `disk_full`; `bad_argument` for an expiry that is too far; what the receiver said when it
    /// will never take the message.
    pub async fn send(&self, to: &Member, draft: Draft, keep_secs: u64, wait: Duration) -> Result<Sent, Error> {
        let keep = checked_keep(keep_secs)?;
        let also = match draft.kind {
            Kind::Task => tasks::departure(to, &draft.id, &draft.data, time::now_millis())?,
            _ => nothing_else(),
        };
        self.dispatch(to, draft, keep, wait, also).await
    }

    /// Sends a message; `also` happens in the same transaction, before it.
    pub(in crate::services) async fn dispatch(
        &self,
        to: &Member,
        draft: Draft,
        keep: Duration,
        wait: Duration,
        also: Also,
    ) -> Result<Sent, Error> {
        let id = draft.id.clone();
        if to.key == self.directory.me().key {
            self.keep_own(draft, also).await?;
            return Ok(Sent { id, state: State::Delivered });
        }
        let (answer, number) = self.enqueue(to, draft, keep, also).await?;
        let answered = tokio::time::timeout(wait, answer).await;
        match answered {
            Ok(Ok(Ok(()))) => Ok(Sent { id, state: State::Delivered }),
            Ok(Ok(Err(error))) => Err(error),
            _ => {
                self.answers.forget(number);
                Ok(Sent { id, state: State::Queued })
            }
        }
    }

    async fn keep_own(&self, draft: Draft, also: Also) -> Result<(), Error> {
        let own = delivery(&self.directory.me(), draft, time::now_millis())?;
        let step = move |batch: &mut Batch<'_>| {
            also(batch)?;
            Ok(batch.deliver(&[own])?.pop())
        };
        match self.store.write(self.settings.max_message, step).await {
            Ok(Some(Outcome::Refused(fault))) | Err(fault) => Err(refusal(&fault)),
            Ok(_) => Ok(()),
        }
    }

    /// Nothing that was stored goes unnoticed, also where the caller goes away meanwhile: that is why it is spawned.
    async fn enqueue(
        &self,
        to: &Member,
        draft: Draft,
        keep: Duration,
        also: Also,
    ) -> Result<(super::delivery::Answer, i64), Error> {
        let (inbox, receiver) = (self.clone(), to.key);
        let message = outgoing(to, draft, keep);
        let stored = tokio::spawn(async move {
            let answers = inbox.answers.clone();
            let step = move |batch: &mut Batch<'_>| {
                also(batch)?;
                let number = batch.enqueue(&message)?;
                Ok((answers.expect(number), number))
            };
            let stored = inbox.store.write(inbox.settings.max_message, step).await;
            count(&inbox.counters.queued, u64::from(stored.is_ok()));
            inbox.wakes.wake(receiver);
            stored
        });
        let stored = stored.await.map_err(|error| Error::new("internal", error.to_string()))?;
        stored.map_err(|fault| refusal(&fault))
    }
}

/// For messages that are nothing but messages.
fn nothing_else() -> Also {
    Box::new(|_| Ok(()))
}

fn outgoing(to: &Member, draft: Draft, keep: Duration) -> Outgoing {
    let now = time::now_millis();
    Outgoing {
        receiver: to.key,
        node: to.id,
        id: draft.id,
        kind: draft.kind,
        data: draft.data,
        created: if draft.sent == 0 { now } else { draft.sent },
        expires: now.saturating_add(keep.as_millis() as u64),
    }
}

fn checked_keep(secs: u64) -> Result<Duration, Error> {
    match secs {
        0 => Ok(Duration::from_secs(DEFAULT_DAYS * DAY_SECS)),
        secs if secs <= LONGEST_DAYS * DAY_SECS => Ok(Duration::from_secs(secs)),
        _ => Err(Error::new("bad_argument", format!("a message is kept for {LONGEST_DAYS} days at most"))
            .hint("choose a shorter expiry")),
    }
}
