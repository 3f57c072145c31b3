//! A count that never goes back, not even after a crash: how far it may have come stands in a small file.
//!
//! Comes in: up to where numbers are to be used. Goes out, after a restart: a number that none was used above. A clean
//! stop writes the exact one.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::files::{FileError, keep_aside, read_private, write_atomic};

/// The file of one count.
#[derive(Clone, Debug)]
pub struct SequenceFile {
    path: PathBuf,
}

impl SequenceFile {
    /// Opens the count at `path`, and gives the number to go on with; a new one begins with 1. A file that cannot be
    /// understood is kept aside, and counting goes on with the microseconds since 1970, which no count has reached.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(path: &Path) -> Result<(u64, SequenceFile), FileError> {
        let first = match read_private(path)? {
            None => 1,
            Some(text) => match text.trim().parse() {
                Ok(next) => next,
                Err(_) => {
                    let aside = keep_aside(path)?;
                    tracing::warn!("{} holds no number; it is kept as {}", path.display(), aside.display());
                    micros_since_1970()
                }
            },
        };
        Ok((first, SequenceFile { path: path.to_owned() }))
    }

    /// Makes it durable that after a restart counting goes on with `next`.
    ///
    /// # Errors
    /// The file could not be written; what stood in it still does.
    pub fn write(&self, next: u64) -> Result<(), FileError> {
        write_atomic(&self.path, format!("{next}\n").as_bytes())
    }
}

fn micros_since_1970() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_goes_on_where_it_may_have_come_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.seq");
        let (first, file) = SequenceFile::open(&path).unwrap();
        assert_eq!(first, 1);
        file.write(1 << 24).unwrap();
        assert_eq!(SequenceFile::open(&path).unwrap().0, 1 << 24);
        file.write(7).unwrap();
        assert_eq!(SequenceFile::open(&path).unwrap().0, 7);
    }

    #[test]
    fn a_file_that_is_no_number_never_makes_the_count_smaller() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.seq");
        std::fs::write(&path, "garbage").unwrap();
        assert!(SequenceFile::open(&path).unwrap().0 > 1 << 50);
        assert!(!path.exists());
    }
}
