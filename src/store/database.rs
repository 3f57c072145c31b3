//! Small SQLite databases that survive power loss and say when they are damaged.
//!
//! Comes in: a path, the steps that make the schema, and how to load what is in it. Goes out: a connection on which a
//! finished statement is durable, and what was loaded. A damaged file is renamed, never overwritten.

use super::files::{self, FileError};
use rusqlite::{Connection, ErrorCode};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What cannot be done with a database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file itself could not be made, read or renamed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A newer program wrote it.
    #[error("{} has format {found}, this pilotd knows up to {known}: update pilotd, or name another folder with --state", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: usize,
        /// The newest format that we know.
        known: usize,
    },
    /// The engine refused.
    #[error("cannot {attempt} {}: {source}{}", path.display(), advice(source))]
    Engine {
        /// What was tried, as a verb.
        attempt: &'static str,
        /// The database.
        path: PathBuf,
        /// What the engine said.
        source: rusqlite::Error,
    },
}

fn advice(source: &rusqlite::Error) -> &'static str {
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => " (the disk is full: free some space; the old content is untouched)",
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            " (name a folder that this user may write with --state)"
        }
        _ => "",
    }
}

/// An open database and what it held.
pub struct Opened<T> {
    /// Each finished statement, or transaction, is durable.
    pub connection: Connection,
    /// What was loaded.
    pub content: T,
    /// Where the damaged file went, if there was one; `content` is that of an empty database then.
    pub kept_aside: Option<PathBuf>,
}

/// Opens the database at `path`, mode 0600, made if missing and brought to the newest format.
///
/// `migrations` are the steps from one format to the next, the first from nothing. `load` reads the whole content: a
/// row that it cannot read means damage, like a failed integrity check.
pub fn open<T>(
    path: &Path,
    migrations: &[&str],
    load: impl Fn(&Connection) -> rusqlite::Result<T>,
) -> Result<Opened<T>, DatabaseError> {
    match attempt(path, migrations, &load) {
        Err(DatabaseError::Engine { source, .. }) if damaged(&source) => {
            let kept_aside = Some(set_aside(path)?);
            let (connection, content) = attempt(path, migrations, &load)?;
            Ok(Opened { connection, content, kept_aside })
        }
        Ok((connection, content)) => Ok(Opened { connection, content, kept_aside: None }),
        Err(error) => Err(error),
    }
}

fn attempt<T>(
    path: &Path,
    migrations: &[&str],
    load: &impl Fn(&Connection) -> rusqlite::Result<T>,
) -> Result<(Connection, T), DatabaseError> {
    prepare(path)?;
    let fail = |attempt| move |source| DatabaseError::Engine { attempt, path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(fail("open"))?;
    configure(&connection).map_err(fail("open"))?;
    let found = version(&connection).map_err(fail("open"))?;
    if found > migrations.len() {
        return Err(DatabaseError::Newer { path: path.to_owned(), found, known: migrations.len() });
    }
    migrate(&mut connection, migrations, found).map_err(fail("update the format of"))?;
    let content = load(&connection).map_err(fail("read"))?;
    Ok((connection, content))
}

/// SQLite would make the file readable by others; its side files take the mode of the file.
fn prepare(path: &Path) -> Result<(), FileError> {
    match files::create_atomic(path, b"") {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => files::make_private(path),
        made => made,
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", true)?;
    let check: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if check == "ok" { Ok(()) } else { Err(unreadable(check)) }
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: u32 = connection.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    Ok(version as usize)
}

fn migrate(connection: &mut Connection, migrations: &[&str], from: usize) -> rusqlite::Result<()> {
    for (done, step) in migrations.iter().enumerate().skip(from) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", done as u32 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// An error that tells [`open`] of damage, for text that should not be there.
pub fn unreadable(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Null, problem.into())
}

fn damaged(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::*;
    match error {
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..) => true,
        error => matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)),
    }
}

/// Renames the database and what belongs to it: a new database must not find an old log.
fn set_aside(path: &Path) -> Result<PathBuf, FileError> {
    let aside = files::keep_aside(path)?;
    for suffix in ["-wal", "-shm"] {
        let from = with_suffix(path, suffix);
        match fs::rename(&from, with_suffix(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::new("keep aside", &from, error));
            }
            _ => {}
        }
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const FIRST: &str = "CREATE TABLE word (text TEXT) STRICT";
    const SECOND: &str = "ALTER TABLE word ADD COLUMN length INTEGER";

    fn words(connection: &Connection) -> rusqlite::Result<Vec<String>> {
        connection.prepare("SELECT text FROM word")?.query_map((), |row| row.get(0))?.collect()
    }

    fn put(opened: &Opened<Vec<String>>, word: &str) -> rusqlite::Result<usize> {
        opened.connection.execute("INSERT INTO word (text) VALUES (?1)", [word])
    }

    #[test]
    fn content_survives_and_formats_move_on_but_never_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words.db");
        put(&open(&path, &[FIRST], words).unwrap(), "hello").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = open(&path, &[FIRST, SECOND], words).unwrap();
        assert_eq!((second.content, second.kept_aside), (vec!["hello".to_owned()], None));
        drop(second.connection);
        let older = open(&path, &[FIRST], words).err().unwrap().to_string();
        assert!(older.contains("words.db has format 2") && older.contains("update pilotd"), "{older}");
    }

    #[test]
    fn a_damaged_file_is_kept_whole_and_an_empty_one_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words.db");
        let garbage = b"this was a database once ".repeat(400);
        fs::write(&path, &garbage).unwrap();
        let opened = open(&path, &[FIRST], words).unwrap();
        assert_eq!(opened.content, Vec::<String>::new());
        assert_eq!(fs::read(opened.kept_aside.unwrap()).unwrap(), garbage);
    }

    #[test]
    fn damage_inside_is_found_and_its_log_is_not_replayed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words.db");
        let opened = open(&path, &[FIRST], words).unwrap();
        put(&opened, "hello").unwrap();
        let rest = folder.path().join("words.db-wal");
        let log = fs::read(&rest).unwrap();
        drop(opened);
        let mut bytes = fs::read(&path).unwrap();
        bytes[4096..].fill(0xa5);
        fs::write(&path, &bytes).unwrap();
        fs::write(&rest, &log[..100]).unwrap();
        let opened = open(&path, &[FIRST], words).unwrap();
        assert_eq!(opened.content, Vec::<String>::new());
        assert_eq!(fs::read(opened.kept_aside.unwrap()).unwrap(), bytes);
    }

    #[test]
    fn a_full_disk_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(&folder.path().join("words.db"), &[FIRST], words).unwrap();
        put(&opened, "hello").unwrap();
        opened.connection.pragma_update(None, "max_page_count", 3).unwrap();
        let full = put(&opened, &"x".repeat(100_000)).unwrap_err();
        assert_eq!(full.sqlite_error_code(), Some(ErrorCode::DiskFull));
        assert_eq!(words(&opened.connection).unwrap(), ["hello"]);
    }
}
