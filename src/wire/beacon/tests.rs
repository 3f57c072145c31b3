//! What a beacon keeps to itself, and what it does not let pass.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use super::*;
use crate::identity::{Identity, TunnelCertificate, TunnelSecret};
use crate::wire::{Candidate, CandidateKind, Nat, Path};

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn introduction_with(hosts: usize) -> Introduction {
    let identity = Identity::generate(&mut rng(1));
    let host = |n: usize| Path::Direct(format!("[2001:db8::{n:x}]:40000").parse().unwrap());
    Introduction {
        certificate: TunnelCertificate::issue(&identity, &TunnelSecret::from_bytes([3; 32]), 1_800_000_000_000),
        hostname: Some("a".repeat(63).parse().unwrap()),
        candidates: (0..hosts).map(|n| Candidate { kind: CandidateKind::Host, path: host(n) }).collect(),
        boot: 7,
        answer: false,
        nat: Nat::default(),
        relays: false,
        friends: Vec::new(),
    }
}

fn receiver(number: u8) -> Receiver {
    Receiver { tag: [number; TAG], key: Zeroizing::new([number; 32]) }
}

fn receivers(count: u8) -> Vec<Receiver> {
    (1..=count).map(receiver).collect()
}

fn place(beacon: &Beacon<'_>, number: u8) -> usize {
    beacon.tags().find(|(_, tag)| *tag == [number; TAG]).unwrap().0
}

#[test]
fn each_receiver_opens_its_entry_and_no_other() {
    let told = introduction_with(3);
    let sealed = seal(&told, &receivers(9), &mut rng(2)).unwrap();
    let beacon = Beacon::parse(&sealed).unwrap();
    for number in 1..=9 {
        let place = place(&beacon, number);
        assert_eq!(beacon.open(place, &[number; 32]).as_ref(), Ok(&told));
        assert_eq!(beacon.open(place, &[number + 1; 32]), Err(Drop::Forged));
    }
    assert_eq!(beacon.open(99, &[1; 32]), Err(Drop::MalformedBeacon));
}

#[test]
fn the_length_says_only_whether_there_are_more_than_four_receivers() {
    let lengths = |counts: std::ops::RangeInclusive<u8>| -> BTreeSet<usize> {
        let hosts = |count: u8| usize::from(count) % 4;
        let sealed = counts.map(|count| seal(&introduction_with(hosts(count)), &receivers(count), &mut rng(2)));
        sealed.map(|sealed| sealed.unwrap().len()).collect()
    };
    assert_eq!(lengths(1..=4), BTreeSet::from([685]));
    assert_eq!(lengths(5..=16), BTreeSet::from([MAX_LEN]));
    const { assert!(MAX_LEN <= 1200) };
}

#[test]
fn two_beacons_of_one_node_have_nothing_in_common_but_their_kind() {
    let told = introduction_with(3);
    let mut rng = rng(2);
    let one = seal(&told, &[receiver(1)], &mut rng).unwrap();
    let other = seal(&told, &[receiver(2)], &mut rng).unwrap();
    let words: BTreeSet<&[u8]> = one[1..].windows(4).collect();
    assert!(other[1..].windows(4).filter(|word| words.contains(word)).count() <= 1);
}

#[test]
fn every_altered_byte_is_noticed() {
    let sealed = seal(&introduction_with(3), &[receiver(1)], &mut rng(2)).unwrap();
    let at = place(&Beacon::parse(&sealed).unwrap(), 1);
    let entry = HEADER + at * ENTRY + TAG..HEADER + (at + 1) * ENTRY;
    let altered = (1..HEADER).chain(entry).chain(HEADER + FEW * ENTRY..sealed.len());
    for byte in altered {
        let mut altered = sealed.clone();
        altered[byte] ^= 1;
        assert_eq!(Beacon::parse(&altered).unwrap().open(at, &[1; 32]), Err(Drop::Forged), "byte {byte}");
    }
}

#[test]
fn a_receiver_cannot_put_other_words_before_another() {
    let sealed = seal(&introduction_with(3), &receivers(2), &mut rng(2)).unwrap();
    let beacon = Beacon::parse(&sealed).unwrap();
    let at = place(&beacon, 1);
    let nonce = beacon.nonce;
    // The second receiver knows the content key, and so can seal a body of its own.
    let entry = beacon.entries.chunks_exact(ENTRY).nth(place(&beacon, 2)).unwrap();
    let aad = binding(&nonce, beacon.body);
    let content = cipher(&[2; 32]).decrypt(&nonce.into(), Payload { msg: &entry[TAG..], aad: &aad }).unwrap();
    let body = seal_body(&introduction_with(4), &nonce, content.as_slice().try_into().unwrap()).unwrap();
    let forged = [&sealed[..sealed.len() - BODY], &body].concat();
    assert_eq!(Beacon::parse(&forged).unwrap().open(at, &[1; 32]), Err(Drop::Forged));
}

#[test]
fn what_does_not_fit_is_not_sealed() {
    let hosts = (0..32).take_while(|hosts| fits(&introduction_with(*hosts))).count() - 1;
    assert!(hosts >= 8, "{hosts} addresses fit");
    assert!(seal(&introduction_with(hosts), &[receiver(1)], &mut rng(2)).is_some());
    assert!(seal(&introduction_with(hosts + 1), &[receiver(1)], &mut rng(2)).is_none());
}

#[test]
fn other_lengths_and_kinds_are_refused() {
    let sealed = seal(&introduction_with(1), &[receiver(1)], &mut rng(2)).unwrap();
    for wrong in [&sealed[1..], &sealed[..sealed.len() - 1], &[KIND], &[]] {
        assert_eq!(Beacon::parse(wrong), Err(Drop::MalformedBeacon));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused(seed: u64, bytes: Vec<u8>, is_many: bool) {
        let _ = Beacon::parse(&bytes);
        let mut right = vec![0; len(if is_many { MANY } else { FEW })];
        rng(seed).fill_bytes(&mut right);
        right[0] = KIND;
        let beacon = Beacon::parse(&right).unwrap();
        for (place, _) in beacon.tags() {
            prop_assert_eq!(beacon.open(place, &[1; 32]), Err(Drop::Forged));
        }
    }

    #[test]
    fn arbitrary_plain_bodies_are_refused(bytes: Vec<u8>) {
        let _ = introduction(&bytes);
    }
}
