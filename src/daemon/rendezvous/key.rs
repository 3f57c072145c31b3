//! The server's identity in its file, and the secret that follows from it.

use std::io::ErrorKind;
use std::path::Path;

use blake2::{Blake2s256, Digest};
use rand_core::OsRng;
use zeroize::Zeroizing;

use super::StartError;
use crate::identity::Identity;
use crate::store::files;

const FILE_NAME: &str = "rendezvous.pem";
/// Keeps the secret apart from all other uses of the key.
const SECRET_DOMAIN: &[u8] = b"pilot-relay-allocation-v1";

/// Reads the key of a state folder, or makes it; of two processes that make it at once, both end up with the same.
pub fn load_or_create(state: &Path) -> Result<Identity, StartError> {
    let path = state.join(FILE_NAME);
    if let Some(identity) = load(&path)? {
        return Ok(identity);
    }
    let identity = Identity::generate(&mut OsRng);
    match files::create_atomic(&path, identity.to_pem().as_bytes()) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Ok(load(&path)?.unwrap_or(identity))
        }
        created => created.map(|()| identity).map_err(StartError::from),
    }
}

fn load(path: &Path) -> Result<Option<Identity>, StartError> {
    let Some(pem) = files::read_private(path)?.map(Zeroizing::new) else {
        return Ok(None);
    };
    let identity = Identity::from_pem(&pem);
    identity.map(Some).map_err(|source| StartError::Key {
        path: path.to_owned(),
        source,
    })
}

/// Makes relay allocations unguessable, and the same after a restart.
pub fn allocation_secret(identity: &Identity) -> Zeroizing<[u8; 32]> {
    let digest = Blake2s256::new()
        .chain_update(SECRET_DOMAIN)
        .chain_update(&*identity.to_pkcs8_der());
    Zeroizing::new(digest.finalize().into())
}
