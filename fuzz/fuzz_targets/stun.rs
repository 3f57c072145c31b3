//! STUN as server and as client.
#![no_main]

use std::net::{Ipv6Addr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use pilot::wire::stun::{RESPONSE_MAX_LEN, Reflection, parse_response, respond};

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_response(bytes);
    let from = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 40_000);
    let mut out = [0; RESPONSE_MAX_LEN];
    if let Ok(Reflection { len, .. }) = respond(bytes, from, Some(from), &mut out) {
        assert!(len <= bytes.len());
        assert_eq!(parse_response(&out[..len]).map(|(_, seen)| seen), Ok(from));
    }
});
