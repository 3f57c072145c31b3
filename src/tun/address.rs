//! Gives an interface its address by rtnetlink, ready for use at once.

use ipnet::Ipv6Net;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;

/// Adds `address` to interface number `index`, with a route to the network around it.
///
/// Without duplicate address detection, which nobody could answer and during which the address cannot be bound:
/// the older `SIOCSIFADDR` cannot ask for that. An address that is there already is brought to the same state.
pub fn add(index: u32, address: Ipv6Net) -> io::Result<()> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.index = index;
    message.header.prefix_len = address.prefix_len();
    message.header.flags = AddressHeaderFlags::Nodad;
    message.attributes = vec![AddressAttribute::Address(address.addr().into())];
    request(RouteNetlinkMessage::NewAddress(message))
}

/// Sends one request and waits for the kernel's answer.
fn request(message: RouteNetlinkMessage) -> io::Result<()> {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map(|answer| answer.payload) {
        Ok(NetlinkPayload::Error(answer)) if answer.code.is_none() => Ok(()),
        Ok(NetlinkPayload::Error(answer)) => Err(answer.to_io()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
