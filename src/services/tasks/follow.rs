//! Tasks as they are, and then each change.

use std::collections::{HashMap, VecDeque};

use futures_util::{Stream, stream};
use tokio::sync::watch;

use super::Tasks;
use crate::control::Error;
use crate::store::inbox::{TaskQuery, TaskRecord};

struct Following {
    tasks: Tasks,
    query: TaskQuery,
    changes: watch::Receiver<u64>,
    /// The state of every task as it was told last.
    told: HashMap<(String, String, &'static str), (String, u64)>,
    next: VecDeque<TaskRecord>,
}

impl Tasks {
    /// The tasks that match, and then each again when it changes; of several changes in a moment the last.
    pub fn follow(&self, query: TaskQuery) -> impl Stream<Item = Result<TaskRecord, Error>> + Send + use<> {
        let following = Following {
            tasks: self.clone(),
            query,
            changes: self.inbox.store().changes(),
            told: HashMap::new(),
            next: VecDeque::new(),
        };
        stream::unfold(Some(following), async |following| {
            let mut following = following?;
            match following.next().await {
                Ok(Some(record)) => Some((Ok(record), Some(following))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

impl Following {
    async fn next(&mut self) -> Result<Option<TaskRecord>, Error> {
        loop {
            if let Some(record) = self.next.pop_front() {
                return Ok(Some(record));
            }
            self.changes.mark_unchanged();
            let found = self.tasks.list(self.query.clone()).await?;
            self.keep_news(found);
            if self.next.is_empty() && self.changes.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// What is not listed any more is forgotten with it.
    fn keep_news(&mut self, found: Vec<TaskRecord>) {
        let mut told = HashMap::with_capacity(found.len());
        for record in found {
            let key = (record.id.clone(), record.peer.to_string(), record.direction.as_str());
            let stands = (record.state.clone(), record.changed);
            if self.told.get(&key) != Some(&stands) {
                self.next.push_back(record);
            }
            told.insert(key, stands);
        }
        self.told = told;
    }
}
