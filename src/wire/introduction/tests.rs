use super::*;
use crate::identity::{Hostname, Identity, PublicKey, Target, TunnelCertificate, TunnelSecret};
use crate::wire::control::MAX_BODY;
use crate::wire::nat::{Filtering, Mapping, Nat, Ports};
use crate::wire::path::{Allocation, Candidate, CandidateKind, Path, RelayAddress};
use crate::wire::rendezvous::MAX_STATEMENT;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::net::{IpAddr, SocketAddr};

fn identity(seed: u64) -> Identity {
    Identity::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

fn certificate() -> TunnelCertificate {
    let secret = TunnelSecret::from_bytes([3; 32]);
    TunnelCertificate::issue(&identity(1), &secret, u64::MAX)
}

fn direct(port: u16) -> Candidate {
    Candidate { kind: CandidateKind::Host, path: Path::Direct(SocketAddr::new([0xfd; 16].into(), port)) }
}

fn relayed(allocation: u64) -> Candidate {
    Candidate {
        kind: CandidateKind::Relayed,
        path: Path::Relayed(RelayAddress {
            server: SocketAddr::new([0xfd; 16].into(), 65535),
            allocation: Allocation(allocation),
        }),
    }
}

fn introduction(candidates: Vec<Candidate>) -> Introduction {
    Introduction {
        certificate: certificate(),
        hostname: "h".repeat(63).parse().ok(),
        candidates,
        boot: u64::MAX,
        answer: true,
        nat: known_nat(),
        relays: true,
        friends: vec![u64::MAX; MAX_FRIENDS],
    }
}

fn known_nat() -> Nat {
    Nat {
        mapping: Mapping::AddressAndPortDependent,
        filtering: Filtering::AddressAndPortDependent,
        ports: Ports::Sequential { step: i16::MIN },
        hairpin: Some(false),
        poisonable: Some(true),
    }
}

/// An introduction as a peer without our limits might send it.
fn encoded(change: impl FnOnce(&mut messages::Introduction)) -> Vec<u8> {
    let bytes = introduction(vec![direct(1), relayed(2)]).encode();
    let mut message = messages::Introduction::decode(&bytes[..]).unwrap();
    change(&mut message);
    message.encode_to_vec()
}

fn statement() -> TrustStatement {
    let target = Target::Name("worker".parse().unwrap());
    let name = "sender".parse().ok();
    TrustStatement::sign(&identity(1), [7; 16], target, "we work together", name, 99).unwrap()
}

fn field(error: BodyError) -> &'static str {
    match error {
        BodyError::Length { field, .. } | BodyError::TooMany { field, .. } | BodyError::Invalid { field, .. } => field,
        other => panic!("{other}"),
    }
}

#[test]
fn the_largest_introduction_fits_a_control_packet() {
    let mut candidates: Vec<_> = (0..MAX_RELAYED as u64).map(|n| relayed(n + 1)).collect();
    candidates.extend((candidates.len()..MAX_CANDIDATES).map(|n| direct(65000 + n as u16)));
    let largest = introduction(candidates);
    let bytes = largest.encode();
    assert!(bytes.len() <= MAX_BODY, "{}", bytes.len());
    assert_eq!(Introduction::decode(&bytes), Ok(largest));
}

#[test]
fn the_last_candidates_over_the_limits_are_left_out() {
    let mut candidates: Vec<_> = (1..=9).map(relayed).collect();
    candidates.extend((1..=40).map(direct));
    let read = Introduction::decode(&introduction(candidates).encode()).unwrap();
    let mut expected: Vec<_> = (1..=4).map(relayed).collect();
    expected.extend((1..=28).map(direct));
    assert_eq!(read.candidates, expected);
}

#[test]
fn a_certificate_survives_and_is_the_senders_only() {
    let read = Introduction::decode(&introduction(vec![]).encode()).unwrap();
    assert!(read.certificate.verify(&identity(1).public_key()).is_ok());
    assert!(read.certificate.verify(&identity(2).public_key()).is_err());
}

#[test]
fn introductions_beyond_their_limits_are_refused() {
    type Change = fn(&mut messages::Introduction);
    let cases: [(&str, Change); 13] = [
        ("tunnel_key", |m| m.tunnel_key.truncate(31)),
        ("tunnel_signature", |m| m.tunnel_signature.push(0)),
        ("hostname", |m| m.hostname = "No-Such_Name".into()),
        ("nat.mapping", |m| m.nat.get_or_insert_default().mapping = 9),
        ("nat.ports", |m| m.nat.get_or_insert_default().step = 1 << 20),
        ("nat.hairpin or nat.poisonable", |m| m.nat.get_or_insert_default().hairpin = 9),
        ("candidate.kind", |m| m.candidates[0].kind = 0),
        ("candidate.kind", |m| m.candidates[0].kind = 9),
        ("candidate.ip", |m| m.candidates[0].ip = vec![1; 5]),
        ("candidate.port", |m| m.candidates[0].port = 0),
        ("candidate.port", |m| m.candidates[0].port = 65536),
        ("candidate.allocation", |m| m.candidates[0].allocation = 1),
        ("relayed candidates", |m| {
            m.candidates = vec![m.candidates[1].clone(); MAX_RELAYED + 1];
        }),
    ];
    for (expected, change) in cases {
        let error = Introduction::decode(&encoded(change)).unwrap_err();
        assert_eq!(field(error), expected);
    }
    let crowd = encoded(|m| m.candidates = vec![m.candidates[0].clone(); MAX_CANDIDATES + 1]);
    assert_eq!(field(Introduction::decode(&crowd).unwrap_err()), "candidates");
}

#[test]
fn a_body_longer_than_any_valid_one_is_refused_before_it_is_read() {
    let error = Introduction::decode(&vec![0xff; MAX_BODY + 1]).unwrap_err();
    assert!(matches!(error, BodyError::TooLong { .. }), "{error}");
}

#[test]
fn a_statement_is_signed_whole() {
    let signed = statement();
    assert_eq!(signed.verify(&identity(1).public_key()), Ok(()));
    let other = identity(2).public_key();
    assert_eq!(signed.verify(&other), Err(BodyError::Signature));

    type Change = fn(&mut messages::TrustStatement);
    let changes: [Change; 6] = [
        |m| m.nonce[0] ^= 1,
        |m| m.reason.push('!'),
        |m| m.hostname = String::new(),
        |m| m.unix_millis += 1,
        |m| m.target = "somebody-else".into(),
        |m| m.signature[0] ^= 1,
    ];
    for change in changes {
        let mut message = messages::TrustStatement::decode(&signed.encode()[..]).unwrap();
        change(&mut message);
        let changed = TrustStatement::decode(&message.encode_to_vec()).unwrap();
        let result = changed.verify(&identity(1).public_key());
        assert_eq!(result, Err(BodyError::Signature), "{changed:?}");
    }
}

#[test]
fn text_cannot_move_between_fields_under_one_signature() {
    let mut message = messages::TrustStatement::decode(&statement().encode()[..]).unwrap();
    message.reason.push('s');
    message.hostname.remove(0);
    let moved = TrustStatement::decode(&message.encode_to_vec()).unwrap();
    let result = moved.verify(&identity(1).public_key());
    assert_eq!(result, Err(BodyError::Signature));
}

#[test]
fn statements_beyond_their_limits_are_refused() {
    type Change = fn(&mut messages::TrustStatement);
    let cases: [(&str, Change); 6] = [
        ("nonce", |m| m.nonce.truncate(15)),
        ("reason", |m| m.reason = "r".repeat(MAX_REASON + 1)),
        ("reason", |m| m.reason = "\u{1b}[2Jcleared".into()),
        ("hostname", |m| m.hostname = "-".into()),
        ("target", |m| m.target = "A1B2.C3D4.E5F6".into()),
        ("signature", |m| m.signature.clear()),
    ];
    for (expected, change) in cases {
        let mut message = messages::TrustStatement::decode(&statement().encode()[..]).unwrap();
        change(&mut message);
        let error = TrustStatement::decode(&message.encode_to_vec()).unwrap_err();
        assert_eq!(field(error), expected);
    }
}

#[test]
fn a_reason_is_checked_before_it_is_signed() {
    let sign = |reason: &str| {
        let target = Target::Key(identity(2).public_key());
        TrustStatement::sign(&identity(1), [0; 16], target, reason, None, 0)
    };
    assert_eq!(field(sign("two\nlines").unwrap_err()), "reason");
    let longest = sign(&"r".repeat(MAX_REASON)).unwrap();
    assert!(longest.encode().len() <= MAX_STATEMENT);
}

/// The public keys of RFC 8032, section 7.1, tests 1 and 2.
const RFC_8032_KEY_1: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72,
    0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];
const RFC_8032_KEY_2: [u8; 32] = [
    0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a, 0x92, 0xb7, 0x0a, 0xa7, 0x4d, 0x1b, 0x7e, 0xbc, 0x9c, 0x98, 0x2c,
    0xcf, 0x2e, 0xc4, 0x96, 0x8c, 0xc0, 0xcd, 0x55, 0xf1, 0x2a, 0xf4, 0x66, 0x0c,
];
const PROOF: [u8; 32] = [
    0x92, 0x1e, 0x37, 0x6b, 0x56, 0xe4, 0xd7, 0x6e, 0xbc, 0x3b, 0x22, 0x74, 0xfa, 0xa7, 0x53, 0x55, 0x31, 0x65, 0x67,
    0xb5, 0x71, 0xc9, 0x39, 0x28, 0x95, 0xd1, 0x15, 0x28, 0xc3, 0x82, 0x33, 0xe5,
];

/// Cross-checked with Python: hmac.new(bytes([5] * 16), inviter + joiner, "sha256").
#[test]
fn a_redemption_is_this_proof() {
    let inviter = PublicKey::from_bytes(RFC_8032_KEY_1).unwrap();
    let joiner = PublicKey::from_bytes(RFC_8032_KEY_2).unwrap();
    let redemption = Redemption::new(&[5; 16], &inviter, &joiner, [6; 16], None);
    let message = messages::Redemption::decode(&redemption.encode()[..]).unwrap();
    assert_eq!(message.proof, PROOF);
}

#[test]
fn a_redemption_proves_one_secret_to_one_inviter_for_one_joiner() {
    let [inviter, joiner, other] = [1, 2, 3].map(|seed| identity(seed).public_key());
    let sent = Redemption::new(&[5; 16], &inviter, &joiner, [6; 16], "worker".parse().ok());
    let read = Redemption::decode(&sent.encode()).unwrap();
    assert_eq!(read, sent);
    assert!(read.proves(&[5; 16], &inviter, &joiner));
    assert!(!read.proves(&[4; 16], &inviter, &joiner));
    assert!(!read.proves(&[5; 16], &other, &joiner));
    assert!(!read.proves(&[5; 16], &inviter, &other));
    assert!(!read.proves(&[5; 16], &joiner, &inviter));
}

#[test]
fn kinds_are_their_numbers() {
    for kind in 0..=u8::MAX {
        match EnvelopeKind::try_from(kind) {
            Ok(known) => assert_eq!(known as u8, kind),
            Err(reason) => assert_eq!((reason, (1..=4).contains(&kind)), (Drop::MalformedEnvelope, false)),
        }
    }
}

fn hostname() -> impl Strategy<Value = Option<Hostname>> {
    proptest::option::of("[a-z0-9]{1,20}").prop_map(|name| name.and_then(|name| name.parse().ok()))
}

fn nat() -> impl Strategy<Value = Nat> {
    let ports = prop_oneof![
        Just(Ports::Unknown),
        Just(Ports::Preserved),
        Just(Ports::Random),
        any::<i16>().prop_map(|step| Ports::Sequential { step })
    ];
    let mapping = prop::sample::select(vec![
        Mapping::Unknown,
        Mapping::None,
        Mapping::EndpointIndependent,
        Mapping::AddressDependent,
        Mapping::AddressAndPortDependent,
    ]);
    let filtering = prop::sample::select(vec![
        Filtering::Unknown,
        Filtering::EndpointIndependent,
        Filtering::AddressDependent,
        Filtering::AddressAndPortDependent,
    ]);
    (mapping, filtering, ports, any::<Option<bool>>(), any::<Option<bool>>()).prop_map(
        |(mapping, filtering, ports, hairpin, poisonable)| Nat { mapping, filtering, ports, hairpin, poisonable },
    )
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let kinds = prop_oneof![
        Just(CandidateKind::Host),
        Just(CandidateKind::Mapped),
        Just(CandidateKind::Reflexive),
        Just(CandidateKind::Relayed)
    ];
    (kinds, any::<IpAddr>(), 1..=u16::MAX, any::<u64>()).prop_map(|(kind, ip, port, number)| {
        let endpoint = SocketAddr::new(ip, port);
        let path = match kind {
            CandidateKind::Relayed => Path::Relayed(RelayAddress { server: endpoint, allocation: Allocation(number) }),
            _ => Path::Direct(endpoint),
        };
        Candidate { kind, path }
    })
}

proptest! {
    #[test]
    fn introductions_round_trip(
        candidates in vec(candidate(), 0..=MAX_RELAYED),
        hostname in hostname(),
        boot: u64,
        answer: bool,
        nat in nat(),
        relays: bool,
        friends in vec(any::<u64>(), 0..=MAX_FRIENDS),
    ) {
        let sent = Introduction { certificate: certificate(), hostname, candidates, boot, answer, nat, relays, friends };
        prop_assert_eq!(Introduction::decode(&sent.encode()), Ok(sent));
    }

    #[test]
    fn statements_round_trip(reason in "\\PC{0,100}", hostname in hostname(), unix_millis: u64, nonce: Nonce) {
        let sender = identity(1);
        let target = Target::Key(sender.public_key());
        let sent = TrustStatement::sign(&sender, nonce, target, &reason, hostname, unix_millis).unwrap();
        let read = TrustStatement::decode(&sent.encode()).unwrap();
        prop_assert_eq!(read.verify(&sender.public_key()), Ok(()));
        prop_assert_eq!(read, sent);
    }

    #[test]
    fn answers_round_trip(nonce: Nonce, approved: bool, hostname in hostname()) {
        let sent = TrustAnswer { nonce, approved, hostname };
        prop_assert_eq!(TrustAnswer::decode(&sent.encode()), Ok(sent));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Introduction::decode(&bytes);
        let _ = TrustStatement::decode(&bytes);
        let _ = TrustAnswer::decode(&bytes);
        let _ = Redemption::decode(&bytes);
    }

    #[test]
    fn damaged_bodies_never_panic(index: prop::sample::Index, value: u8) {
        for mut bytes in [introduction(vec![direct(1), relayed(2)]).encode(), statement().encode()] {
            let index = index.index(bytes.len());
            bytes[index] = value;
            let _ = Introduction::decode(&bytes);
            let _ = TrustStatement::decode(&bytes);
        }
    }
}
