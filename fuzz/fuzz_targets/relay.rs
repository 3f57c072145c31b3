//! Relay frames.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilot::wire::relay::{Frame, bound, deliver_header, send_header};

const KEY: [u8; 32] = [9; 32];

fuzz_target!(|bytes: &[u8]| match Frame::parse(bytes) {
    Ok(Frame::Bind(binding) | Frame::Bound(binding)) => {
        if binding.verify(&KEY).is_ok() {
            assert!(bound(binding.session, &KEY, binding.nonce).len() <= bytes.len());
        }
    }
    Ok(Frame::Send {
        session,
        destination,
        payload,
    }) => {
        assert_eq!(
            [&send_header(session, destination)[..], payload].concat(),
            bytes
        );
    }
    Ok(Frame::Deliver {
        source,
        destination,
        payload,
    }) => {
        assert_eq!(
            [&deliver_header(source, destination)[..], payload].concat(),
            bytes
        );
    }
    Err(_) => {}
});
