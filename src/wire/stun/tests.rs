use super::*;
use proptest::prelude::*;

const TRANSACTION: Transaction = *b"transaction!";

fn answer(request: &[u8], from: SocketAddr) -> Result<Vec<u8>, Drop> {
    let mut out = [0; RESPONSE_MAX_LEN];
    respond(request, from, None, &mut out).map(|reflection| out[..reflection.len].to_vec())
}

fn endpoint(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The IPv4 and IPv6 responses of RFC 5769, sections 2.2 and 2.3, with the credentials left out.
#[test]
fn reads_the_published_vectors() {
    let transaction = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
    let v4 = [0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
    let v6 = [
        0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2,
        0xb9, 0xd9,
    ];
    for (value, expected) in [(&v4[..], "192.0.2.1:32853"), (&v6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")] {
        let mut message = Vec::new();
        push_header(&mut message, BINDING_SUCCESS, transaction);
        push_attribute(&mut message, SOFTWARE, b"test vector ");
        push_attribute(&mut message, XOR_MAPPED_ADDRESS, value);
        let read = parse_response(&message);
        assert_eq!(read, Ok((transaction, endpoint(expected))));
    }
}

#[test]
fn a_request_is_answered_with_where_it_came_from() {
    let request = request(TRANSACTION);
    assert_eq!(request.len(), REQUEST_LEN);
    for from in ["192.0.2.7:40000", "[2001:db8::7]:40000"].map(endpoint) {
        let response = answer(&request, from).unwrap();
        assert_eq!(parse_response(&response), Ok((TRANSACTION, from)));
    }
}

#[test]
fn a_mapped_address_is_the_ipv4_address_it_stands_for() {
    let response = answer(&request(TRANSACTION), endpoint("[::ffff:192.0.2.7]:1")).unwrap();
    let expected = Ok((TRANSACTION, endpoint("192.0.2.7:1")));
    assert_eq!(parse_response(&response), expected);
}

#[test]
fn a_short_request_gets_no_answer() {
    let mut bare = Vec::new();
    push_header(&mut bare, BINDING_REQUEST, TRANSACTION);
    let from = endpoint("192.0.2.7:40000");
    assert_eq!(answer(&bare, from), Err(Drop::StunShort));
}

#[test]
fn a_short_buffer_is_no_panic() {
    let result = respond(&request(TRANSACTION), endpoint("192.0.2.7:1"), None, &mut [0; 8]);
    assert_eq!(result, Err(Drop::Oversized));
}

#[test]
fn what_must_be_understood_and_is_not_is_refused() {
    let mut message = request(TRANSACTION);
    push_attribute(&mut message, 0x0024, &[0; 4]);
    let from = endpoint("192.0.2.7:40000");
    assert_eq!(answer(&message, from), Err(Drop::MalformedStun));

    let mut response = answer(&request(TRANSACTION), from).unwrap();
    push_attribute(&mut response, 0x0024, &[0; 4]);
    assert_eq!(parse_response(&response), Err(Drop::MalformedStun));
}

#[test]
fn the_plain_address_serves_where_there_is_no_other() {
    let seen = endpoint("192.0.2.9:9");
    let mut message = Vec::new();
    push_header(&mut message, BINDING_SUCCESS, TRANSACTION);
    push_attribute(&mut message, MAPPED_ADDRESS, &encode_address(seen));
    assert_eq!(parse_response(&message), Ok((TRANSACTION, seen)));

    let masked = xor_address(endpoint("192.0.2.7:7"), TRANSACTION);
    push_attribute(&mut message, XOR_MAPPED_ADDRESS, &encode_address(masked));
    let expected = Ok((TRANSACTION, endpoint("192.0.2.7:7")));
    assert_eq!(parse_response(&message), expected);
}

#[test]
fn a_response_is_no_request_and_the_reverse() {
    let from = endpoint("192.0.2.7:40000");
    let request = request(TRANSACTION);
    let response = answer(&request, from).unwrap();
    assert_eq!(parse_response(&request), Err(Drop::MalformedStun));
    assert_eq!(answer(&response, from), Err(Drop::MalformedStun));
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![Just(BINDING_REQUEST), Just(BINDING_SUCCESS)];
    (kinds, any::<Vec<u8>>()).prop_map(|(kind, body)| {
        let mut out = Vec::new();
        push_header(&mut out, kind, TRANSACTION);
        out.extend_from_slice(&body[..body.len() & !3]);
        let length = (out.len() - HEADER_LEN) as u16;
        out[2..4].copy_from_slice(&length.to_be_bytes());
        out
    })
}

proptest! {
    #[test]
    fn every_endpoint_survives_the_round_trip(ip: IpAddr, port: u16, transaction: Transaction) {
        let from = SocketAddr::new(ip, port);
        let response = answer(&request(transaction), from).unwrap();
        let seen = SocketAddr::new(ip.to_canonical(), port);
        prop_assert_eq!(parse_response(&response), Ok((transaction, seen)));
    }

    #[test]
    fn an_answer_is_never_longer_than_its_request(bytes in message(), ip: IpAddr) {
        if let Ok(response) = answer(&bytes, SocketAddr::new(ip, 1)) {
            prop_assert!(response.len() <= bytes.len());
        }
    }

    #[test]
    fn arbitrary_bodies_never_panic(bytes in message()) {
        let _ = parse_response(&bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = parse_response(&bytes);
        let _ = answer(&bytes, endpoint("192.0.2.7:40000"));
    }
}

#[test]
fn an_answer_from_elsewhere_is_asked_for_and_another_address_is_named() {
    let from = endpoint("192.0.2.7:40000");
    let other = endpoint("192.0.2.200:9002");
    for change in [Change { ip: true, port: true }, Change { ip: false, port: true }, Change::default()] {
        let request = request_from(TRANSACTION, change);
        assert_eq!(request.len(), REQUEST_LEN);
        let mut out = [0; RESPONSE_MAX_LEN];
        let reflection = respond(&request, from, Some(other), &mut out).unwrap();
        assert_eq!(reflection.from, change);
        let response = &out[..reflection.len];
        assert_eq!((parse_response(response), other_address(response)), (Ok((TRANSACTION, from)), Some(other)));
    }
    assert!(is_request(&request(TRANSACTION), TRANSACTION));
    assert!(!is_request(&request([0; 12]), TRANSACTION));
}

#[test]
fn another_address_never_makes_the_answer_longer_than_the_request() {
    let other = Some(endpoint("192.0.2.200:9002"));
    for from in ["192.0.2.7:1", "[2001:db8::7]:1"].map(endpoint) {
        let full = request(TRANSACTION);
        for len in (HEADER_LEN + 4..=full.len()).step_by(4) {
            let mut message = Vec::new();
            push_header(&mut message, BINDING_REQUEST, TRANSACTION);
            push_attribute(&mut message, SOFTWARE, &vec![b' '; len - HEADER_LEN - 4]);
            let mut out = [0; RESPONSE_MAX_LEN];
            let answered = respond(&message, from, other, &mut out).map_or(0, |reflection| reflection.len);
            assert!(answered <= message.len());
        }
    }
}
