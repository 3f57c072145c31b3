//! Our reading of initiations that the engine made.

use proptest::prelude::*;

use super::*;
use crate::peer::testing::{Pair, initiate, secret};

/// Seeds of the pair's secrets: a, who initiates, and b.
const A: u64 = 1;
const B: u64 = 2;

#[test]
fn the_engine_s_initiations_are_read() {
    let pair = Pair::new();
    let first = read(&secret(B), &initiate(&pair.a)).unwrap();
    let second = read(&secret(B), &initiate(&pair.a)).unwrap();
    assert_eq!(first.static_key, secret(A).public());
    assert_eq!(second.static_key, first.static_key);
    assert!(second.timestamp > first.timestamp);
}

#[test]
fn the_timestamp_is_the_time() {
    let since_1970 = || {
        let now = std::time::SystemTime::now();
        now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    };
    let before = since_1970();
    let claim = read(&secret(B), &initiate(&Pair::new().a)).unwrap();
    let seconds = u64::from_be_bytes(claim.timestamp[..8].try_into().unwrap());
    // TAI64 labels count from 2^62, and this engine adds 37 leap seconds.
    let label = |unix: u64| (1 << 62) + 37 + unix;
    assert!((label(before)..=label(since_1970())).contains(&seconds));
}

#[test]
fn an_initiation_to_somebody_else_has_a_wrong_mac() {
    let initiation = initiate(&Pair::new().a);
    assert_eq!(read(&secret(3), &initiation), Err(Drop::BadMac));
}

#[test]
fn every_changed_bit_is_noticed_up_to_mac2() {
    let initiation = initiate(&Pair::new().a);
    for byte in 0..COVERED + 16 {
        let mut changed = initiation.clone();
        changed[byte] ^= 1 << (byte % 8);
        assert!(read(&secret(B), &changed).is_err(), "byte {byte}");
    }
}

#[test]
fn what_a_key_holder_forges_does_not_open() {
    let mut forged = initiate(&Pair::new().a);
    forged[90] ^= 1;
    let key = hash(LABEL_MAC1, secret(B).public().as_bytes());
    let mac = <Blake2sMac<U16> as KeyInit>::new(&key.into()).chain_update(&forged[..COVERED]);
    forged[COVERED..COVERED + 16].copy_from_slice(&mac.finalize().into_bytes());
    assert_eq!(read(&secret(B), &forged), Err(Drop::BadHandshake));
}

#[test]
fn other_lengths_are_not_ours() {
    let mut initiation = initiate(&Pair::new().a);
    initiation.push(0);
    assert_eq!(read(&secret(B), &initiation), Err(Drop::NotOurs));
    assert_eq!(read(&secret(B), &initiation[..147]), Err(Drop::NotOurs));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), shaped: bool) {
        if shaped {
            bytes.resize(INITIATION_LEN, 0);
            bytes[..4].copy_from_slice(&[1, 0, 0, 0]);
        }
        prop_assert!(read(&secret(B), &bytes).is_err());
    }
}
