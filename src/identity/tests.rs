//! The test vectors of `docs/addresses.md`, and what the tests of this room share.

use super::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const DOCS: &str = include_str!("../../docs/addresses.md");

/// Randomness that repeats.
pub(super) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// The same identity for the same seed.
pub(super) fn identity(seed: u64) -> Identity {
    Identity::generate(&mut rng(seed))
}

/// The cells of the row of the docs that begins with this cell, without the code marks.
fn row(first: &str) -> Vec<&'static str> {
    let cells = |line: &'static str| -> Vec<&str> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect()
    };
    let mut rows = DOCS.lines().map(cells).filter(|cells| cells[0] == first);
    let row = rows.next().unwrap_or_else(|| panic!("no row {first} in docs/addresses.md"));
    assert!(rows.next().is_none(), "two rows {first} in docs/addresses.md");
    row[1..].to_vec()
}

fn hex<const N: usize>(text: &str) -> [u8; N] {
    assert_eq!(text.len(), 2 * N);
    std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
}

/// The identity of a documented secret key.
fn documented(name: &str) -> Identity {
    let base64 = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        [hex::<16>("302e020100300506032b657004220420").as_slice(), &hex::<32>(row(name)[0])].concat(),
    );
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
    Identity::from_pem(&pem).unwrap()
}

#[test]
fn documented_node_ids_are_derived() {
    for name in ["A", "B", "C"] {
        let [_, key, node, ipv6] = row(name)[..] else { panic!("four cells for {name}") };
        let public = documented(name).public_key();
        assert_eq!(public.to_string(), key);
        assert_eq!(NodeId::derive(&public).to_string(), node);
        let address = Address { network: Network(0), node: node.parse().unwrap() };
        assert_eq!(Prefix::default().ipv6(address).to_string(), ipv6);
    }
}

#[test]
fn documented_certificate_is_issued_and_verified() {
    let secret = TunnelSecret::from_bytes(hex(row("tunnel secret")[0]));
    let serial = row("serial")[0].parse().unwrap();
    let certificate = TunnelCertificate::issue(&documented("A"), &secret, serial);
    assert_eq!(certificate.key.to_string(), row("public key of it")[0]);
    assert_eq!(certificate.signature, hex(row("signature")[0]));
    assert_eq!(certificate.verify(&documented("A").public_key()), Ok(()));
}

#[test]
fn documented_token_is_read_and_written() {
    let text = row("token")[0];
    let token: Token = text.parse().unwrap();
    assert_eq!(token.to_text().as_str(), text);
    assert_eq!(token.rendezvous.to_string(), row("rendezvous")[0]);
    assert_eq!(token.inviter, documented("B").public_key());
    assert_eq!(token.network, Network(0));
    assert_eq!(token.secret, hex(row("secret")[0]));
    assert_eq!(token.expires.to_string(), row("expires")[0]);
}

#[test]
fn documented_envelope_is_opened() {
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let sealed = base64::Engine::decode(&engine, row("envelope")[0]).unwrap();
    let opened = envelope::open(&documented("A"), &sealed).unwrap();
    assert_eq!(opened.sender, documented("B").public_key());
    assert_eq!((opened.kind, opened.body.as_slice()), (1, b"hello".as_slice()));
}

/// The example in each refusal is one that works.
#[test]
fn refusals_show_examples_that_are_right() {
    fn check<T: std::str::FromStr<Err = IdentityError>>(example: &str) {
        assert!(example.parse::<T>().is_ok(), "{example}");
        let Err(error) = "?".parse::<T>() else { panic!("? was taken") };
        assert!(error.to_string().contains(example), "{error} lacks {example}");
    }
    check::<PublicKey>("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    check::<NodeId>("a1b2.c3d4.e5f6");
    check::<Network>("0");
    check::<Address>("0:a1b2.c3d4.e5f6");
    check::<SocketAddress>("0:a1b2.c3d4.e5f6:1000");
    check::<Prefix>("fd50:494c:4f54::/48");
    check::<Hostname>("worker-1");
    check::<TunnelKey>("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=");
    check::<Host>("rendezvous.example.org");
    for form in ["a1b2.c3d4.e5f6", "0:a1b2.c3d4.e5f6", "fd50:494c:4f54::a1b2:c3d4:e5f6", "worker-1"] {
        check::<Target>(form);
    }
}
