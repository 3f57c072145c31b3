//! Beacons on the LAN.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilot::wire::beacon::{Beacon, MAX_LEN};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(beacon) = Beacon::parse(bytes) {
        assert!(bytes.len() <= MAX_LEN);
        for (place, _) in beacon.tags() {
            assert!(beacon.open(place, &[9; 32]).is_err());
        }
    }
});
