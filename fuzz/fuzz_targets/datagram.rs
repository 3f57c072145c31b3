//! Any datagram on the UDP port: classified, then read as the kind that it claims to be.
#![no_main]

use std::net::{Ipv4Addr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use pilot::wire::relay::Frame;
use pilot::wire::{Datagram, classify, stun};

fuzz_target!(|bytes: &[u8]| {
    match classify(bytes) {
        Ok(Datagram::Relay(frame)) => {
            if let Ok(Frame::Deliver { payload, .. } | Frame::Send { payload, .. }) =
                Frame::parse(frame)
            {
                let _ = classify(payload);
            }
        }
        Ok(Datagram::Stun(message)) => {
            let from = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1);
            let _ = stun::parse_response(message);
            let _ = stun::respond(message, from, None, &mut [0; stun::RESPONSE_MAX_LEN]);
        }
        _ => {}
    }
});
