//! Keeps the directory that services read in step with the node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::calls::Calls;
use crate::identity::{NodeId, PublicKey};
use crate::node::{Answer, Command, Info, PathView, PeerView};
use crate::services::directory::{Member, Roster};

/// The node alone, before it was asked for more.
pub fn alone(id: NodeId, key: PublicKey, address: std::net::Ipv6Addr) -> Roster {
    Roster::new(Member { id, key, hostname: None, address, is_online: true }, [])
}

/// The longest time that services may not know of a change.
const LONGEST: Duration = Duration::from_millis(200);
/// Of the time, at most one part in so many goes into rosters: with many peers changes that come together are read together.
const SHARE: u32 = 20;

/// Writes the roster anew after changes, until the node ends.
pub async fn follow(mut calls: Calls, roster: watch::Sender<Arc<Roster>>) {
    loop {
        calls.changes.borrow_and_update();
        let start = Instant::now();
        let Some(now) = read(&calls).await else { return };
        let took = start.elapsed();
        roster.send_if_modified(|known| {
            let differs = **known != now;
            if differs {
                *known = Arc::new(now);
            }
            differs
        });
        tokio::time::sleep((took * SHARE).min(LONGEST)).await;
        if calls.changes.changed().await.is_err() {
            return;
        }
    }
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
