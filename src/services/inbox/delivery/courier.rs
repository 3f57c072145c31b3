//! One receiver: connects, sends what waits for it in order, and removes what it acknowledges.
//!
//! Many messages are on the way at once; receipts come in their order. A message that the receiver will never take is
//! given up and stays to be seen; anything else that fails ends the connection, and all that was not acknowledged is
//! sent again: the receiver knows what it has.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::ReadyChunks;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::connect::connect;
use crate::control::Error;
use crate::identity::PublicKey;
use crate::services::api::{self, Receipt};
use crate::services::backoff::Backoff;
use crate::services::directory::Member;
use crate::services::inbox::refusal::is_lasting;
use crate::services::inbox::{Inbox, count};
use crate::services::time::now_millis;
use crate::store::inbox::{Fault, Waiting};

/// How long a connection stays when nothing is left to be sent.
const IDLE: Duration = Duration::from_secs(30);
/// How long the receiver may take to put messages on its disk.
const PATIENCE: Duration = Duration::from_secs(60);
/// The wait before the second try.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait before a try.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Bytes on the way at most.
const WINDOW_BYTES: usize = 8 << 20;

pub struct Courier {
    inbox: Inbox,
    receiver: PublicKey,
    wake: Arc<Notify>,
}

/// What became of a connection that ended without a failure.
enum End {
    /// Nothing is left.
    Done,
    /// The last try went well up to this problem.
    Problem(String),
}

/// One connection.
struct Line {
    messages: mpsc::Sender<api::Message>,
    receipts: ReadyChunks<Streaming<Receipt>>,
    /// What was sent and not acknowledged, in order.
    on_the_way: VecDeque<Waiting>,
    bytes: usize,
    /// What was read from the outbox and not sent.
    next: VecDeque<Waiting>,
    /// The last place that was read.
    read_up_to: i64,
    /// The receiver takes no more on this connection: its last receipts say why.
    is_closed: bool,
}

impl Courier {
    pub fn new(inbox: Inbox, receiver: PublicKey, wake: Arc<Notify>) -> Courier {
        Courier { inbox, receiver, wake }
    }

    /// Delivers until nothing is left.
    pub async fn run(self) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let problem = match self.attempt(&mut backoff).await {
                Ok(End::Done) => return,
                Ok(End::Problem(problem)) | Err(problem) => problem,
            };
            self.note(problem).await;
            tokio::select! {
                () = sleep(backoff.next_wait()) => {}
                () = self.wake.notified() => backoff.cut_short(),
            }
        }
    }

    async fn note(&self, problem: String) {
        let receiver = self.receiver;
        tracing::debug!("messages wait: {problem}");
        let noted = self.inbox.store.write(0, move |batch| batch.note_problem(&receiver, &problem)).await;
        if let Err(fault) = noted {
            tracing::error!("the outbox: {fault}");
        }
    }

    async fn attempt(&self, backoff: &mut Backoff) -> Result<End, String> {
        if self.waiting_behind(0).await?.is_empty() {
            return Ok(End::Done);
        }
        let member = self.member()?;
        let mut line = self.open(&member).await?;
        loop {
            self.fill(&mut line).await?;
            if line.on_the_way.is_empty() {
                let is_woken = timeout(IDLE, self.idle(&mut line)).await;
                match is_woken {
                    Err(_) => return Ok(End::Done),
                    Ok(true) => continue,
                    Ok(false) => return Ok(End::Problem("the connection was closed".into())),
                }
            }
            tokio::select! {
                receipts = timeout(PATIENCE, line.receipts.next()) => {
                    self.settle(&mut line, receipts.map_err(|_| "no receipt within a minute")?).await?;
                    backoff.reset();
                }
                () = self.wake.notified() => {}
            }
        }
    }

    /// Whether there is something new to send; false when the connection ended.
    async fn idle(&self, line: &mut Line) -> bool {
        tokio::select! {
            () = self.wake.notified() => true,
            _ = line.receipts.next() => false,
        }
    }

    fn member(&self) -> Result<Arc<Member>, String> {
        let roster = self.inbox.directory.roster();
        let found = roster.peers.values().find(|member| member.key == self.receiver).cloned();
        found.ok_or_else(|| "the receiver is not trusted any more: the message stays until it expires".to_owned())
    }

    async fn open(&self, member: &Member) -> Result<Line, String> {
        let mut client = connect(&self.inbox.dial, member.address).await?;
        let (messages, sent) = mpsc::channel(self.inbox.settings.in_flight);
        let opening = client.deliver_stream(ReceiverStream::new(sent));
        let opened = timeout(PATIENCE, opening).await.map_err(|_| "no answer within a minute".to_owned())?;
        let receipts = opened.map_err(|status| told(&status))?.into_inner().ready_chunks(256);
        Ok(Line {
            messages,
            receipts,
            on_the_way: VecDeque::new(),
            bytes: 0,
            next: VecDeque::new(),
            read_up_to: 0,
            is_closed: false,
        })
    }

    async fn waiting_behind(&self, place: i64) -> Result<VecDeque<Waiting>, String> {
        let (receiver, now) = (self.receiver, now_millis());
        let query = move |connection: &_| Waiting::next(connection, &receiver, place, now, WINDOW_BYTES / 2);
        self.inbox.store.read(query).await.map(VecDeque::from).map_err(|fault| fault.to_string())
    }

    /// Sends what fits.
    async fn fill(&self, line: &mut Line) -> Result<(), String> {
        while line.has_room(self.inbox.settings.in_flight) {
            if line.next.is_empty() {
                line.next = self.waiting_behind(line.read_up_to).await?;
            }
            let Some(message) = line.next.pop_front() else { return Ok(()) };
            line.send(message).await?;
        }
        Ok(())
    }

    /// Removes what was acknowledged, gives up what was refused for good.
    async fn settle(
        &self,
        line: &mut Line,
        receipts: Option<Vec<Result<Receipt, tonic::Status>>>,
    ) -> Result<(), String> {
        let receipts = receipts.ok_or("the receiver closed the connection")?;
        let (mut delivered, mut lost) = (Vec::new(), Vec::new());
        let mut problem = None;
        for receipt in receipts {
            match line.receipt(receipt) {
                Ok((message, None)) => delivered.push(message.number),
                Ok((message, Some(error))) => lost.push((message.number, error)),
                Err(text) => {
                    problem = Some(text);
                    break;
                }
            }
        }
        self.remove(delivered, lost).await.map_err(|fault| fault.to_string())?;
        problem.map_or(Ok(()), Err)
    }

    async fn remove(&self, delivered: Vec<i64>, lost: Vec<(i64, Error)>) -> Result<(), Fault> {
        let (numbers, refused) = (delivered.clone(), lost.clone());
        self.inbox
            .store
            .write(0, move |batch| {
                for (number, error) in &refused {
                    batch.give_up(*number, &format!("refused: {} ({})", error.message, error.code))?;
                }
                batch.delivered(&numbers)
            })
            .await?;
        count(&self.inbox.counters.delivered, delivered.len() as u64);
        count(&self.inbox.counters.given_up, lost.len() as u64);
        delivered.iter().for_each(|number| self.inbox.answers.answer(*number, &Ok(())));
        lost.into_iter().for_each(|(number, error)| self.inbox.answers.answer(number, &Err(error)));
        Ok(())
    }
}

impl Line {
    fn has_room(&self, in_flight: usize) -> bool {
        let is_within = self.on_the_way.len() < in_flight && self.bytes < WINDOW_BYTES;
        !self.is_closed && (self.on_the_way.is_empty() || is_within)
    }

    async fn send(&mut self, message: Waiting) -> Result<(), String> {
        self.read_up_to = message.number;
        let sent = self.messages.send(api::Message {
            id: message.id.clone(),
            r#type: message.kind.as_str().to_owned(),
            data: message.data.clone(),
            sent_unix_millis: message.created,
            ..api::Message::default()
        });
        // The channel has room for all that may be on the way: this waits only for a connection that is stuck.
        let sent = timeout(PATIENCE, sent).await.map_err(|_| "the connection is stuck")?;
        self.is_closed = sent.is_err();
        if !self.is_closed {
            self.bytes += message.data.len();
            self.on_the_way.push_back(message);
        }
        Ok(())
    }

    /// The message that a receipt is for, with the reason where it will never be taken.
    fn receipt(&mut self, receipt: Result<Receipt, tonic::Status>) -> Result<(Waiting, Option<Error>), String> {
        let receipt = receipt.map_err(|status| told(&status))?;
        let message = self.on_the_way.pop_front().filter(|message| message.id == receipt.id);
        let message = message.ok_or("the receiver acknowledged what was not sent")?;
        self.bytes -= message.data.len();
        match receipt.refused {
            None => Ok((message, None)),
            Some(refused) if is_lasting(&refused.code) => {
                Ok((message, Some(Error::new(&refused.code, refused.message).hint(refused.hint))))
            }
            Some(refused) => Err(format!("{} ({})", refused.message, refused.code)),
        }
    }
}

fn told(status: &tonic::Status) -> String {
    match status.message() {
        "" => format!("the connection broke: {}", status.code()),
        text => text.to_owned(),
    }
}
