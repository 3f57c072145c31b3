//! TLS 1.3 with raw Ed25519 keys on both sides (RFC 7250) in place of certificates.
//!
//! Comes in: our identity, and for a client the key that the server must own. Goes out: configurations for rustls, and
//! the key that a peer proved. No session is resumed: each connection proves both keys anew.

#[cfg(test)]
mod tests;
mod verify;

use std::sync::Arc;

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, Error, PeerIncompatible, ServerConfig};

use verify::{AnyNode, PinnedServer};

use super::ALPN;
use crate::identity::{Identity, PublicKey};

/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The client's side: proves `identity` to a server that must prove `server`.
pub fn client_config(identity: &Identity, server: PublicKey) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let resolver = AlwaysResolvesClientRawPublicKeys::new(certified_key(identity, &provider)?);
    let verifier = PinnedServer { key: server, algorithms: provider.signature_verification_algorithms };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(resolver));
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// The server's side: proves `identity` to clients that must prove a key, whichever it is.
pub fn server_config(identity: &Identity) -> Result<ServerConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let resolver = AlwaysResolvesServerRawPublicKeys::new(certified_key(identity, &provider)?);
    let verifier = AnyNode { algorithms: provider.signature_verification_algorithms };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(resolver));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// The key in a raw public key that a peer showed; nothing where it is no Ed25519 key of a node.
pub fn public_key(shown: &CertificateDer<'_>) -> Option<PublicKey> {
    let bytes = shown.as_ref().strip_prefix(&SPKI_PREFIX)?;
    PublicKey::try_from(bytes).ok()
}

/// Whether the handshake failed because the server owns another key than the one pinned.
pub fn is_wrong_key(error: &Error) -> bool {
    *error == WRONG_KEY
}

/// Whether the other side shows certificates, or asks for them, as an ordinary web server does.
pub fn is_no_pilot_server(error: &Error) -> bool {
    matches!(
        error,
        Error::PeerIncompatible(
            PeerIncompatible::IncorrectCertificateTypeExtension | PeerIncompatible::UnsolicitedCertificateTypeExtension
        ) | Error::NoApplicationProtocol
            | Error::InvalidMessage(_)
    )
}

const WRONG_KEY: Error = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);

fn certified_key(identity: &Identity, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, Error> {
    // rustls takes ownership of the DER and zeroizes it itself.
    let der = PrivatePkcs8KeyDer::from(identity.to_pkcs8_der().to_vec());
    let key = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(der))?;
    let shown = [&SPKI_PREFIX[..], identity.public_key().as_bytes()].concat();
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(shown)], key)))
}
