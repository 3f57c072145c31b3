//! Takes messages in: checked, stored with others, acknowledged once they are on disk.

use serde::Serialize;

use super::message::Draft;
use super::{Inbox, count, refusal};
use crate::control::Error;
use crate::services::directory::Member;
use crate::services::{tasks, time};
use crate::store::inbox::{Delivery, Kind, Outcome};

/// A message that is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Its ID.
    pub id: String,
    /// Whether it had been there before.
    pub duplicate: bool,
}

impl Inbox {
    /// Takes one message of `sender`; returns when it is on disk.
    ///
    /// # Errors
    /// `quota_exceeded`, `disk_full`; `invalid_request` for a task that is none.
    pub async fn deliver(&self, sender: &Member, draft: Draft) -> Result<Receipt, Error> {
        let mut receipts = self.deliver_all(sender, vec![Ok(draft)]).await;
        receipts.pop().unwrap_or_else(|| Err(Error::new("internal", "a message was not answered")))
    }

    /// Takes messages of `sender` in their order, in one transaction; gives an answer for each. Those that are no
    /// messages keep their place among the answers.
    pub async fn deliver_all(&self, sender: &Member, drafts: Vec<Result<Draft, Error>>) -> Vec<Result<Receipt, Error>> {
        let now = time::now_millis();
        let mut answers: Vec<_> = Vec::with_capacity(drafts.len());
        let mut deliveries = Vec::with_capacity(drafts.len());
        for draft in drafts {
            match draft.and_then(|draft| delivery(sender, draft, now)) {
                Ok(delivery) => {
                    answers.push(Ok(Receipt { id: delivery.id.clone(), duplicate: false }));
                    deliveries.push(delivery);
                }
                Err(error) => answers.push(Err(error)),
            }
        }
        let mut outcomes = self.store_all(deliveries).await.into_iter();
        for answer in answers.iter_mut() {
            if let Ok(receipt) = answer
                && let Some(outcome) = outcomes.next()
            {
                match outcome {
                    Ok(duplicate) => receipt.duplicate = duplicate,
                    Err(error) => *answer = Err(error),
                }
            }
        }
        let refused = answers.iter().filter(|answer| answer.is_err()).count();
        count(&self.counters.refused, refused as u64);
        answers
    }

    /// For each whether it is a duplicate, or why it was not taken.
    async fn store_all(&self, deliveries: Vec<Delivery>) -> Vec<Result<bool, Error>> {
        let expected = deliveries.len();
        if expected == 0 {
            return Vec::new();
        }
        let bytes = deliveries.iter().map(|delivery| delivery.data.len()).sum();
        match self.store.write(bytes, move |batch| batch.deliver(&deliveries)).await {
            Ok(outcomes) => outcomes.into_iter().map(|outcome| self.counted(outcome)).collect(),
            Err(fault) => vec![Err(refusal(&fault)); expected],
        }
    }

    fn counted(&self, outcome: Outcome) -> Result<bool, Error> {
        match outcome {
            Outcome::Stored(_) => {
                count(&self.counters.received, 1);
                Ok(false)
            }
            Outcome::Duplicate => {
                count(&self.counters.duplicates, 1);
                Ok(true)
            }
            Outcome::Refused(fault) => Err(refusal(&fault)),
        }
    }
}

/// `draft` as it is stored.
///
/// # Errors
/// `invalid_request` for a task that is none.
pub fn delivery(sender: &Member, draft: Draft, now: u64) -> Result<Delivery, Error> {
    let arrival = match draft.kind {
        Kind::Task => Some(tasks::arrival(sender, &draft.id, &draft.data, now)?),
        _ => None,
    };
    Ok(Delivery {
        sender: sender.key,
        node: sender.id,
        id: draft.id,
        kind: draft.kind,
        data: draft.data,
        sent: if draft.sent == 0 { now } else { draft.sent },
        received: now,
        is_kept: arrival.as_ref().is_none_or(|arrival| arrival.is_new),
        task: arrival.map(|arrival| arrival.step),
    })
}
