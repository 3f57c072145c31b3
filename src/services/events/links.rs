//! Links to peers: what this node's subscribers want of each, asked for once.
//!
//! In: what is wanted, and who is trusted. Out: one connection to each peer of which something is wanted, and its
//! events on the bus. A link comes again after its peer; it ends with the trust, and when nobody wants anything.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prost::Message;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::ask::MAX_GROUPS;
use super::batch::{Item, items};
use super::bus::Mark;
use super::dial::Frames;
use super::event::EventView;
use super::facade::{Events, Inner};
use super::frame::MAX_FRAME;
use super::run::Turn;
use super::subscriber::Origin;
use super::subscription::MAX_INTEREST;
use super::topic::Pattern;
use super::wire::{put_bytes, put_number};
use super::wishes::Wanted;
use crate::control::Error;
use crate::identity::NodeId;
use crate::services::api;
use crate::services::backoff::Backoff;
use crate::services::directory::{Directory, Member};

/// The first pause after a failure.
const SHORTEST: Duration = Duration::from_millis(200);
/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(15);

/// Patterns of topics that no wildcard matches, beside those that match everything: they fit a frame.
const MAX_WIDENED: usize = 2_048;

/// Pauses between tries: longer each time, never the same for two.
#[derive(Debug)]
pub(super) struct Pause(Backoff);

impl Default for Pause {
    fn default() -> Pause {
        Pause(Backoff::new(SHORTEST, LONGEST))
    }
}

impl Pause {
    /// Waits, but not when the peer comes back meanwhile.
    pub async fn wait(&mut self, directory: &Directory, peer: NodeId) {
        let was_online = is_online(directory, peer);
        let mut directory = directory.clone();
        let comes = async {
            let mut before = was_online;
            while directory.changed().await {
                let now = is_online(&directory, peer);
                if now && !before {
                    return;
                }
                before = now;
            }
            std::future::pending::<()>().await;
        };
        // A pause that is over, or a peer that is there: either way it is time.
        let _ = timeout(self.0.next_wait(), comes).await;
    }
}

fn is_online(directory: &Directory, peer: NodeId) -> bool {
    directory.roster().peers.get(&peer).is_some_and(|peer| peer.is_online)
}

/// A link that runs.
struct Running {
    key: crate::identity::PublicKey,
    wanted: watch::Sender<Vec<Wanted>>,
    task: AbortHandle,
}

impl Events {
    /// Keeps the links to peers until dropped.
    pub async fn run_links(self) {
        let mut changes = self.inner.bus.changes();
        let mut directory = self.inner.directory.clone();
        let (mut tasks, mut links) = (JoinSet::new(), HashMap::new());
        loop {
            changes.mark_unchanged();
            self.adjust(&mut links, &mut tasks);
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                goes_on = directory.changed() => if !goes_on { return },
            }
            while tasks.try_join_next().is_some() {}
        }
    }

    fn adjust(&self, links: &mut HashMap<NodeId, Running>, tasks: &mut JoinSet<()>) {
        let roster = self.inner.directory.roster();
        links.retain(|id, link| {
            let stays = roster.peers.get(id).is_some_and(|peer| peer.key == link.key);
            if !stays {
                link.task.abort();
            }
            stays
        });
        for peer in roster.peers.values() {
            let wanted = self.inner.bus.wanted_of(peer.id);
            match links.get(&peer.id) {
                Some(link) if wanted.is_empty() => {
                    link.task.abort();
                    links.remove(&peer.id);
                }
                Some(link) => {
                    link.wanted.send_if_modified(|held| {
                        *held != wanted && {
                            *held = wanted;
                            true
                        }
                    });
                }
                None if wanted.is_empty() => {}
                None => {
                    let (sender, receiver) = watch::channel(wanted);
                    let link = Link { inner: self.inner.clone(), peer: peer.clone(), wanted: receiver };
                    let running = Running { key: peer.key, wanted: sender, task: tasks.spawn(link.run()) };
                    links.insert(peer.id, running);
                }
            }
        }
    }
}

/// The link to one peer.
struct Link {
    inner: Arc<Inner>,
    peer: Arc<Member>,
    wanted: watch::Receiver<Vec<Wanted>>,
}

/// Counts a link while it is there.
struct Counted(Arc<Inner>);

impl Counted {
    fn new(inner: &Arc<Inner>) -> Counted {
        inner.counters.links.fetch_add(1, Relaxed);
        Counted(inner.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.counters.links.fetch_sub(1, Relaxed);
    }
}

impl Link {
    async fn run(mut self) {
        let mut pause = Pause::default();
        loop {
            match self.converse().await {
                Ok(()) => pause = Pause::default(),
                Err(error) => tracing::debug!(peer = %self.peer.id, %error, "no link for events"),
            }
            pause.wait(&self.inner.directory, self.peer.id).await;
        }
    }

    /// Good until the other side ends it.
    async fn converse(&mut self) -> Result<(), Error> {
        let mut frames = Frames::connect(&*self.inner.dial, &self.peer).await?;
        let _counted = Counted::new(&self.inner);
        let broken = |error: std::io::Error| Error::new("unreachable", error.to_string());
        let request = interest(&self.wanted.borrow_and_update());
        frames.send(&request).await.map_err(broken)?;
        loop {
            tokio::select! {
                frame = frames.next() => match frame {
                    Ok(Some(frame)) => self.take(&frame)?,
                    Ok(None) | Err(_) => return Ok(()),
                },
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let request = interest(&self.wanted.borrow_and_update());
                    frames.send(&request).await.map_err(broken)?;
                }
            }
        }
    }

    /// Passes on what the peer published; what it says of others is dropped and counted.
    fn take(&self, frame: &Bytes) -> Result<(), Error> {
        let source = self.peer.id.to_string();
        let (mut marks, mut turn) = (Vec::new(), Turn::default());
        let start_of = |element: &[u8]| element.as_ptr() as usize - frame.as_ptr() as usize;
        for item in items(frame) {
            match item? {
                Item::Event { body, element } => {
                    let known = marks.last().map_or("", |mark: &Mark<'_>| mark.topic);
                    match EventView::parse_after(body, known).ok().filter(|event| event.is_of(&source)) {
                        Some(event) => {
                            let start = start_of(element);
                            marks.push(Mark { topic: event.topic, start, end: start + element.len() });
                        }
                        None => drop(self.inner.counters.foreign.fetch_add(1, Relaxed)),
                    }
                }
                Item::Group(name) => turn.groups.push(name.into()),
                Item::GroupsOnly => turn.is_exclusive = true,
                Item::Missed(count) => self.missed(count),
                Item::Refused(error) => return Err(error),
                Item::Flushed(_) => {}
            }
        }
        self.inner.counters.received.fetch_add(marks.len() as u64, Relaxed);
        let turn = (turn != Turn::default()).then(|| Arc::new(turn));
        self.inner.bus.pass(Origin::Link(self.peer.id, turn), frame.clone(), &marks);
        Ok(())
    }

    fn missed(&self, count: u64) {
        tracing::warn!(peer = %self.peer.id, "{count} events of this peer were lost on their way here");
        self.inner.bus.tell_missed(self.peer.id, count);
    }
}

/// What a peer is asked for; where that is more than it takes, the shortest list that still has all of it.
fn interest(wanted: &[Wanted]) -> Bytes {
    let is_short = wanted.len() <= MAX_INTEREST && groups(wanted).len() <= MAX_GROUPS;
    let exact = is_short.then(|| encoded(wanted)).filter(|request| request.len() <= MAX_FRAME);
    exact.unwrap_or_else(|| encoded(&widened(wanted)))
}

fn encoded(wanted: &[Wanted]) -> Bytes {
    let wanted = wanted.iter().map(|one| api::Wanted {
        pattern: one.pattern.to_string(),
        group: one.group.as_deref().unwrap_or_default().to_owned(),
    });
    let interest = api::Interest { wanted: wanted.collect() };
    let mut request = BytesMut::new();
    put_bytes(&mut request, 2, &interest.encode_to_vec());
    put_number(&mut request, 5, 1);
    request.freeze()
}

/// The queue groups for which something is wanted.
fn groups(wanted: &[Wanted]) -> BTreeSet<Arc<str>> {
    wanted.iter().filter_map(|one| one.group.clone()).collect()
}

/// Everything, for each group for which something is wanted, and as many as fit of the topics that no wildcard matches.
fn widened(wanted: &[Wanted]) -> Vec<Wanted> {
    let (groups, everything) = (groups(wanted), Pattern::all());
    if groups.len() > MAX_GROUPS {
        tracing::warn!("{} queue groups are more than peers take: some get no events of them", groups.len());
    }
    let plain = wanted.iter().any(|one| one.group.is_none()).then_some(None);
    let asking: BTreeSet<_> = plain.into_iter().chain(groups.into_iter().take(MAX_GROUPS).map(Some)).collect();
    let hidden = wanted.iter().filter(|one| asking.contains(&one.group) && !everything.covers(&one.pattern));
    let wide = asking.iter().map(|group| Wanted { group: group.clone(), pattern: everything.clone() });
    wide.chain(hidden.take(MAX_WIDENED).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(wanted: &[Wanted]) -> Vec<(String, String)> {
        let request = interest(wanted);
        assert!(request.len() <= MAX_FRAME, "{} bytes", request.len());
        let asked = api::LinkRequest::decode(request).unwrap().interest.unwrap().wanted;
        asked.into_iter().map(|one| (one.pattern, one.group)).collect()
    }

    fn wanted(pattern: &str, group: Option<&str>) -> Wanted {
        Wanted { pattern: Pattern::parse(pattern).unwrap(), group: group.map(Into::into) }
    }

    fn pair(pattern: &str, group: &str) -> (String, String) {
        (pattern.to_owned(), group.to_owned())
    }

    #[test]
    fn what_fits_is_asked_for_as_it_is_and_what_does_not_as_everything() {
        let few = [wanted("a", None), wanted("b.*", Some("g"))];
        assert_eq!(asked(&few), [pair("a", ""), pair("b.*", "g")]);
        let mut many: Vec<_> = (0..=MAX_INTEREST).map(|number| wanted(&format!("t.{number}"), None)).collect();
        many.extend([wanted("_reply.x", None), wanted("work", Some("g"))]);
        assert_eq!(asked(&many), [pair("*", ""), pair("*", "g"), pair("_reply.x", "")]);
    }

    #[test]
    fn long_patterns_and_many_groups_fit_too() {
        let long =
            |start: &str| (0..5_000).map(|number| wanted(&format!("{start}{number:0240}"), None)).collect::<Vec<_>>();
        assert_eq!(asked(&long("t")), [pair("*", "")]);
        assert_eq!(asked(&long("_t")).len(), MAX_WIDENED + 1);
        let groups: Vec<_> = (0..1_000).map(|number| wanted("a", Some(&format!("{number:064}")))).collect();
        assert_eq!(asked(&groups).len(), MAX_GROUPS);
    }
}
