//! A file that is not complete: what it will be, and what is there of it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::failed;
use crate::control::Error;
use crate::services::directory::Member;
use crate::store::files::{FILE_MODE, make_directory, write_atomic};

/// Bytes that stay free on the disk: a node must be able to work beside its files.
const RESERVE: u64 = 64 << 20;

/// How far the hash of a file is; a restart begins it anew.
#[derive(Default)]
pub struct Progress {
    /// Of the first `hashed` bytes.
    pub hasher: blake3::Hasher,
    /// How many.
    pub hashed: u64,
}

/// What a file will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its name, safe.
    pub name: String,
    /// Its size.
    pub size: u64,
}

/// Where the pieces of a file are.
#[derive(Clone, Debug)]
pub struct Partial {
    /// The pieces.
    pub data: PathBuf,
    plan: PathBuf,
    folder: PathBuf,
}

impl Partial {
    /// The file that `sender` calls `id`. IDs can be longer than names, or special: their hash is neither.
    pub fn new(received: &Path, sender: &Member, id: &str) -> Partial {
        let folder = received.join(".partial").join(sender.id.to_string());
        let name = blake3::hash(id.as_bytes()).to_hex();
        Partial { data: folder.join(format!("{name}.part")), plan: folder.join(format!("{name}.json")), folder }
    }

    /// Begins or resumes; gives how much is there. At most `most` files may be begun.
    pub fn begin(&self, name: &str, size: u64, most: usize) -> Result<u64, Error> {
        let plan = Plan { name: name.to_owned(), size };
        let old = self.plan();
        if old.as_ref().is_ok_and(|old| old.size == size) {
            return self.length();
        }
        make_directory(&self.folder).map_err(|error| Error::new("internal", error.to_string()))?;
        self.remove();
        let begun = fs::read_dir(&self.folder).map_err(|error| failed("read the folder", &error))?.count() / 2;
        if begun >= most {
            return Err(Error::new("quota_exceeded", format!("{begun} files of this sender are not complete"))
                .hint("complete them, or wait: after a week they are removed"));
        }
        check_space(&self.folder, size)?;
        let json = serde_json::to_vec(&plan).map_err(|error| Error::new("internal", error.to_string()))?;
        write_atomic(&self.data, b"").and_then(|()| write_atomic(&self.plan, &json)).map_err(|error| {
            self.remove();
            failed("begin the file", &io::Error::new(error.kind(), error.to_string()))
        })?;
        Ok(0)
    }

    /// What the file will be.
    pub fn plan(&self) -> Result<Plan, Error> {
        let unknown = || {
            Error::new("not_found", "no file was begun under this ID")
                .hint(r#"begin it: POST /v1/files {"id":…,"name":…,"size":…}"#)
        };
        let json = fs::read(&self.plan).map_err(|_| unknown())?;
        serde_json::from_slice(&json).map_err(|_| unknown())
    }

    /// How much is there.
    pub fn length(&self) -> Result<u64, Error> {
        Ok(fs::metadata(&self.data).map_err(|error| failed("look at the file", &error))?.len())
    }

    /// The pieces, to append to.
    pub fn append(&self) -> Result<File, Error> {
        let opened = OpenOptions::new().append(true).mode(FILE_MODE).open(&self.data);
        opened.map_err(|error| failed("open the file", &error))
    }

    /// Removes all of it; what is not there needs no removing.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.plan);
        let _ = fs::remove_file(&self.data);
    }
}

fn check_space(folder: &Path, size: u64) -> Result<(), Error> {
    let Ok(disk) = nix::sys::statvfs::statvfs(folder) else { return Ok(()) };
    let free = disk.blocks_available() * disk.fragment_size();
    if size.saturating_add(RESERVE) <= free {
        return Ok(());
    }
    Err(Error::new("disk_full", format!("the file has {size} bytes, {free} are free on the disk"))
        .hint("free some space in the state folder"))
}

/// Removes what has not grown for `age`.
pub fn sweep(received: &Path, age: Duration) -> io::Result<()> {
    let now = SystemTime::now();
    for folder in fs::read_dir(received.join(".partial"))? {
        for file in fs::read_dir(folder?.path())? {
            let path = file?.path();
            let part = path.with_extension("part");
            // Gone already with what belonged to it.
            let Ok(found) = fs::metadata(&part).or_else(|_| fs::metadata(&path)) else { continue };
            let changed = found.modified()?;
            if now.duration_since(changed).is_ok_and(|since| since > age) {
                // Its plan was removed together with it, most likely.
                let _ = fs::remove_file(path.with_extension("json"));
                let _ = fs::remove_file(part);
            }
        }
    }
    Ok(())
}
