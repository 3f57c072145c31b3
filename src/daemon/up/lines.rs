//! JSON lines on the local socket: requests by their verb, and everything that the services take.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::calls::Calls;
use crate::control::{Backend, Error, Request, Verb};
use crate::services::directory::Caller;
use crate::services::door::{LineReader, LineWriter, Lines};

/// A conversation belongs to the requests when its first line has a `verb`, to the events otherwise.
pub struct LocalLines {
    /// Carries out requests.
    pub calls: Calls,
    /// Takes what is published and subscribed.
    pub events: Arc<dyn Lines>,
}

impl Lines for LocalLines {
    fn serve<'a>(
        &'a self,
        caller: Caller,
        mut lines: LineReader,
        out: LineWriter,
    ) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>> {
        Box::pin(async move {
            let first = match lines.next().await? {
                Some(Ok(first)) => first,
                // Too long for any request.
                Some(Err(_)) => return self.events.serve(caller, lines, out).await,
                None => return Ok(()),
            };
            let is_request = serde_json::from_slice::<Map<String, Value>>(&first);
            let is_request = is_request.is_ok_and(|fields| fields.contains_key("verb"));
            lines.unread(first);
            if is_request { self.requests(lines, out).await } else { self.events.serve(caller, lines, out).await }
        })
    }
}

impl LocalLines {
    async fn requests(&self, mut lines: LineReader, mut out: LineWriter) -> io::Result<()> {
        while let Some(line) = lines.next().await? {
            let outcome = match line.and_then(|line| parse(&line)) {
                Ok(request) => self.calls.call(request).await,
                Err(error) => Err(error),
            };
            out.write_json(&enveloped(outcome)).await?;
            out.flush().await?;
        }
        out.shutdown().await
    }
}

fn parse(line: &[u8]) -> Result<Request, Error> {
    let mut fields: Map<String, Value> = serde_json::from_slice(line)
        .map_err(|error| Error::new("invalid_request", format!("the line is no JSON object: {error}")))?;
    let name = match fields.remove("verb") {
        Some(Value::String(name)) => name,
        _ => return Err(Error::new("invalid_request", "the line has no \"verb\"").hint("docs/cli.md lists them")),
    };
    Request::from_parts(&Verb { name, reads: false }, fields)
}

fn enveloped(outcome: Result<Value, Error>) -> Value {
    match outcome {
        Ok(data) => json!({"status": "ok", "data": data}),
        Err(error) => error.to_json(),
    }
}
