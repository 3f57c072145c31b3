//! Files over HTTP: begun, sent in pieces, finished.

use std::path::PathBuf;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::routing::{get, post, put};
use axum::{Extension, Router};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::partial::Progress;
use super::{Files, blocking, failed, refusal};
use crate::control::Error;
use crate::services::directory::Caller;
use crate::services::inbox::message::checked_id;
use crate::services::reply::reply;
use crate::services::time::rfc3339;
use crate::store::inbox::ReceivedFile;

/// Files that are listed at most.
const LISTED: u32 = 1_000;

pub fn router(files: Files) -> Router {
    Router::new()
        .route("/v1/files", post(async |who, files, body| reply(begin(who, files, body).await)))
        .route("/v1/files/{id}", put(async |who, files, id, at, body| reply(append(who, files, id, at, body).await)))
        .route("/v1/files/{id}/finish", post(async |who, files, id, body| reply(finish(who, files, id, body).await)))
        .route("/v1/received", get(async |who, files| reply(received(who, files).await)))
        .with_state(files)
}

type Who = Extension<Caller>;
type Here = State<Files>;

#[derive(Deserialize)]
struct Begin {
    id: String,
    name: String,
    size: u64,
}

#[derive(Serialize)]
struct Offset {
    offset: u64,
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| {
        let code = if error.is_data() { "invalid_request" } else { "invalid_json" };
        Error::new(code, format!("the body: {error}")).hint("docs/services.md has the fields")
    })
}

async fn begin(Extension(who): Who, State(files): Here, body: Bytes) -> Result<Offset, Error> {
    let Begin { id, name, size } = parsed(&body)?;
    Ok(Offset { offset: files.begin(who.member(), checked_id(&id)?, &name, size).await? })
}

#[derive(Deserialize)]
struct At {
    offset: u64,
}

async fn append(
    Extension(who): Who,
    State(files): Here,
    Path(id): Path<String>,
    Query(at): Query<At>,
    body: Body,
) -> Result<Offset, Error> {
    let mut progress = files.slot(who.member(), checked_id(&id)?)?;
    let partial = files.partial(who.member(), &id);
    let (file, size) = blocking(move || {
        let plan = partial.plan()?;
        let there = partial.length()?;
        if there != at.offset {
            return Err(Error::new("wrong_offset", format!("{there} bytes are there, not {}", at.offset))
                .hint(format!("go on with PUT …?offset={there}")));
        }
        Ok((partial.append()?, plan.size))
    })
    .await?;
    if at.offset == 0 {
        *progress = Progress::default();
    }
    let mut file = File::from_std(file);
    let written = files.write(&mut file, &mut progress, at.offset, size, body).await;
    // Also what came before a failure is there: its sender goes on behind it.
    let flushed = file.flush().await.map_err(|error| failed("write the file", &error));
    if file.metadata().await.map(|there| there.len()).ok() != Some(progress.hashed) {
        // What was hashed is not what is there: `finish` reads it again.
        *progress = Progress::default();
    }
    flushed?;
    written.map(|offset| Offset { offset })
}

impl Files {
    /// Writes a body behind `offset`; gives the new length.
    async fn write(
        &self,
        file: &mut File,
        progress: &mut Progress,
        mut offset: u64,
        size: u64,
        body: Body,
    ) -> Result<u64, Error> {
        let mut chunks = body.into_data_stream();
        let late = |_| Error::new("timeout", format!("nothing came for {:?}", self.settings.patience));
        while let Some(chunk) = timeout(self.settings.patience, chunks.next()).await.map_err(late)? {
            let chunk = chunk.map_err(|error| Error::new("invalid_request", format!("the body broke off: {error}")))?;
            if offset + chunk.len() as u64 > size {
                return Err(Error::new("too_large", format!("the file was to have {size} bytes, more came")));
            }
            file.write_all(&chunk).await.map_err(|error| failed("write the file", &error))?;
            if progress.hashed == offset {
                progress.hasher.update(&chunk);
                progress.hashed += chunk.len() as u64;
            }
            offset += chunk.len() as u64;
        }
        Ok(offset)
    }
}

#[derive(Deserialize)]
struct Finish {
    blake3: String,
}

#[derive(Serialize)]
struct Finished {
    id: String,
    name: String,
    size: u64,
    blake3: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
}

async fn finish(
    Extension(who): Who,
    State(files): Here,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Finished, Error> {
    let Finish { blake3 } = parsed(&body)?;
    let file = files.finish(who.member(), checked_id(&id)?, &blake3).await?;
    // Where our files lie is nobody else's business.
    let path = who.require_local().is_ok().then_some(file.path);
    Ok(Finished { id: file.id, name: file.name, size: file.size, blake3: file.hash, path })
}

#[derive(Serialize)]
struct Received {
    files: Vec<FileView>,
}

#[derive(Serialize)]
struct FileView {
    id: String,
    name: String,
    from: String,
    from_name: Option<String>,
    size: u64,
    blake3: String,
    path: PathBuf,
    received: String,
}

async fn received(Extension(who): Who, State(files): Here) -> Result<Received, Error> {
    who.require_local()?;
    let listed = files.inbox.store().read(|connection| ReceivedFile::list(connection, LISTED)).await;
    let roster = files.inbox.directory().roster();
    let view = |file: ReceivedFile| FileView {
        from_name: roster.member(file.node).and_then(|member| member.hostname.as_ref()).map(ToString::to_string),
        id: file.id,
        name: file.name,
        from: file.node.to_string(),
        size: file.size,
        blake3: file.hash,
        path: file.path,
        received: rfc3339(file.at),
    };
    Ok(Received { files: listed.map_err(|fault| refusal(&fault))?.into_iter().map(view).collect() })
}
