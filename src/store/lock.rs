//! One process a state folder: a lock file that the kernel releases when its owner is gone.
//!
//! Comes in: the path of the lock file. Goes out: a [`Lock`] to keep for as long as the state is used, or an error that
//! names the process in the way.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::files::{FILE_MODE, FileError};

/// Held while it lives; the file itself stays, with the number of the last owner's process in it.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another living process holds it.
    #[error(
        "another {program} (pid {owner}) already uses {}; stop it, or name another folder with --state",
        folder.display()
    )]
    Taken {
        /// What kind of process holds it, as the caller named itself.
        program: &'static str,
        /// Its process ID as it wrote it, or `unknown`.
        owner: String,
        /// The state folder.
        folder: PathBuf,
    },
    /// The lock file cannot be used at all.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Lock {
    /// Takes the lock at `path` for `program` (`pilotd`, `rendezvous server`) without waiting.
    pub fn acquire(path: &Path, program: &'static str) -> Result<Lock, LockError> {
        let fail = |error| FileError::new("lock", path, error);
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(&mut file, path, program)),
            Err(TryLockError::Error(error)) => return Err(fail(error).into()),
        }
        sign(&mut file).map_err(fail)?;
        Ok(Lock { file })
    }
}

impl Drop for Lock {
    /// Unlocks in so many words: closing alone leaves the lock with a child process that is about to start, until it
    /// has closed its copy of the descriptor.
    fn drop(&mut self) {
        // A lock that cannot be released ends with the process.
        let _ = self.file.unlock();
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

fn taken(file: &mut File, path: &Path, program: &'static str) -> LockError {
    let mut text = String::new();
    let owner = match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "unknown".to_owned(),
    };
    LockError::Taken { program, owner, folder: path.parent().unwrap_or(path).to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_told_who_is_first_and_follows_after_release() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::acquire(&path, "pilotd").unwrap();
        let text = Lock::acquire(&path, "pilotd").unwrap_err().to_string();
        assert!(text.contains(&format!("another pilotd (pid {})", std::process::id())), "{text}");
        drop(first);
        Lock::acquire(&path, "pilotd").unwrap();
    }
}
