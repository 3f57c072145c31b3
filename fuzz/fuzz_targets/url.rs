//! Rendezvous URLs, and the other names that people type.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilot::identity::{RendezvousUrl, Target};

fuzz_target!(|text: &str| {
    if let Ok(url) = text.parse::<RendezvousUrl>() {
        assert_eq!(url.to_string().parse(), Ok(url));
    }
    if let Ok(target) = text.parse::<Target>() {
        assert_eq!(target.to_string().parse(), Ok(target));
    }
});
