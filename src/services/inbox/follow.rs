//! Reads the inbox: what is there, and what comes.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::watch;

use super::message::MessageView;
use super::{Inbox, refusal};
use crate::control::Error;
use crate::services::reply::Item;
use crate::store::inbox::{Chosen, Query, StoredMessage};

/// Bytes that one look into the database brings at most.
pub const PAGE_BYTES: usize = 8 << 20;
/// Messages that one look brings at most.
pub const PAGE: usize = 1_000;
/// Messages of a list for which no limit is given.
const DEFAULT_LIST: usize = 100;

struct Following {
    inbox: Inbox,
    query: Query,
    found: VecDeque<StoredMessage>,
    changes: watch::Receiver<u64>,
}

impl Inbox {
    /// The messages that match, oldest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list(&self, mut query: Query) -> Result<Vec<StoredMessage>, Error> {
        query.limit = if query.limit == 0 { DEFAULT_LIST } else { query.limit.min(PAGE) };
        query.bytes = PAGE_BYTES;
        self.store.read(move |connection| query.run(connection)).await.map_err(|fault| refusal(&fault))
    }

    /// The messages that match, and then each new one as it comes: none twice, none left out.
    pub fn follow(&self, query: Query) -> impl Stream<Item = Result<StoredMessage, Error>> + Send + use<> {
        let query = Query { limit: PAGE, bytes: PAGE_BYTES, ..query };
        let following = Following { inbox: self.clone(), query, found: VecDeque::new(), changes: self.store.changes() };
        stream::unfold(Some(following), async |following| {
            let mut following = following?;
            match following.next().await {
                Ok(Some(message)) => Some((Ok(message), Some(following))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// A message as an item of a stream, with the name that its sender has now.
    pub(super) fn item(&self, message: &StoredMessage) -> Result<Item, Error> {
        let view = MessageView::new(message, &self.directory.roster());
        let json = serde_json::to_vec(&view).map_err(|error| Error::new("internal", error.to_string()))?;
        Ok(Item { json: Bytes::from(json), seq: message.seq })
    }

    /// Marks messages as read; gives how many were not before.
    ///
    /// # Errors
    /// The database fails.
    pub async fn acknowledge(&self, ids: Vec<String>) -> Result<u64, Error> {
        bounded(&ids)?;
        self.store.write(0, move |batch| batch.acknowledge(&ids)).await.map_err(|fault| refusal(&fault))
    }

    /// Removes messages for good; gives how many.
    ///
    /// # Errors
    /// The database fails.
    pub async fn clear(&self, chosen: Chosen) -> Result<u64, Error> {
        if let Chosen::Ids(ids) = &chosen {
            bounded(ids)?;
        }
        self.store.write(0, move |batch| batch.clear(&chosen)).await.map_err(|fault| refusal(&fault))
    }
}

/// A list of IDs is no longer than a page.
pub fn bounded(ids: &[String]) -> Result<(), Error> {
    if ids.len() <= PAGE {
        return Ok(());
    }
    Err(Error::new("too_many", format!("{} IDs at once, at most {PAGE} are taken", ids.len())))
}

impl Following {
    async fn next(&mut self) -> Result<Option<StoredMessage>, Error> {
        loop {
            if let Some(message) = self.found.pop_front() {
                return Ok(Some(message));
            }
            // Before the look: what comes during it is a change after this.
            self.changes.mark_unchanged();
            let query = self.query.clone();
            let found = self.inbox.store.read(move |connection| query.run(connection)).await;
            self.found = found.map_err(|fault| refusal(&fault))?.into();
            if let Some(last) = self.found.back() {
                self.query.after = last.seq;
            } else if self.changes.changed().await.is_err() {
                return Ok(None);
            }
        }
    }
}
