//! Gateways that map ports on demand, asked in each of their three languages.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use crate::lab::{Nat, Site};

use super::reflector::{Reflector, open};
use super::world;

/// Asks the gateway and gives its answer.
fn ask(socket: &UdpSocket, to: &str, request: &[u8]) -> Vec<u8> {
    let mut buffer = [0; 1500];
    socket.send_to(request, to).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let (length, _) = socket.recv_from(&mut buffer).expect("the gateway answers");
    buffer[..length].to_vec()
}

/// A NAT-PMP request to map a UDP port (RFC 6886).
fn nat_pmp(inside: u16) -> Vec<u8> {
    let [high, low] = inside.to_be_bytes();
    vec![0, 1, 0, 0, high, low, 0, 0, 0, 0, 0, 120]
}

/// A PCP MAP request for a UDP port (RFC 6887).
fn pcp(inside: u16) -> Vec<u8> {
    let mut request = vec![2, 1, 0, 0, 0, 0, 0, 120];
    request.extend([&[0; 10][..], &[255, 255, 192, 168, 1, 2]].concat());
    request.extend([7; 12]);
    request.extend([17, 0, 0, 0]);
    request.extend(inside.to_be_bytes());
    request.extend([0, 0]);
    request.extend([&[0; 10][..], &[255, 255, 0, 0, 0, 0]].concat());
    request
}

fn is_open(reflector: &Reflector, wan: &str, port: u16, inside: &UdpSocket) -> bool {
    let to = SocketAddr::new(wan.parse().unwrap(), port);
    inside.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    reflector.reaches(3, to, inside)
}

#[test]
fn a_mapping_gateway_understands_pcp_nat_pmp_and_upnp() {
    let (mut lab, _server, reflector) = world();
    let place = lab.place("a", Site::Mapping(Nat::Symmetric));
    let wan = place.gateways[0].wan.clone().expect("IPv4");

    let inside = open(&place.host, "0.0.0.0:0");
    let port = inside.local_addr().unwrap().port();
    assert!(!is_open(&reflector, &wan, port, &inside));
    let answer = ask(&inside, "192.168.1.1:5351", &nat_pmp(port));
    assert_eq!(answer[..4], [0, 129, 0, 0], "{answer:?}");
    let mapped = u16::from_be_bytes([answer[10], answer[11]]);
    assert!(is_open(&reflector, &wan, mapped, &inside), "NAT-PMP opened {mapped}");

    let inside = open(&place.host, "0.0.0.0:0");
    let answer = ask(&inside, "192.168.1.1:5351", &pcp(inside.local_addr().unwrap().port()));
    assert_eq!(answer[..4], [2, 129, 0, 0], "{answer:?}");
    let mapped = u16::from_be_bytes([answer[42], answer[43]]);
    assert!(is_open(&reflector, &wan, mapped, &inside), "PCP opened {mapped}");

    let inside = open(&place.host, "0.0.0.0:0");
    let search = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n\
                  ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n";
    let answer = String::from_utf8(ask(&inside, "239.255.255.250:1900", search.as_bytes())).unwrap();
    let location = answer.lines().find(|line| line.to_lowercase().starts_with("location:"));
    assert!(location.is_some_and(|line| line.contains("http://192.168.1.1:")), "{answer}");
}
