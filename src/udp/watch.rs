//! The networks around this machine, told again whenever the kernel reports that they changed (rtnetlink): the local
//! addresses, and how often packets may have begun to leave by another way.

use super::addresses::{Excluded, Found, LocalAddress, choose};
use super::routes::{self, DefaultRoute};
use futures_util::{Stream, StreamExt, TryStreamExt, pin_mut};
use rtnetlink::{
    Handle, MulticastGroup, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
        link::{LinkAttribute, LinkFlags, LinkMessage},
    },
};
use std::{collections::BTreeMap, future::ready, io, net::IpAddr, time::Duration};
use tokio::{sync::watch, task, time};

/// Changes come in bursts (an interface, its addresses, its carrier, its routes): wait so long for the rest. What comes
/// later is told again.
const SETTLE: Duration = Duration::from_millis(50);

const GROUPS: [MulticastGroup; 5] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// What this machine is connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// The usable local addresses, best first.
    pub addresses: Vec<LocalAddress>,
    /// Grows whenever packets may leave by another way than before, whether or not the addresses are others: a default
    /// route is another one, or an interface that we use was without its cable.
    pub moves: u64,
}

/// Why the local addresses are not known.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No netlink socket.
    #[error("could not ask the kernel for network changes (netlink route socket): {0}")]
    Socket(#[from] io::Error),
    /// The kernel did not list links, addresses or routes.
    #[error("could not list this machine's network addresses: {0}")]
    List(#[from] rtnetlink::Error),
}

/// Lists the networks and keeps the list current: the receiver holds the newest, and is told of changes only.
///
/// The task behind it ends when the last receiver is dropped. Needs a tokio runtime.
pub async fn watch(excluded: Excluded) -> Result<watch::Receiver<Networks>, WatchError> {
    let (connection, handle, messages) = new_multicast_connection(&GROUPS)?;
    let connection = task::spawn(connection);
    let first = match list(&handle, &excluded).await {
        Ok(first) => first,
        Err(error) => {
            connection.abort();
            return Err(error);
        }
    };
    let (addresses, routes) = first;
    let (sender, receiver) = watch::channel(Networks { addresses, moves: 0 });
    task::spawn(async move {
        let changes = messages.filter_map(|(message, _)| ready(Change::of(&message)));
        tokio::select! {
            () = follow(&handle, changes, &excluded, routes, &sender) => {}
            () = sender.closed() => {}
        }
        connection.abort();
    });
    Ok(receiver)
}

/// What a message of the kernel tells at once; the rest is listed.
enum Change {
    /// This interface does not run.
    Stopped(String),
    /// A default route is gone.
    RouteGone,
    Other,
}

impl Change {
    fn of(message: &NetlinkMessage<RouteNetlinkMessage>) -> Option<Change> {
        let NetlinkPayload::InnerMessage(message) = &message.payload else { return None };
        match message {
            RouteNetlinkMessage::NewRoute(route) => routes::is_default(route).then_some(Change::Other),
            RouteNetlinkMessage::DelRoute(route) => routes::is_default(route).then_some(Change::RouteGone),
            RouteNetlinkMessage::NewLink(message) => match link(message) {
                Some((_, (name, false))) => Some(Change::Stopped(name)),
                _ => Some(Change::Other),
            },
            _ => Some(Change::Other),
        }
    }

    /// Whether packets may leave by another way afterwards, though all looks the same.
    fn is_move(&self, addresses: &[LocalAddress]) -> bool {
        match self {
            Change::Stopped(name) => addresses.iter().any(|address| address.interface == *name),
            Change::RouteGone => true,
            Change::Other => false,
        }
    }
}

async fn follow(
    handle: &Handle,
    changes: impl Stream<Item = Change>,
    excluded: &Excluded,
    mut routes: Vec<DefaultRoute>,
    sender: &watch::Sender<Networks>,
) {
    pin_mut!(changes);
    while let Some(first) = changes.next().await {
        let mut is_move = first.is_move(&sender.borrow().addresses);
        let settled = time::sleep(SETTLE);
        pin_mut!(settled);
        while let Some(Some(change)) = tokio::select! {
            () = &mut settled => None,
            change = changes.next() => Some(change),
        } {
            is_move |= change.is_move(&sender.borrow().addresses);
        }
        match list(handle, excluded).await {
            Ok((addresses, latest)) => {
                is_move |= std::mem::replace(&mut routes, latest) != routes;
                sender.send_if_modified(|networks| networks.update(addresses, is_move));
            }
            Err(error) => tracing::warn!(%error, "the local addresses may be stale"),
        }
    }
}

impl Networks {
    /// Whether anything is new.
    fn update(&mut self, addresses: Vec<LocalAddress>, is_move: bool) -> bool {
        let changed = self.addresses != addresses;
        self.addresses = addresses;
        self.moves += u64::from(is_move);
        changed || is_move
    }
}

async fn list(handle: &Handle, excluded: &Excluded) -> Result<(Vec<LocalAddress>, Vec<DefaultRoute>), WatchError> {
    let links: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
    let links: BTreeMap<u32, (String, bool)> = links.iter().filter_map(link).collect();
    let addresses: Vec<AddressMessage> = handle.address().get().execute().try_collect().await?;
    let found = addresses.iter().filter_map(|message| {
        let (interface, running) = links.get(&message.header.index)?.clone();
        let preferred = !message.header.flags.intersects(unusable());
        Some(Found { ip: ip(message)?, interface, index: message.header.index, running, preferred })
    });
    Ok((choose(found.collect(), excluded), routes::list(handle).await?))
}

/// Number, name and whether it runs.
fn link(message: &LinkMessage) -> Option<(u32, (String, bool))> {
    let running = message.header.flags.contains(LinkFlags::Up | LinkFlags::Running);
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
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
    async fn becomes(receiver: &mut watch::Receiver<Networks>, expected: &[&str]) {
        let reached = receiver.wait_for(|now| names(&now.addresses) == expected);
        let reached = time::timeout(Duration::from_secs(10), reached).await.is_ok();
        assert!(reached, "{expected:?}, but {:?}", names(&receiver.borrow().addresses));
    }

    /// Does something, and waits until packets may have begun to leave by another way.
    async fn moves(receiver: &mut watch::Receiver<Networks>, what: &str, does: impl FnOnce()) {
        let before = receiver.borrow_and_update().moves;
        does();
        let moved = receiver.wait_for(|now| now.moves > before);
        let moved = time::timeout(Duration::from_secs(10), moved).await.is_ok();
        assert!(moved, "not told: {what}");
    }

    #[test]
    fn kernel_watch_tells_the_addresses_and_each_change() {
        let Some((here, there)) = Namespace::new().zip(Namespace::new()) else {
            return;
        };
        here.cable("192.0.2.1/24", &there, "192.0.2.2/24");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let story = async {
            let mut networks = watch(excluded()).await.unwrap();
            becomes(&mut networks, &["eth0 192.0.2.1"]).await;
            here.run("ip address add 2001:db8::1/64 dev eth0 nodad");
            here.run("ip address add fd50:494c:4f54::9/64 dev eth0 nodad");
            becomes(&mut networks, &["eth0 192.0.2.1", "eth0 2001:db8::1"]).await;
            there.run("ip link set eth0 down");
            becomes(&mut networks, &[]).await;
            there.run("ip link set eth0 up");
            becomes(&mut networks, &["eth0 192.0.2.1", "eth0 2001:db8::1"]).await;
        };
        here.enter(|| runtime.block_on(story));
    }

    #[test]
    fn kernel_watch_tells_moves_where_the_addresses_stay() {
        let Some((here, there)) = Namespace::new().zip(Namespace::new()) else {
            return;
        };
        here.cable("192.0.2.1/24", &there, "192.0.2.2/24");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let story = async {
            let mut networks = watch(excluded()).await.unwrap();
            for (what, line) in [
                ("a first default route", "ip route add default via 192.0.2.2"),
                ("another one", "ip route replace default via 192.0.2.3"),
                ("one that is gone", "ip route del default"),
                ("one that comes back", "ip route add default via 192.0.2.3"),
            ] {
                moves(&mut networks, what, || drop(here.run(line))).await;
            }
            let addresses = networks.borrow().addresses.clone();
            let before = networks.borrow().moves;
            there.run("ip link set eth0 down");
            becomes(&mut networks, &[]).await;
            there.run("ip link set eth0 up");
            becomes(&mut networks, &["eth0 192.0.2.1"]).await;
            assert!(networks.borrow().moves > before, "a cable that was out for a moment");
            assert_eq!(networks.borrow().addresses, addresses);
            let before = networks.borrow_and_update().moves;
            here.run("ip route add 198.51.100.0/24 via 192.0.2.2");
            here.run("ip address add 192.0.2.77/24 dev eth0");
            becomes(&mut networks, &["eth0 192.0.2.1", "eth0 192.0.2.77"]).await;
            assert_eq!(networks.borrow().moves, before, "a route to somewhere and one more address are no move");
        };
        here.enter(|| runtime.block_on(story));
    }
}
