//! The default routes of this machine: by which way packets leave it.

use futures_util::TryStreamExt;
use rtnetlink::{
    Handle, RouteMessageBuilder,
    packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteType},
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

/// All default routes of the main table, in the kernel's order.
pub(super) async fn list(handle: &Handle) -> Result<Vec<DefaultRoute>, rtnetlink::Error> {
    let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
    let mut found = Vec::new();
    for (is_v6, question) in [(false, v4), (true, v6)] {
        let routes = handle.route().get(question).execute();
        let routes: Vec<RouteMessage> = routes.try_filter(|route| ready(is_default(route))).try_collect().await?;
        found.extend(routes.into_iter().map(|route| DefaultRoute { is_v6, telling: telling(route) }));
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
