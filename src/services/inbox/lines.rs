//! JSON lines: a line is a delivery, and is answered by a line.

use std::future::Future;
use std::io;
use std::pin::Pin;

use super::Inbox;
use super::message::{Draft, Letter};
use super::receive::Receipt;
use crate::control::Error;
use crate::services::directory::Caller;
use crate::services::door::{LineReader, LineWriter, Lines};
use crate::services::reply::refusal;

/// Lines that become one transaction, where they have come already.
const TOGETHER: usize = 64;

/// Delivers what the lines say.
pub struct Deliveries(pub Inbox);

impl Lines for Deliveries {
    fn serve<'a>(
        &'a self,
        caller: Caller,
        lines: LineReader,
        out: LineWriter,
    ) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>> {
        Box::pin(converse(&self.0, caller, lines, out))
    }
}

async fn converse(inbox: &Inbox, caller: Caller, mut lines: LineReader, mut out: LineWriter) -> io::Result<()> {
    while let Some(line) = lines.next().await? {
        let mut drafts = vec![draft(inbox, line)];
        while drafts.len() < TOGETHER && lines.has_line() {
            let Some(line) = lines.next().await? else { break };
            drafts.push(draft(inbox, line));
        }
        for answer in inbox.deliver_all(caller.member(), drafts).await {
            out.write(&written(answer)).await?;
            out.write(b"\n").await?;
        }
        out.flush().await?;
    }
    out.shutdown().await
}

fn draft(inbox: &Inbox, line: Result<bytes::Bytes, Error>) -> Result<Draft, Error> {
    Letter::parse(&line?)?.draft(inbox.max_message())
}

fn written(answer: Result<Receipt, Error>) -> bytes::Bytes {
    match answer {
        Ok(Receipt { id, duplicate }) => {
            serde_json::json!({"status": "ok", "data": {"id": id, "duplicate": duplicate}}).to_string().into()
        }
        Err(error) => refusal(&error),
    }
}
