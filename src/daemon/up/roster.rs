//! Keeps the directory that services read in step with the node.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;

use super::calls::{Calls, Changes};
use crate::identity::{NodeId, PublicKey};
use crate::node::{Answer, Command, Info, PathView, PeerView};
use crate::services::directory::{Member, Roster};

/// The node alone, before it was asked for more.
pub fn alone(id: NodeId, key: PublicKey, address: std::net::Ipv6Addr) -> Roster {
    Roster::new(Member { id, key, hostname: None, address, is_online: true }, [])
}

/// With many peers, changes of how they are reached that come together are read together: so long after the last reading
/// for each peer, 200 ms with 10,000. Who is trusted and what they are called is told at once.
const PAUSE: Duration = Duration::from_micros(20);

/// Writes the roster anew after changes, until the node ends.
pub async fn follow(mut calls: Calls, roster: watch::Sender<Arc<Roster>>) {
    loop {
        let seen = *calls.changes.borrow_and_update();
        let Some(now) = read(&calls).await else { return };
        let pause = PAUSE * now.peers.len() as u32;
        roster.send_if_modified(|known| {
            let differs = **known != now;
            if differs {
                *known = Arc::new(now);
            }
            differs
        });
        if next(&mut calls.changes, seen, pause).await.is_err() {
            return;
        }
    }
}

/// Waits for a change of what was seen, and a while longer for others; who is trusted is news at once.
async fn next(changes: &mut watch::Receiver<Changes>, seen: Changes, pause: Duration) -> Result<(), RecvError> {
    let news = async { changes.wait_for(|now| now.members != seen.members).await.map(drop) };
    if let Ok(news) = tokio::time::timeout(pause, news).await {
        return news;
    }
    changes.wait_for(|now| *now != seen).await.map(drop)
}

async fn read(calls: &Calls) -> Option<Roster> {
    let (Ok(Answer::Info(info)), Ok(Answer::Peers(peers))) =
        (calls.ask(Command::Info).await, calls.ask(Command::Peers).await)
    else {
        return None;
    };
    Some(Roster::new(ourselves(&info), peers.iter().filter_map(member)))
}

fn ourselves(info: &Info) -> Member {
    Member { id: info.id, key: info.key, hostname: info.hostname.clone(), address: info.address, is_online: true }
}

/// A WireGuard peer from the configuration has no identity: it is no member, and no service knows it.
fn member(peer: &PeerView) -> Option<Member> {
    let key = peer.key.filter(|_| peer.trusted)?;
    let is_online = peer.path != PathView::None;
    Some(Member { id: peer.id, key, hostname: peer.hostname.clone(), address: peer.address, is_online })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    async fn after(seen: Changes, now: Changes, pause: Duration) -> Duration {
        let (_sender, mut changes) = watch::channel(now);
        let start = Instant::now();
        next(&mut changes, seen, pause).await.unwrap();
        start.elapsed()
    }

    #[tokio::test]
    async fn only_who_is_trusted_is_not_put_off() {
        let seen = Changes { all: 1, members: 1 };
        let pause = Duration::from_millis(20);
        assert!(after(seen, Changes { all: 2, members: 1 }, pause).await >= pause);
        let hour = Duration::from_secs(3600);
        let news = after(seen, Changes { all: 2, members: 2 }, hour);
        assert!(tokio::time::timeout(hour / 60, news).await.unwrap() < hour);
    }
}
