//! The thread that writes: everything that waits becomes one transaction.
//!
//! Comes in: steps, through a bounded queue. Goes out: their results, once the transaction is on disk.

use std::io;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::senders::Totals;
use super::{Fault, Limits};

/// Steps that wait, and that one transaction takes.
const QUEUE: usize = 4_096;
/// Memory of the steps that wait, KiB.
const QUEUE_KIB: usize = 64 << 10;

/// What a step works on: the transaction that it is part of.
pub struct Batch<'a> {
    pub(super) connection: &'a Connection,
    pub(super) totals: &'a mut Totals,
    pub(super) limits: Limits,
}

/// One step, whatever its result.
trait Job: Send {
    /// Carries it out; gives a fault that spoils the whole transaction.
    fn run(&mut self, batch: &mut Batch<'_>) -> Option<Fault>;
    /// Answers: the result of the step, or why the transaction failed.
    fn answer(self: Box<Self>, failure: Option<&Fault>);
}

struct Step<T, F> {
    step: Option<F>,
    result: Result<T, Fault>,
    answer: oneshot::Sender<Result<T, Fault>>,
    _memory: OwnedSemaphorePermit,
}

impl<T, F> Job for Step<T, F>
where
    F: FnOnce(&mut Batch<'_>) -> Result<T, Fault> + Send,
    T: Send,
{
    fn run(&mut self, batch: &mut Batch<'_>) -> Option<Fault> {
        if let Some(step) = self.step.take() {
            self.result = step(batch);
        }
        self.result.as_ref().err().filter(|fault| fault.spoils()).cloned()
    }

    fn answer(self: Box<Self>, failure: Option<&Fault>) {
        let result = failure.map_or(self.result, |fault| Err(fault.clone()));
        // Whoever asked may have gone away.
        let _ = self.answer.send(result);
    }
}

/// The way to the thread; it ends with the last clone.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
    memory: Arc<Semaphore>,
    changes: watch::Receiver<u64>,
}

impl Writer {
    /// Starts the thread.
    pub fn start(connection: Connection, totals: Totals, limits: Limits) -> io::Result<Writer> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (changed, changes) = watch::channel(0);
        let work = move || work(&connection, totals, limits, queue, &changed);
        std::thread::Builder::new().name("inbox".into()).spawn(work)?;
        Ok(Writer { jobs, memory: Arc::new(Semaphore::new(QUEUE_KIB)), changes })
    }

    /// See [`InboxStore::changes`](super::InboxStore::changes).
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// See [`InboxStore::write`](super::InboxStore::write).
    pub async fn write<T, F>(&self, bytes: usize, step: F) -> Result<T, Fault>
    where
        F: FnOnce(&mut Batch<'_>) -> Result<T, Fault> + Send + 'static,
        T: Send + 'static,
    {
        let kib = (bytes / 1024 + 1).min(QUEUE_KIB) as u32;
        let memory = self.memory.clone().acquire_many_owned(kib).await.map_err(|_| Fault::Stopped)?;
        let (answer, answered) = oneshot::channel();
        let job = Step { step: Some(step), result: Err(Fault::Stopped), answer, _memory: memory };
        self.jobs.send(Box::new(job)).await.map_err(|_| Fault::Stopped)?;
        answered.await.map_err(|_| Fault::Stopped)?
    }
}

fn work(
    connection: &Connection,
    mut totals: Totals,
    limits: Limits,
    mut queue: mpsc::Receiver<Box<dyn Job>>,
    changed: &watch::Sender<u64>,
) {
    let mut jobs = Vec::with_capacity(QUEUE);
    while queue.blocking_recv_many(&mut jobs, QUEUE) > 0 {
        let failure = transact(connection, &mut totals, limits, &mut jobs).err();
        if failure.is_none() {
            changed.send_modify(|count| *count += 1);
        } else {
            // The counts are those of a transaction that never was.
            totals = Totals::load(connection).unwrap_or(totals);
        }
        for job in jobs.drain(..) {
            job.answer(failure.as_ref());
        }
    }
}

fn transact(
    connection: &Connection,
    totals: &mut Totals,
    limits: Limits,
    jobs: &mut [Box<dyn Job>],
) -> Result<(), Fault> {
    // Dropped without commit it is rolled back, also where the engine has done that by itself. Immediate: whoever reads
    // first and writes then is refused at once where another connection wrote in between.
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let mut batch = Batch { connection, totals, limits };
    for job in jobs {
        if let Some(fault) = job.run(&mut batch) {
            return Err(fault);
        }
    }
    Ok(transaction.commit()?)
}
