//! Why a server does not start, and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::store::database::DatabaseError;
use crate::store::files::FileError;
use crate::store::keys::KeyError;
use crate::store::lock::LockError;

/// What keeps a rendezvous server from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or folder of the state.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another server uses the state.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The server's key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A port that leaves no room for the two behind it.
    #[error("cannot listen on {0}: the UDP ports are the next two; choose a port up to 65533 with --listen")]
    Port(SocketAddr),
    /// A socket could not be had.
    #[error("cannot listen on {protocol} {address}: {source}; choose another address or port with --listen")]
    Bind {
        /// TCP or UDP.
        protocol: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The status socket could not be made.
    #[error("cannot make the status socket {}: {source}; use a shorter or a writable --state", path.display())]
    Status {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

impl StartError {
    /// Whether this machine does not speak the address's family at all.
    pub(super) fn is_for_lack_of_family(&self) -> bool {
        let StartError::Bind { source, .. } = self else { return false };
        let lacking = [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL];
        source.raw_os_error().is_some_and(|code| lacking.contains(&Errno::from_raw(code)))
    }
}
