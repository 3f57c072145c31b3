//! `pilotctl received`: the files that came.

use std::process::ExitCode;

use serde::Deserialize;

use super::Session;
use super::format::{bytes, foreign, table};
use crate::control::Error;

#[derive(Deserialize)]
struct Received {
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    from: String,
    from_name: Option<String>,
    size: u64,
    path: String,
    received: String,
}

pub async fn run(session: &Session) -> Result<ExitCode, Error> {
    let answer = session.client.get_raw("/v1/received").await?;
    session.show_raw(&answer, |_, received: Received| human(&received.files))
}

fn human(files: &[File]) -> String {
    if files.is_empty() {
        return "no files yet".into();
    }
    let row = |file: &File| {
        let from = file.from_name.as_deref().map_or_else(|| file.from.clone(), foreign);
        vec![file.received.clone(), from, bytes(file.size), foreign(&file.path)]
    };
    table(&["RECEIVED", "FROM", "SIZE", "PATH"], &files.iter().map(row).collect::<Vec<_>>())
}
