//! Control packets inside tunnels.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilot::wire::control::{encode, parse};

fuzz_target!(|bytes: &[u8]| {
    if let Ok((sender, receiver, control)) = parse(bytes) {
        let packet = encode(sender, receiver, &control);
        assert!(packet.len() <= 1280);
        assert_eq!(parse(&packet), Ok((sender, receiver, control)));
    }
});
