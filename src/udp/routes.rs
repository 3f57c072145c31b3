//! The default routes of this machine: by which way packets leave it.

use futures_util::TryStreamExt;
use rtnetlink::{
    Handle, RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        route::{RouteAttribute, RouteHeader, RouteMessage, RouteType},
    },
};
use std::{
    future::ready,
    net::{Ipv4Addr, Ipv6Addr},
};

/// What tells one default route from another: its family, where it leads and what it costs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DefaultRoute {
    is_v6: bool,
    telling: Vec<RouteAttribute>,
}

/// What tells the default routes of the main table from others, in the kernel's order.
pub(super) async fn list(handle: &Handle) -> Result<Vec<DefaultRoute>, rtnetlink::Error> {
    let route = |route: RouteMessage| {
        let is_v6 = route.header.address_family == AddressFamily::Inet6;
        DefaultRoute { is_v6, telling: telling(route) }
    };
    Ok(messages(handle).await?.into_iter().map(route).collect())
}

/// All default routes of the main table as the kernel tells them, IPv4 first.
pub(super) async fn messages(handle: &Handle) -> Result<Vec<RouteMessage>, rtnetlink::Error> {
    let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
    let mut found = Vec::new();
    for question in [v4, v6] {
        let routes = handle.route().get(question).execute();
        let routes: Vec<RouteMessage> = routes.try_filter(|route| ready(is_default(route))).try_collect().await?;
        found.extend(routes);
    }
    Ok(found)
}

/// Whether a route is one of those.
pub(super) fn is_default(route: &RouteMessage) -> bool {
    let header = &route.header;
    header.destination_prefix_length == 0
        && header.table == RouteHeader::RT_TABLE_MAIN
        && header.kind == RouteType::Unicast
}

fn telling(route: RouteMessage) -> Vec<RouteAttribute> {
    let is_telling = |attribute: &RouteAttribute| {
        matches!(
            attribute,
            RouteAttribute::Oif(_)
                | RouteAttribute::Gateway(_)
                | RouteAttribute::Via(_)
                | RouteAttribute::Priority(_)
                | RouteAttribute::MultiPath(_)
        )
    };
    route.attributes.into_iter().filter(is_telling).collect()
}
