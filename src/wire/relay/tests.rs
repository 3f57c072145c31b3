use super::*;
use proptest::prelude::*;

fn credential() -> RelayCredential {
    RelayCredential { session: 0x0102_0304_0506_0708, key: [9; 32], allocation: Allocation(77) }
}

/// Cross-checked with Python: hashlib.blake2s(bytes(covered), digest_size=16, key=bytes([9]*32)).
#[test]
fn a_bind_is_these_bytes() {
    let frame = bind(&credential(), 0x1112_1314_1516_1718);
    assert_eq!(frame[..4], [0x10, 0, 0, 0]);
    assert_eq!(frame[4..12], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(frame[12..20], [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
    assert_eq!(
        frame[20..36],
        [0xe3, 0x03, 0x36, 0xe0, 0xd0, 0xd8, 0xcf, 0x75, 0x77, 0x18, 0x20, 0xd6, 0x07, 0x5b, 0x87, 0x4f]
    );
    assert_eq!(frame[36..], [0; 4]);
}

#[test]
fn a_binding_proves_its_key() {
    let credential = credential();
    let frame = bind(&credential, 5);
    let Ok(Frame::Bind(binding)) = Frame::parse(&frame) else { panic!("not a Bind") };
    assert_eq!((binding.session, binding.nonce), (credential.session, 5));
    assert_eq!(binding.verify(&credential.key), Ok(()));
    assert_eq!(binding.verify(&[8; 32]), Err(Drop::RelayBadMac));
}

#[test]
fn a_bind_cannot_be_turned_into_a_bound() {
    let mut frame = bind(&credential(), 5);
    frame[0] = BOUND;
    let Ok(Frame::Bound(binding)) = Frame::parse(&frame) else { panic!("not a Bound") };
    assert_eq!(binding.verify(&[9; 32]), Err(Drop::RelayBadMac));
    assert_eq!(bound(credential().session, &[9; 32], 5).len(), frame.len());
}

#[test]
fn short_long_and_unknown_frames_are_refused() {
    let frame = bind(&credential(), 5);
    for len in 0..BIND_LEN {
        assert_eq!(Frame::parse(&frame[..len]), Err(Drop::MalformedRelay));
    }
    assert_eq!(Frame::parse(&[&frame[..], &[0]].concat()), Err(Drop::MalformedRelay));
    let unknown = header(0x14, 1, 2);
    assert_eq!(Frame::parse(&unknown), Err(Drop::MalformedRelay));
    let mut reserved = header(SEND, 1, 2);
    reserved[3] = 1;
    assert_eq!(Frame::parse(&reserved), Err(Drop::MalformedRelay));
}

proptest! {
    #[test]
    fn send_and_deliver_round_trip(a: u64, b: u64, payload: Vec<u8>) {
        let sent = [&send_header(a, Allocation(b))[..], &payload].concat();
        let expected = Frame::Send { session: a, destination: Allocation(b), payload: &payload };
        prop_assert_eq!(Frame::parse(&sent), Ok(expected));

        let delivered = [&deliver_header(Allocation(a), Allocation(b))[..], &payload].concat();
        let expected = Frame::Deliver {
            source: Allocation(a),
            destination: Allocation(b),
            payload: &payload,
        };
        prop_assert_eq!(Frame::parse(&delivered), Ok(expected));
    }

    #[test]
    fn a_changed_bit_is_noticed(nonce: u64, bit in 0..36 * 8_usize) {
        let credential = credential();
        let mut frame = bind(&credential, nonce);
        frame[bit / 8] ^= 1 << (bit % 8);
        if let Ok(Frame::Bind(binding) | Frame::Bound(binding)) = Frame::parse(&frame) {
            prop_assert_eq!(binding.verify(&credential.key), Err(Drop::RelayBadMac));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, kind in 0x10..0x20_u8) {
        let _ = Frame::parse(&bytes);
        let framed = [&[kind, 0, 0, 0][..], &bytes].concat();
        let _ = Frame::parse(&framed);
    }
}
