//! Envelopes: bytes as they come, and bodies that a stranger sealed properly.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilot::identity::{Identity, envelope};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

fuzz_target!(|bytes: &[u8]| {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let sender = Identity::generate(&mut rng);
    let recipient = Identity::generate(&mut rng);
    let _ = envelope::open(&recipient, bytes);
    if let [kind, body @ ..] = bytes {
        let sealed = envelope::seal(&sender, &recipient.public_key(), *kind, body, &mut rng);
        match envelope::open(&recipient, &sealed) {
            Ok(opened) => assert_eq!((opened.kind, &opened.body[..]), (*kind, body)),
            Err(_) => assert!(body.len() > envelope::MAX_BODY),
        }
    }
});
