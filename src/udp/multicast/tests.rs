//! Two hosts on a LAN, in network namespaces.

use super::*;
use crate::tun::netns::Namespace;
use std::{net::IpAddr, time::Duration};

fn addresses(interface: &str) -> Vec<LocalAddress> {
    vec![LocalAddress { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), interface: interface.into() }]
}

/// What comes to the group within a moment.
async fn heard(listener: &Listener) -> Option<(Vec<u8>, SocketAddr)> {
    let (mut v4, mut v6) = ([0; 64], [0; 64]);
    let received = listener.receive(&mut v4, &mut v6);
    tokio::time::timeout(Duration::from_millis(500), received).await.ok().map(Result::unwrap)
}

#[test]
fn kernel_a_lan_hears_what_is_said_from_the_main_socket_and_only_while_it_listens() {
    let Some((here, there)) = Namespace::new().zip(Namespace::new()) else {
        return;
    };
    here.cable("192.0.2.1/24", &there, "192.0.2.2/24");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sockets = here.enter(|| Sockets::bind(0, Arc::default()).unwrap());
    let port = sockets.port_v4().unwrap();
    let (far, near) = (runtime(), runtime());
    let mut sender = here.enter(|| near.block_on(async { Multicast::open().unwrap() }));
    here.enter(|| sender.follow(&addresses("eth0")));
    let mut receiver = there.enter(|| far.block_on(async { Multicast::open().unwrap() }));
    let said = |receiver: &Multicast| {
        here.enter(|| sender.send(&sockets, b"hello"));
        there.enter(|| far.block_on(heard(&receiver.listener)))
    };
    assert_eq!(said(&receiver), None, "nobody joined");
    there.enter(|| receiver.follow(&addresses("eth0")));
    let (datagram, from) = said(&receiver).unwrap();
    assert_eq!((datagram.as_slice(), from.port()), (b"hello".as_slice(), port));
    there.enter(|| receiver.follow(&[]));
    while there.enter(|| far.block_on(heard(&receiver.listener))).is_some() {}
    assert_eq!(said(&receiver), None, "it left");
    there.enter(|| receiver.follow(&addresses("eth0")));
    assert!(said(&receiver).is_some(), "it joined again");
}

#[test]
fn kernel_several_daemons_share_the_port_and_each_hears() {
    let Some((here, there)) = Namespace::new().zip(Namespace::new()) else {
        return;
    };
    here.cable("192.0.2.1/24", &there, "192.0.2.2/24");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sockets = here.enter(|| Sockets::bind(0, Arc::default()).unwrap());
    let story = || {
        runtime.block_on(async {
            let mut both = [Multicast::open().unwrap(), Multicast::open().unwrap()];
            both.iter_mut().for_each(|daemon| daemon.follow(&addresses("eth0")));
            both[0].send(&sockets, b"hello");
            for daemon in &both {
                assert_eq!(heard(&daemon.listener).await.unwrap().0, b"hello");
            }
        });
    };
    here.enter(story);
}

#[test]
fn kernel_interfaces_of_containers_are_left_out() {
    let Some(here) = Namespace::new() else { return };
    here.run("ip link add docker0 type bridge");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    here.enter(|| {
        let mut multicast = runtime.block_on(async { Multicast::open().unwrap() });
        multicast.follow(&addresses("docker0"));
        assert!(multicast.joined.is_empty());
    });
}
