//! The local addresses, told again whenever the kernel reports a change to links or addresses (rtnetlink).

use super::addresses::{Excluded, Found, LocalAddress, choose};
use futures_util::{Stream, StreamExt, TryStreamExt, pin_mut};
use rtnetlink::{
    Handle, MulticastGroup, new_multicast_connection,
    packet_route::{
        address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
        link::{LinkAttribute, LinkFlags, LinkMessage},
    },
};
use std::{collections::BTreeMap, io, net::IpAddr, time::Duration};
use tokio::{sync::watch, task, time};

/// Changes come in bursts (an interface, its addresses, its carrier): wait so long for the rest.
const SETTLE: Duration = Duration::from_millis(300);

const GROUPS: [MulticastGroup; 3] = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];

/// Why the local addresses are not known.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No netlink socket.
    #[error("could not ask the kernel for network changes (netlink route socket): {0}")]
    Socket(#[from] io::Error),
    /// The kernel did not list links or addresses.
    #[error("could not list this machine's network addresses: {0}")]
    List(#[from] rtnetlink::Error),
}

/// Lists the usable local addresses, best first, and keeps the list current: the receiver holds the newest.
///
/// The task behind it ends when the last receiver is dropped. Needs a tokio runtime.
pub async fn watch(excluded: Excluded) -> Result<watch::Receiver<Vec<LocalAddress>>, WatchError> {
    let (connection, handle, messages) = new_multicast_connection(&GROUPS)?;
    let connection = task::spawn(connection);
    let first = match list(&handle, &excluded).await {
        Ok(first) => first,
        Err(error) => {
            connection.abort();
            return Err(error);
        }
    };
    let (sender, receiver) = watch::channel(first);
    task::spawn(async move {
        tokio::select! {
            () = follow(&handle, messages, &excluded, &sender) => {}
            () = sender.closed() => {}
        }
        connection.abort();
    });
    Ok(receiver)
}

async fn follow(handle: &Handle, changes: impl Stream, excluded: &Excluded, sender: &watch::Sender<Vec<LocalAddress>>) {
    pin_mut!(changes);
    while changes.next().await.is_some() {
        let settled = time::sleep(SETTLE);
        pin_mut!(settled);
        while let Some(Some(_)) = tokio::select! {
            () = &mut settled => None,
            change = changes.next() => Some(change),
        } {}
        match list(handle, excluded).await {
            Ok(now) => drop(sender.send_if_modified(|before| replace(before, now))),
            Err(error) => tracing::warn!(%error, "the local addresses may be stale"),
        }
    }
}

fn replace(before: &mut Vec<LocalAddress>, now: Vec<LocalAddress>) -> bool {
    let changed = *before != now;
    *before = now;
    changed
}

async fn list(handle: &Handle, excluded: &Excluded) -> Result<Vec<LocalAddress>, WatchError> {
    let links: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
    let links: BTreeMap<u32, (String, bool)> = links.into_iter().filter_map(link).collect();
    let addresses: Vec<AddressMessage> = handle.address().get().execute().try_collect().await?;
    let found = addresses.iter().filter_map(|message| {
        let (interface, running) = links.get(&message.header.index)?.clone();
        let preferred = !message.header.flags.intersects(unusable());
        Some(Found { ip: ip(message)?, interface, index: message.header.index, running, preferred })
    });
    Ok(choose(found.collect(), excluded))
}

/// Number, name and whether it runs.
fn link(message: LinkMessage) -> Option<(u32, (String, bool))> {
    let running = message.header.flags.contains(LinkFlags::Up | LinkFlags::Running);
    let name = message.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    })?;
    Some((message.header.index, (name, running)))
}

fn unusable() -> AddressHeaderFlags {
    AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed | AddressHeaderFlags::Deprecated
}

/// Our own address: on a point-to-point link `IFA_ADDRESS` is the other end and `IFA_LOCAL` ours.
fn ip(message: &AddressMessage) -> Option<IpAddr> {
    let attributes = || message.attributes.iter();
    let local = attributes().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    local.or_else(|| {
        attributes().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tun::netns::Namespace;

    fn excluded() -> Excluded {
        Excluded { interface: "pilot0".into(), prefix: "fd50:494c:4f54::/48".parse().unwrap() }
    }

    fn names(addresses: &[LocalAddress]) -> Vec<String> {
        addresses.iter().map(|address| format!("{} {}", address.interface, address.ip)).collect()
    }

    /// Waits until the list is `expected`, and fails where it does not become so.
    async fn becomes(receiver: &mut watch::Receiver<Vec<LocalAddress>>, expected: &[&str]) {
        let reached = receiver.wait_for(|now| names(now) == expected);
        let reached = time::timeout(Duration::from_secs(10), reached).await.is_ok();
        assert!(reached, "{expected:?}, but {:?}", names(&receiver.borrow()));
    }

    #[test]
    fn kernel_watch_tells_the_addresses_and_each_change() {
        let Some((here, there)) = Namespace::new().zip(Namespace::new()) else {
            return;
        };
        here.cable("192.0.2.1/24", &there, "192.0.2.2/24");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let story = async {
            let mut addresses = watch(excluded()).await.unwrap();
            becomes(&mut addresses, &["eth0 192.0.2.1"]).await;
            here.run("ip address add 2001:db8::1/64 dev eth0 nodad");
            here.run("ip address add fd50:494c:4f54::9/64 dev eth0 nodad");
            becomes(&mut addresses, &["eth0 192.0.2.1", "eth0 2001:db8::1"]).await;
            there.run("ip link set eth0 down");
            becomes(&mut addresses, &[]).await;
            there.run("ip link set eth0 up");
            becomes(&mut addresses, &["eth0 192.0.2.1", "eth0 2001:db8::1"]).await;
        };
        here.enter(|| runtime.block_on(story));
    }
}
