use rustls::pki_types::ServerName;

use super::*;
use rand_core::OsRng;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The key that the server sees, or its error.
async fn handshake(client: ClientConfig, server: &Identity) -> std::io::Result<PublicKey> {
    let (near, far) = tokio::io::duplex(4096);
    let acceptor = TlsAcceptor::from(Arc::new(server_config(server).unwrap()));
    let name = ServerName::try_from("rendezvous.test").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let (accepted, _connected) = tokio::join!(acceptor.accept(far), connector.connect(name, near));
    let accepted = accepted?;
    Ok(public_key(&accepted.get_ref().1.peer_certificates().unwrap()[0]).unwrap())
}

#[tokio::test]
async fn the_server_learns_the_clients_key() {
    let (client, server) = (Identity::generate(&mut OsRng), Identity::generate(&mut OsRng));
    let config = client_config(&client, server.public_key()).unwrap();
    assert_eq!(handshake(config, &server).await.unwrap(), client.public_key());
}

#[tokio::test]
async fn a_client_without_a_key_is_refused() {
    let server = Identity::generate(&mut OsRng);
    let provider = Arc::new(ring::default_provider());
    let verifier = PinnedServer { key: server.public_key(), algorithms: provider.signature_verification_algorithms };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    assert!(handshake(config, &server).await.is_err());
}

#[tokio::test]
async fn a_client_that_shows_anothers_key_is_refused() {
    let (thief, victim) = (Identity::generate(&mut OsRng), Identity::generate(&mut OsRng));
    let server = Identity::generate(&mut OsRng);
    let provider = ring::default_provider();
    let honest = certified_key(&thief, &provider).unwrap();
    let shown = [&SPKI_PREFIX[..], victim.public_key().as_bytes()].concat();
    let forged = CertifiedKey::new(vec![CertificateDer::from(shown)], honest.key.clone());
    let mut config = client_config(&thief, server.public_key()).unwrap();
    config.client_auth_cert_resolver = Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(forged)));
    assert!(handshake(config, &server).await.is_err());
}
