//! JSON lines: `{"task":…}` submits, `{"id":…}` asks; each is answered by a line.

use std::future::Future;
use std::io;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use super::Tasks;
use super::submit::Submission;
use super::view::TaskView;
use crate::control::{Error, given};
use crate::services::directory::Caller;
use crate::services::door::{LineReader, LineWriter, Lines};
use crate::services::reply::refusal;

/// Takes tasks.
pub struct Submissions(pub Tasks);

impl Lines for Submissions {
    fn serve<'a>(
        &'a self,
        caller: Caller,
        lines: LineReader,
        out: LineWriter,
    ) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>> {
        Box::pin(converse(&self.0, caller, lines, out))
    }
}

#[derive(Deserialize)]
struct Question {
    id: String,
    #[serde(default, deserialize_with = "given")]
    task: Option<serde::de::IgnoredAny>,
}

#[derive(Serialize)]
struct Answer {
    status: &'static str,
    data: TaskView,
}

async fn converse(tasks: &Tasks, caller: Caller, mut lines: LineReader, mut out: LineWriter) -> io::Result<()> {
    while let Some(line) = lines.next().await? {
        let written = match answer(tasks, &caller, line).await {
            Ok(answer) => serde_json::to_vec(&answer)?,
            Err(error) => refusal(&error).to_vec(),
        };
        out.write(&written).await?;
        out.write(b"\n").await?;
        if !lines.has_line() {
            out.flush().await?;
        }
    }
    out.shutdown().await
}

async fn answer(tasks: &Tasks, caller: &Caller, line: Result<bytes::Bytes, Error>) -> Result<Answer, Error> {
    let line = line?;
    let record = match serde_json::from_slice::<Question>(&line) {
        Ok(Question { id, task: None }) => tasks.get(caller, &id).await?,
        _ => tasks.submit(caller, Submission::parse(&line)?).await?,
    };
    Ok(Answer { status: "ok", data: TaskView::new(&record, &tasks.inbox.directory().me()) })
}
