//! The known answers of `docs/lane.md`, which were made by another implementation.

use std::time::Instant;

use x25519_dalek::{PublicKey as Ephemeral, StaticSecret};

use super::*;
use crate::peer::lane::session::{Handshake, Session};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn end(identity: &str, tunnel: u8, ephemeral: u8, index: u32) -> End {
    let identity = PublicKey::from_bytes(unhex(identity).try_into().unwrap()).unwrap();
    let ephemeral = Ephemeral::from(&StaticSecret::from([ephemeral; 32])).to_bytes();
    End { party: Party { identity, tunnel: TunnelKey::from_bytes([tunnel; 32]) }, ephemeral, index }
}

fn ends() -> (End, End) {
    // The public keys of the first two tests of RFC 8032, section 7.1.
    let initiator = end("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", 0x11, 0x33, 0x301);
    let responder = end("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", 0x22, 0x44, 0x502);
    (initiator, responder)
}

fn keys() -> Keys {
    let (initiator, responder) = ends();
    let shared = StaticSecret::from([0x33; 32]).diffie_hellman(&Ephemeral::from(responder.ephemeral));
    assert_eq!(hex(shared.as_bytes()), "3c528e9fd39731b15d10de8feb5f71d3f65b73c993581dedb03315a9ed177730");
    derive(shared.as_bytes(), &initiator, &responder).unwrap()
}

#[test]
fn the_keys_are_the_known_ones() {
    let keys = keys();
    assert_eq!(hex(&*keys.initiator), "16955a607779f19e57e717066f9c209b15d69eaa7365ad6eb7ece089d57f0e2a");
    assert_eq!(hex(&*keys.responder), "99fc10cd0d0030a5f272e529f478462d5b3bfbd1ee8e94506c2049b2c92e0ef9");
}

#[test]
fn the_datagrams_are_the_known_ones() {
    let session =
        |local, remote, is_ours| Session::new(Handshake { local, remote, is_ours }, &keys(), Instant::now()).unwrap();
    let (initiator, responder) = (session(0x301, 0x502, true), session(0x502, 0x301, false));
    let sealed = |session: &Session, packet: &[u8]| {
        let mut buffer = [&[0; 16], packet, &[0; 16]].concat();
        assert!(session.seal_in_place(&mut buffer));
        hex(&buffer)
    };
    assert_eq!(sealed(&initiator, b""), "0500000002050000000000000000000070ce47fa23a97b62a3430a2f1795dcdb");
    sealed(&responder, b"counter 0");
    assert_eq!(
        sealed(&responder, b"a packet of the overlay"),
        "050000000103000001000000000000000150378b8fe5250add7dcd050b5ed9c07120ffa63424ef089a1a749be6d8cde3e4113ac8eb2598"
    );
}

/// Keys depend on everything that the ends said and are.
#[test]
fn another_transcript_gives_other_keys() {
    let (initiator, responder) = ends();
    let of = |initiator: &End, responder: &End| *derive(&[1; 32], initiator, responder).unwrap().initiator;
    let usual = of(&initiator, &responder);
    let party = |tunnel| Party { tunnel: TunnelKey::from_bytes([tunnel; 32]), ..initiator.party };
    let others = [
        End { index: 0x302, ..initiator },
        End { ephemeral: [9; 32], ..initiator },
        End { party: party(9), ..initiator },
        End { party: Party { identity: responder.party.identity, ..initiator.party }, ..initiator },
    ];
    assert!(others.iter().all(|other| of(other, &responder) != usual));
    assert_ne!(of(&responder, &initiator), usual, "the ends are not exchanged");
}
