//! The routers that lead out of this machine's networks, told again whenever a default route comes or goes (rtnetlink).

use futures_util::{Stream, StreamExt, pin_mut};
use rtnetlink::{
    Handle, MulticastGroup, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia},
    },
};
use std::{net::IpAddr, time::Duration};
use tokio::{sync::watch, task, time};

use super::{WatchError, routes};

/// Changes come in bursts (a route goes, another comes): wait so long for the rest.
const SETTLE: Duration = Duration::from_millis(300);

/// At most so many routers are reported.
const MAX_GATEWAYS: usize = 16;

const GROUPS: [MulticastGroup; 2] = [MulticastGroup::Ipv4Route, MulticastGroup::Ipv6Route];

/// The next hop of a default route of the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gateway {
    /// The router's address on our network; for IPv6 mostly a link-local one.
    pub ip: IpAddr,
    /// The kernel's number of the interface that leads to it.
    pub interface: u32,
}

/// Lists the gateways, the preferred route's first, and keeps the list current. The receiver is told after each
/// change of a default route, also when the list is the same again afterwards: it may be another network then.
///
/// The task behind it ends when the last receiver is dropped. Needs a tokio runtime.
///
/// # Errors
/// The kernel does not tell its routes.
pub async fn gateways() -> Result<watch::Receiver<Vec<Gateway>>, WatchError> {
    let (connection, handle, messages) = new_multicast_connection(&GROUPS)?;
    let connection = task::spawn(connection);
    let first = match list(&handle).await {
        Ok(first) => first,
        Err(error) => {
            connection.abort();
            return Err(error);
        }
    };
    let (sender, receiver) = watch::channel(first);
    task::spawn(async move {
        let changes = messages.filter(|(message, _)| std::future::ready(is_default_route(message)));
        tokio::select! {
            () = follow(&handle, changes, &sender) => {}
            () = sender.closed() => {}
        }
        connection.abort();
    });
    Ok(receiver)
}

async fn follow(handle: &Handle, changes: impl Stream, sender: &watch::Sender<Vec<Gateway>>) {
    pin_mut!(changes);
    while changes.next().await.is_some() {
        let settled = time::sleep(SETTLE);
        pin_mut!(settled);
        while let Some(Some(_)) = tokio::select! {
            () = &mut settled => None,
            change = changes.next() => Some(change),
        } {}
        match list(handle).await {
            Ok(now) => drop(sender.send_replace(now)),
            Err(error) => tracing::warn!(%error, "the default gateways may be stale"),
        }
    }
}

fn is_default_route(message: &NetlinkMessage<RouteNetlinkMessage>) -> bool {
    match &message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route)) => {
            routes::is_default(route)
        }
        _ => false,
    }
}

async fn list(handle: &Handle) -> Result<Vec<Gateway>, WatchError> {
    Ok(choose(routes::messages(handle).await?.iter().flat_map(hops).collect()))
}

/// The lowest metric first, each gateway once.
fn choose(mut found: Vec<(u32, Gateway)>) -> Vec<Gateway> {
    found.sort();
    let mut chosen: Vec<Gateway> = Vec::new();
    for (_, gateway) in found {
        if chosen.len() < MAX_GATEWAYS && !chosen.contains(&gateway) {
            chosen.push(gateway);
        }
    }
    chosen
}

/// The next hops of a route with its metric; one that leads straight into a network has none.
fn hops(route: &RouteMessage) -> Vec<(u32, Gateway)> {
    let mut metric = 0;
    let mut interface = None;
    let mut hops = Vec::new();
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Oif(number) => interface = Some(*number),
            RouteAttribute::MultiPath(several) => hops.extend(
                several
                    .iter()
                    .filter_map(|hop| Some(Gateway { ip: router(&hop.attributes)?, interface: hop.interface_index })),
            ),
            _ => {}
        }
    }
    hops.extend(router(&route.attributes).zip(interface).map(|(ip, interface)| Gateway { ip, interface }));
    hops.into_iter().map(|gateway| (metric, gateway)).collect()
}

fn router(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        RouteAttribute::Via(RouteVia::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Via(RouteVia::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tun::netns::Namespace;

    /// Waits until the routers are `expected`, and fails where they do not become so.
    async fn becomes(receiver: &mut watch::Receiver<Vec<Gateway>>, expected: &[&str]) {
        let ips = |now: &[Gateway]| now.iter().map(|gateway| gateway.ip.to_string()).collect::<Vec<_>>();
        let reached = receiver.wait_for(|now| ips(now) == expected);
        let reached = time::timeout(Duration::from_secs(10), reached).await.is_ok();
        assert!(reached, "{expected:?}, but {:?}", ips(&receiver.borrow()));
    }

    #[test]
    fn kernel_gateways_are_told_with_each_change_the_best_first() {
        let Some((here, there)) = Namespace::new().zip(Namespace::new()) else {
            return;
        };
        here.cable("192.0.2.1/24", &there, "192.0.2.2/24");
        here.run("ip address add 2001:db8::1/64 dev eth0 nodad");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let story = async {
            let mut routers = gateways().await.unwrap();
            becomes(&mut routers, &[]).await;
            here.run("ip route add default via 192.0.2.2 metric 200");
            here.run("ip -6 route add default via fe80::1 dev eth0 metric 300");
            here.run("ip route add default via 192.0.2.3 table 99");
            becomes(&mut routers, &["192.0.2.2", "fe80::1"]).await;
            here.run("ip route add default via 192.0.2.9 metric 100");
            becomes(&mut routers, &["192.0.2.9", "192.0.2.2", "fe80::1"]).await;
            here.run("ip route del default via 192.0.2.2");
            here.run("ip -6 route del default");
            becomes(&mut routers, &["192.0.2.9"]).await;
        };
        here.enter(|| runtime.block_on(story));
    }

    #[test]
    fn kernel_a_route_that_comes_back_is_told_although_the_list_is_the_same() {
        let Some((here, there)) = Namespace::new().zip(Namespace::new()) else {
            return;
        };
        here.cable("192.0.2.1/24", &there, "192.0.2.2/24");
        here.run("ip route add default via 192.0.2.2");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let story = async {
            let mut routers = gateways().await.unwrap();
            let before = routers.borrow_and_update().clone();
            here.run("ip route del default");
            here.run("ip route add default via 192.0.2.2");
            time::timeout(Duration::from_secs(10), routers.changed()).await.unwrap().unwrap();
            assert_eq!(*routers.borrow(), before);
        };
        here.enter(|| runtime.block_on(story));
    }
}
