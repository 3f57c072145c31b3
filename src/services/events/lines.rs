//! Events as JSON lines, both ways on one connection.
//!
//! In: lines that publish, subscribe or flush. Out: events, answers to `flush`, and errors for lines that are refused,
//! which end nothing. Who is done sending still gets what it subscribed to.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{FutureExt, select_all};
use serde_json::{Map, Value, json};

use super::ask::Ask;
use super::batch::elements;
use super::facade::Events;
use super::feed::{self, Feed};
use super::json::{EventJson, invalid};
use super::queue::{Ended, Segment};
use super::speak::Style;
use crate::control::Error;
use crate::services::directory::Caller;
use crate::services::door::{LineReader, LineWriter, Lines};

/// Subscriptions of one connection.
const MAX_FEEDS: usize = 64;
/// Whoever is done sending may be gone altogether: an empty line finds out.
const ALIVE: Duration = Duration::from_secs(15);
/// Bytes of lines that are published at once.
const AT_ONCE: usize = 256 << 10;

/// Speaks events in lines.
pub(super) struct EventLines {
    pub events: Events,
}

impl Lines for EventLines {
    fn serve<'a>(
        &'a self,
        caller: Caller,
        lines: LineReader,
        out: LineWriter,
    ) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>> {
        let talk = Talk { events: &self.events, caller, feeds: Vec::new(), out };
        Box::pin(talk.run(lines))
    }
}

struct Talk<'a> {
    events: &'a Events,
    caller: Caller,
    feeds: Vec<(Feed, u64)>,
    out: LineWriter,
}

/// What a line says.
enum Said {
    /// An event to be published.
    Event,
    /// What the answer repeats.
    Flush(Value),
    /// A subscription in words.
    Subscribe(Map<String, Value>),
}

/// What a line says; an event is appended to `batch`.
fn said(line: &[u8], batch: &mut BytesMut) -> Result<Said, Error> {
    let event = EventJson::parse(line)?;
    if event.has_topic() {
        return event.put(None, batch).map(|()| Said::Event);
    }
    let mut words: Map<String, Value> = serde_json::from_slice(line).map_err(|error| invalid(&error))?;
    if words.contains_key("subscribe") {
        return Ok(Said::Subscribe(words));
    }
    words.remove("flush").map(Said::Flush).ok_or_else(|| {
        Error::new("invalid_request", "the line has neither `topic`, `subscribe` nor `flush`")
            .hint(r#"{"topic":"metrics.cpu","data":{}}, or {"subscribe":"metrics.*"}"#)
    })
}

impl Talk<'_> {
    async fn run(mut self, mut lines: LineReader) -> io::Result<()> {
        let mut is_done = false;
        while !is_done || !self.feeds.is_empty() {
            tokio::select! {
                line = lines.next(), if !is_done => match line? {
                    Some(line) => self.take(line, &mut lines).await?,
                    None => is_done = true,
                },
                () = tokio::time::sleep(ALIVE), if is_done => self.out.write(b"\n").await?,
                (index, taken) = next_of(&self.feeds) => self.tell(index, taken).await?,
            }
            self.out.flush().await?;
        }
        self.out.shutdown().await
    }

    /// Does what a line says, and what the lines say that are here already.
    async fn take(&mut self, first: Result<Bytes, Error>, lines: &mut LineReader) -> io::Result<()> {
        let mut batch = BytesMut::new();
        let mut next = Some(first);
        while let Some(line) = next {
            let said = line.and_then(|line| said(&line, &mut batch));
            if !matches!(said, Ok(Said::Event)) {
                // What was said before is answered before, and no subscription sees it.
                self.publish(&mut batch).await?;
            }
            match said.and_then(|said| self.answer(said)) {
                Ok(None) => {}
                Ok(Some(answer)) => self.out.write_json(&answer).await?,
                Err(error) => self.out.write_json(&error.to_json()).await?,
            }
            let goes_on = batch.len() < AT_ONCE && lines.has_line();
            next = if goes_on { lines.next().await? } else { None };
        }
        self.publish(&mut batch).await
    }

    fn answer(&mut self, said: Said) -> Result<Option<Value>, Error> {
        match said {
            Said::Event => Ok(None),
            Said::Flush(number) => Ok(Some(json!({"flushed": number}))),
            Said::Subscribe(words) => self.subscribe(words).map(|()| None),
        }
    }

    fn subscribe(&mut self, words: Map<String, Value>) -> Result<(), Error> {
        if self.feeds.len() >= MAX_FEEDS {
            return Err(Error::new("too_many", format!("this connection has {MAX_FEEDS} subscriptions already")));
        }
        let (ask, others) = Ask::of_words(words.into_iter().flat_map(spread))?;
        let mut left = u64::MAX;
        for (name, value) in others {
            match name.as_str() {
                "count" => left = super::ask::number_or_word(&name, &value)?,
                _ => return Err(Error::new("bad_argument", format!("there is no option {name:?}"))),
            }
        }
        self.feeds.push((self.events.subscribe(&self.caller, &ask)?, left));
        Ok(())
    }

    async fn publish(&mut self, batch: &mut BytesMut) -> io::Result<()> {
        let batch = batch.split();
        let intake = self.events.take_in(&self.caller, elements(&batch).map(|(_, body)| body));
        for error in intake.refused {
            self.out.write_json(&error.to_json()).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, index: usize, taken: Result<Vec<Segment>, Ended>) -> io::Result<()> {
        let Some((_, left)) = self.feeds.get_mut(index) else { return Ok(()) };
        let mut text = Vec::new();
        match taken {
            Ok(segments) => segments.iter().for_each(|segment| Style::Lines.put(segment, left, &mut text)),
            Err(ended) => {
                *left = 0;
                text = Style::Lines.ended(&feed::ended(ended)).into_bytes();
            }
        }
        if *left == 0 {
            self.feeds.swap_remove(index);
        }
        self.out.write(&text).await
    }
}

/// What the next of the feeds has; never, where there is none.
async fn next_of(feeds: &[(Feed, u64)]) -> (usize, Result<Vec<Segment>, Ended>) {
    if feeds.is_empty() {
        return std::future::pending().await;
    }
    let (taken, index, _) = select_all(feeds.iter().map(|(feed, _)| feed.take(64 << 10).boxed())).await;
    (index, taken)
}

/// An option as words; a list is several.
fn spread((name, value): (String, Value)) -> Vec<(String, String)> {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Array(values) => values.iter().map(|value| (name.clone(), word(value))).collect(),
        Value::Null => Vec::new(),
        value => vec![(name, word(&value))],
    }
}
