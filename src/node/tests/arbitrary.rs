//! Whatever comes in, nothing panics, nothing is answered to strangers, and there is always an end.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{SERVER, STRANGER, World};
use crate::identity::{NodeId, Target};
use crate::node::trust::Terms;
use crate::node::*;
use crate::wire::rendezvous::{Delivered, HostnameSet, Refused, TrustRequested, Welcome};

#[derive(Clone, Debug)]
enum Input {
    Datagram { from_server: bool, bytes: Vec<u8> },
    Packet(Vec<u8>),
    Delivered(Vec<u8>),
    Requested { key: [u8; 32], statement: Vec<u8> },
    Welcome { key: Vec<u8>, hostname: String },
    HostnameSet(u64),
    Refused(String),
    Link(bool),
    Addresses(Vec<std::net::IpAddr>, u16, u16),
    Mappings(Vec<SocketAddr>),
    Command(u8, u64),
    Derived([u8; 6]),
    Wait(u16),
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(1_u8), Just(2), Just(3), Just(4), 0x10..0x14_u8, any::<u8>()];
    let sizes = prop_oneof![Just(148), Just(92), Just(64), 0..200_usize];
    (kind, sizes, any::<[u8; 8]>()).prop_map(|(kind, size, noise)| {
        let mut bytes: Vec<u8> = noise.into_iter().cycle().take(size).collect();
        bytes.iter_mut().take(4).for_each(|byte| *byte = 0);
        bytes.iter_mut().take(1).for_each(|byte| *byte = kind);
        bytes
    })
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        (any::<bool>(), bytes()).prop_map(|(from_server, bytes)| Input::Datagram { from_server, bytes }),
        vec(any::<u8>(), 0..100).prop_map(Input::Packet),
        vec(any::<u8>(), 0..400).prop_map(Input::Delivered),
        (any::<[u8; 32]>(), vec(any::<u8>(), 0..100)).prop_map(|(key, statement)| Input::Requested { key, statement }),
        (vec(any::<u8>(), 30..34), "[a-z_]{0,5}").prop_map(|(key, hostname)| Input::Welcome { key, hostname }),
        (0..3_u64).prop_map(Input::HostnameSet),
        any::<String>().prop_map(Input::Refused),
        any::<bool>().prop_map(Input::Link),
        (vec(any::<std::net::IpAddr>(), 0..3), any::<u16>(), any::<u16>())
            .prop_map(|(ips, v4, v6)| Input::Addresses(ips, v4, v6)),
        vec(any::<SocketAddr>(), 0..6).prop_map(Input::Mappings),
        (0..12_u8, 0..5_u64).prop_map(|(command, id)| Input::Command(command, id)),
        any::<[u8; 6]>().prop_map(Input::Derived),
        any::<u16>().prop_map(Input::Wait),
    ]
}

fn command(world: &World, number: u8) -> Command {
    let friend = || Target::Node(world.hosts[1].id);
    let reason = String::new();
    let brief = || Terms { grant: None, lifetime: Some(Duration::from_secs(2)) };
    match number {
        0 => Command::Status,
        1 => Command::Peers,
        2 => Command::Ping(friend()),
        3 => Command::Handshake { target: friend(), reason, terms: brief() },
        4 => Command::Untrust(friend()),
        5 => Command::Trust(world.hosts[1].key, Default::default()),
        6 => Command::SetHostname("omega".parse().ok()),
        7 => Command::Invite { uses: 1, lifetime: Duration::from_secs(9), terms: brief() },
        8 => Command::Approve("alpha".parse().unwrap(), Default::default()),
        9 => Command::Grant(friend(), "inbox,udp:7".parse().unwrap()),
        10 => Command::Trust(world.hosts[1].key, brief()),
        _ => Command::Find(friend()),
    }
}

fn apply(world: &mut World, input: Input) {
    let now = world.now;
    match input {
        Input::Datagram { from_server, bytes } => {
            let stranger: SocketAddr = STRANGER.parse().unwrap();
            let server: SocketAddr = SERVER.parse().unwrap();
            world.inject(if from_server { server } else { stranger }, 0, &bytes);
        }
        Input::Packet(packet) => world.hosts[0].node.handle_packet(now, &packet),
        Input::Delivered(sealed) => world.tell(0, Delivered { sealed, delivery: 9 }),
        Input::Requested { key, statement } => {
            let (sender_key, sender_hostname) = (key.to_vec(), String::new());
            let delivery = 9;
            let requested = TrustRequested { delivery, sender_key, sender_hostname, statement };
            world.tell(0, requested);
        }
        Input::Welcome { key, hostname } => world.tell(
            0,
            Welcome {
                relay_session: 100,
                relay_key: key,
                relay_allocation: 1,
                hostname: Some(hostname),
                hostname_taken: true,
            },
        ),
        Input::HostnameSet(request) => world.tell(0, HostnameSet { request, taken: true }),
        Input::Refused(code) => world.tell(0, Refused { message: code.clone(), code }),
        Input::Link(true) => world.link(0),
        Input::Link(false) => world.unlink(0),
        Input::Addresses(ips, v4, v6) => {
            world.hosts[0].node.handle_local_addresses(now, &ips, v4, v6);
        }
        Input::Mappings(outsides) => world.hosts[0].node.handle_mappings(now, &outsides),
        Input::Command(number, id) => {
            let command = command(world, number);
            world.command(0, id, command);
        }
        Input::Derived(id) => {
            let key = world.hosts[1].key;
            world.hosts[0].node.handle_derived(now, key, NodeId::from_bytes(id));
        }
        Input::Wait(millis) => world.run(Duration::from_millis(millis.into())),
    }
    world.drain(0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_comes_in(inputs in vec(input(), 0..60)) {
        let mut world = World::new(&[Some("alpha"), Some("beta")]);
        world.befriend(0, 1);
        for input in inputs {
            apply(&mut world, input);
        }
        world.run(Duration::from_secs(200));
        prop_assert_eq!(world.stranger_heard, 0);
    }
}
