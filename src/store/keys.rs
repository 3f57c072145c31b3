//! The private keys of a node and of a rendezvous server, each in a file of its own.
//!
//! `identity.pem` and `rendezvous.pem` are Ed25519 keys as PKCS#8 PEM, `tunnel.key` the X25519 key in base64, a blank, and its serial.
//! A missing file is made; a damaged one is never replaced: an identity is somebody's address for ever.

use super::files::{self, FileError};
use crate::identity::{Identity, TunnelSecret};
use base64::{Engine, engine::general_purpose::STANDARD};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// What cannot be done with a key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is something else in the file.
    #[error(
        "{} holds no {what}: restore it from a backup; only if there is none, move it away, and the next start makes \
         a new {what}{consequence}", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// What a new one means.
        consequence: &'static str,
    },
    /// The system gave no randomness.
    #[error("the system gave no random bytes for a new key: {0}")]
    Random(getrandom::Error),
}

/// The identity in `folder`, made if there is none; of two processes at once both get the same.
pub fn identity(folder: &Path) -> Result<Identity, KeyError> {
    let path = folder.join("identity.pem");
    let text = load_or_make(&path, || Ok(Identity::generate(&mut rng()?).to_pem()))?;
    Identity::from_pem(&text).map_err(|_| KeyError::Damaged {
        path,
        what: "identity key",
        consequence: " with another address, which peers must trust anew",
    })
}

/// The key of the rendezvous server in `folder`, made if there is none; of two processes at once both get the same.
pub fn rendezvous(folder: &Path) -> Result<Identity, KeyError> {
    let path = folder.join("rendezvous.pem");
    let text = load_or_make(&path, || Ok(Identity::generate(&mut rng()?).to_pem()))?;
    Identity::from_pem(&text).map_err(|_| KeyError::Damaged {
        path,
        what: "rendezvous key",
        consequence: ", after which every node needs the new URL",
    })
}

/// The tunnel key in `folder` and its serial, made if there is none; the serial is the time in milliseconds since 1970.
pub fn tunnel(folder: &Path) -> Result<(TunnelSecret, u64), KeyError> {
    let path = folder.join("tunnel.key");
    let text = load_or_make(&path, || Ok(tunnel_text(&TunnelSecret::generate(&mut rng()?), unix_millis())))?;
    parse_tunnel(&text).ok_or(KeyError::Damaged { path, what: "tunnel key", consequence: "" })
}

type Secret = Zeroizing<String>;

fn load_or_make(path: &Path, make: impl FnOnce() -> Result<Secret, KeyError>) -> Result<Secret, KeyError> {
    if let Some(text) = load(path)? {
        return Ok(text);
    }
    let made = make()?;
    match files::create_atomic(path, made.as_bytes()) {
        Ok(()) => Ok(made),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(load(path)?.unwrap_or_default()),
        Err(error) => Err(error.into()),
    }
}

/// The text of the file; empty, and so damaged, where it is no text at all.
fn load(path: &Path) -> Result<Option<Secret>, FileError> {
    match files::read_private(path) {
        Ok(text) => Ok(text.map(Zeroizing::new)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(Secret::default())),
        Err(error) => Err(error),
    }
}

fn tunnel_text(secret: &TunnelSecret, serial: u64) -> Secret {
    let key = Zeroizing::new(STANDARD.encode(secret.to_bytes().as_slice()));
    Zeroizing::new(format!("{} {serial}\n", key.as_str()))
}

fn parse_tunnel(text: &str) -> Option<(TunnelSecret, u64)> {
    let (key, serial) = text.trim_end().split_once(' ')?;
    let key = Zeroizing::new(STANDARD.decode(key).ok()?);
    let key = key.as_slice().try_into().ok()?;
    Some((TunnelSecret::from_bytes(key), serial.parse().ok()?))
}

fn rng() -> Result<ChaCha20Rng, KeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(KeyError::Random)?;
    Ok(ChaCha20Rng::from_seed(*seed))
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn keys_are_made_once_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        let first = identity(folder.path()).unwrap().public_key();
        assert_eq!(identity(folder.path()).unwrap().public_key(), first);
        let (secret, serial) = tunnel(folder.path()).unwrap();
        let (again, same) = tunnel(folder.path()).unwrap();
        assert_eq!((again.public(), same), (secret.public(), serial));
        assert!(serial > 1_700_000_000_000);
    }

    #[test]
    fn damaged_keys_are_named_and_left_alone() {
        for damage in [&b""[..], b"-----BEGIN PRIVATE KEY-----\nAAAA\n", b"\xff\xfe\x00", b"AAAA 7"] {
            let folder = tempfile::tempdir().unwrap();
            for name in ["identity.pem", "tunnel.key"] {
                fs::write(folder.path().join(name), damage).unwrap();
            }
            let errors =
                [identity(folder.path()).err().unwrap().to_string(), tunnel(folder.path()).err().unwrap().to_string()];
            for (name, error) in ["identity.pem", "tunnel.key"].iter().zip(errors) {
                assert!(error.contains(name) && error.contains("backup"), "{error}");
                assert_eq!(fs::read(folder.path().join(name)).unwrap(), damage);
            }
        }
    }

    #[test]
    fn the_tunnel_key_reads_as_wg_writes_it() {
        let text = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk= 1700000000000\n";
        let (secret, serial) = parse_tunnel(text).unwrap();
        assert_eq!(serial, 1_700_000_000_000);
        assert_eq!(tunnel_text(&secret, serial).as_str(), text);
    }
}
