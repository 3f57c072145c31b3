//! Small private files that are always whole: written aside, synced, then renamed into place.
//!
//! Comes in: a path and bytes. Goes out: the file with mode 0600 in a folder with mode 0700, durable on return.
//! What stands in a file is left to the callers.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Mode of every file written here: the owner alone reads and writes.
pub const FILE_MODE: u32 = 0o600;
/// Mode of every folder made here: the owner alone enters.
pub const DIRECTORY_MODE: u32 = 0o700;

/// A file operation that failed, with the file and the attempt named.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} {}: {source}{}", path.display(), advice(source))]
pub struct FileError {
    attempt: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl FileError {
    /// Names what was tried on which path, for the text of the error.
    pub fn new(attempt: &'static str, path: &Path, source: io::Error) -> FileError {
        FileError { attempt, path: path.to_owned(), source }
    }

    /// What the operating system said.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => " (run as the owner of the state folder, or name another with --state)",
        io::ErrorKind::StorageFull => " (the disk is full: free some space; the old content is untouched)",
        io::ErrorKind::ReadOnlyFilesystem => " (name a writable folder with --state)",
        _ => "",
    }
}

/// Makes `path` and what is missing above it, with mode 0700; an existing folder keeps its mode.
pub fn make_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(|error| FileError::new("make the folder", path, error))
}

/// Puts `bytes` at `path`, replacing what was there; after a crash the file holds the old or the new bytes, never a mix.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let staged = Staged::write(path, bytes)?;
    fs::rename(&staged.path, path).map_err(|error| FileError::new("write", path, error))?;
    sync_parent(path)
}

/// Puts `bytes` at `path` only where nothing is: of two at once, one succeeds and the other gets `AlreadyExists`.
pub fn create_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let staged = Staged::write(path, bytes)?;
    fs::hard_link(&staged.path, path).map_err(|error| FileError::new("create", path, error))?;
    sync_parent(path)
}

/// The text of a private file, or nothing where there is no such file. A file that others may read is closed to them.
pub fn read_private(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => make_private(path).map(|()| Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new("read", path, error)),
    }
}

/// Sets mode 0600 on a file that has another.
pub fn make_private(path: &Path) -> Result<(), FileError> {
    let fail = |error| FileError::new("set mode 0600 on", path, error);
    let mode = fs::metadata(path).map_err(fail)?.permissions().mode() & 0o7777;
    if mode == FILE_MODE { Ok(()) } else { fs::set_permissions(path, Permissions::from_mode(FILE_MODE)).map_err(fail) }
}

/// Renames an unreadable file to `NAME.corrupt-UNIXTIME` beside it, so that nothing is lost; gives the new path.
pub fn keep_aside(path: &Path) -> Result<PathBuf, FileError> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let aside = free_name(path, seconds);
    fs::rename(path, &aside).map_err(|error| FileError::new("keep aside", path, error))?;
    sync_parent(path)?;
    Ok(aside)
}

/// The first of `NAME.corrupt-SECONDS`, `NAME.corrupt-SECONDS.1`, … that no file has yet.
fn free_name(path: &Path, seconds: u64) -> PathBuf {
    let plain = with_suffix(path, &format!(".corrupt-{seconds}"));
    let mut free = plain.clone();
    let mut number = 0u32;
    while free.exists() {
        number += 1;
        free = with_suffix(&plain, &format!(".{number}"));
    }
    free
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes a rename in the folder of `path` survive power loss.
fn sync_parent(path: &Path) -> Result<(), FileError> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(|error| FileError::new("sync", parent, error))
}

/// A complete, synced file under a temporary name in the folder of its target; removed when dropped.
struct Staged {
    path: PathBuf,
}

impl Staged {
    fn write(target: &Path, bytes: &[u8]) -> Result<Staged, FileError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let staged = Staged { path: with_suffix(target, &format!(".tmp-{}-{number}", std::process::id())) };
        staged.fill(bytes).map_err(|error| FileError::new("write", target, error))?;
        Ok(staged)
    }

    fn fill(&self, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(FILE_MODE).open(&self.path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_replaces_the_whole_file_privately_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_atomic(&path, b"a much longer first version").unwrap();
        write_atomic(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(folder.path()), ["key"]);
    }

    #[test]
    fn create_never_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_atomic(&path, b"first").unwrap();
        assert_eq!(create_atomic(&path, b"second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(folder.path()), ["key"]);
    }

    #[test]
    fn reading_closes_a_file_that_others_could_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert_eq!(read_private(&path).unwrap(), None);
        fs::write(&path, "secret").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read_private(&path).unwrap().as_deref(), Some("secret"));
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn folders_are_made_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        make_directory(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&folder.path().join("a")), 0o700);
    }

    #[test]
    fn keeping_aside_twice_loses_neither() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let mut kept = Vec::new();
        for content in ["one", "two"] {
            fs::write(&path, content).unwrap();
            kept.push(keep_aside(&path).unwrap());
        }
        assert!(!path.exists());
        assert_eq!(fs::read_to_string(&kept[0]).unwrap(), "one");
        assert_eq!(fs::read_to_string(&kept[1]).unwrap(), "two");
        assert!(kept[0].to_str().unwrap().contains("state.db.corrupt-"));
    }

    #[test]
    fn an_error_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/key");
        let text = write_atomic(&path, b"x").unwrap_err().to_string();
        assert!(text.contains("cannot write") && text.contains("missing/key"), "{text}");
    }
}
