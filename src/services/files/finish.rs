//! Completes a file: checked, put into its place, told to the inbox; in an order in which a crash loses nothing.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::partial::{Partial, Progress};
use super::{Files, blocking, failed, name, refusal};
use crate::control::Error;
use crate::services::directory::Member;
use crate::services::time::now_millis;
use crate::store::files::make_directory;
use crate::store::inbox::{Delivery, Kind, Outcome, ReceivedFile};

/// Names that are tried for one file.
const NAMES: u32 = 10_000;

/// What the inbox is told.
#[derive(Serialize)]
struct Told<'a> {
    name: &'a str,
    size: u64,
    blake3: &'a str,
    path: &'a Path,
}

impl Files {
    /// Completes the file that `sender` calls `id`; returns when all of it is on disk. Doing so again is harmless.
    ///
    /// # Errors
    /// `wrong_offset` where something is missing; `wrong_hash`: the file is removed; `quota_exceeded`, `disk_full`.
    pub async fn finish(&self, sender: &Member, id: &str, hash: &str) -> Result<ReceivedFile, Error> {
        let mut progress = self.slot(sender, id)?;
        let partial = self.partial(sender, id);
        if let Some(done) = self.find(sender, id).await? {
            // They are still there after a crash behind the entry.
            let _ = tokio::task::spawn_blocking(move || partial.remove()).await;
            return if done.hash == hash { Ok(done) } else { Err(differs(hash, &done.hash)) };
        }
        let begun = std::mem::take(&mut *progress);
        let (pieces, expected) = (partial.clone(), hash.to_owned());
        let plan = blocking(move || {
            let plan = pieces.plan()?;
            complete(&pieces, plan.size)?;
            check(&pieces, begun, plan.size, &expected)?;
            Ok(plan)
        })
        .await?;
        let (pieces, folder) = (partial.clone(), self.folder.join(sender.id.to_string()));
        let file_name = plan.name.clone();
        let path = blocking(move || place(&pieces, &folder, &file_name)).await?;
        let file = ReceivedFile {
            sender: sender.key,
            node: sender.id,
            id: id.to_owned(),
            name: plan.name,
            size: plan.size,
            hash: hash.to_owned(),
            path,
            at: now_millis(),
        };
        self.tell(&file).await?;
        self.forget(sender, id);
        let _ = tokio::task::spawn_blocking(move || partial.remove()).await;
        Ok(file)
    }

    /// Enters the file and its message together. Where the inbox is full the file leaves its place again.
    async fn tell(&self, file: &ReceivedFile) -> Result<(), Error> {
        let (delivery, entered) = (message(file)?, file.clone());
        let step = move |batch: &mut crate::store::inbox::Batch<'_>| match batch.deliver(&[delivery])?.pop() {
            Some(Outcome::Refused(fault)) => Err(fault),
            _ => batch.put_file(&entered),
        };
        let told = self.inbox.store().write(0, step).await;
        if told.is_err() {
            // The pieces are still where they were: nothing is lost with this name of them.
            let _ = fs::remove_file(&file.path);
        }
        told.map_err(|fault| refusal(&fault))
    }
}

fn message(file: &ReceivedFile) -> Result<Delivery, Error> {
    let told = Told { name: &file.name, size: file.size, blake3: &file.hash, path: &file.path };
    let data = serde_json::to_vec(&told).map_err(|error| Error::new("internal", error.to_string()))?;
    Ok(Delivery {
        sender: file.sender,
        node: file.node,
        id: format!("file:{:.32}", blake3::hash(file.id.as_bytes()).to_hex()),
        kind: Kind::File,
        data: data.into(),
        sent: file.at,
        received: file.at,
        task: None,
        is_kept: true,
    })
}

fn complete(pieces: &Partial, size: u64) -> Result<(), Error> {
    let there = pieces.length()?;
    if there == size {
        return Ok(());
    }
    Err(Error::new("wrong_offset", format!("{there} of {size} bytes are there"))
        .hint(format!("go on with PUT …?offset={there}")))
}

/// Compares the hash; what was not hashed as it came is read again.
fn check(pieces: &Partial, mut progress: Progress, size: u64, expected: &str) -> Result<(), Error> {
    let mut file = File::open(&pieces.data).map_err(|error| failed("read the file", &error))?;
    if progress.hashed != size {
        progress.hasher.reset();
        io::copy(&mut file, &mut progress.hasher).map_err(|error| failed("read the file", &error))?;
    }
    let found = progress.hasher.finalize().to_hex();
    if found.as_str() != expected {
        pieces.remove();
        return Err(differs(expected, &found));
    }
    file.sync_all().map_err(|error| failed("write the file", &error))
}

fn differs(expected: &str, found: &str) -> Error {
    let shown: String = expected.chars().take(64).collect();
    Error::new("wrong_hash", format!("the file has BLAKE3 {found}, its sender says {shown}"))
        .hint("it changed while it was sent: send it again")
}

/// Puts the file under the first name that is free. One that is this very file was put there before a crash.
fn place(pieces: &Partial, folder: &Path, file_name: &str) -> Result<PathBuf, Error> {
    make_directory(folder).map_err(|error| Error::new("internal", error.to_string()))?;
    for number in 1..=NAMES {
        let path = folder.join(name::numbered(file_name, number));
        match fs::hard_link(&pieces.data, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !is_same(&pieces.data, &path) => {}
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("name the file", &error)),
            _ => {
                let synced = File::open(folder).and_then(|folder| folder.sync_all());
                return synced.map(|()| path).map_err(|error| failed("name the file", &error));
            }
        }
    }
    Err(Error::new("too_many", format!("there are {NAMES} files called {file_name}")).hint("remove some of them"))
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::symlink_metadata(path).map(|data| (data.dev(), data.ino())).ok();
    identity(one).is_some_and(|found| identity(other) == Some(found))
}
