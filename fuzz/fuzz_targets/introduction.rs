//! The bodies of envelopes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilot::wire::introduction::{Introduction, Redemption, TrustAnswer, TrustStatement};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(body) = Introduction::decode(bytes) {
        assert_eq!(Introduction::decode(&body.encode()), Ok(body));
    }
    if let Ok(body) = TrustStatement::decode(bytes) {
        assert!(!body.reason().chars().any(char::is_control));
        assert_eq!(TrustStatement::decode(&body.encode()), Ok(body));
    }
    if let Ok(body) = TrustAnswer::decode(bytes) {
        assert_eq!(TrustAnswer::decode(&body.encode()), Ok(body));
    }
    if let Ok(body) = Redemption::decode(bytes) {
        assert_eq!(Redemption::decode(&body.encode()), Ok(body));
    }
});
