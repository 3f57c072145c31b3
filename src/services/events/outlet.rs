//! The way of events to a connection that speaks frames: whoever has something for it writes it.
//!
//! In: what waits in a conversation. Out: frames on its connection. A publisher writes by itself what is little and what
//! the kernel takes at once: that costs less than to wake a task for it. Everything else is left to the task that
//! waits here. Both take from the queue and write under one lock, so that events stay in their order.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::AsyncWrite;

use super::batch::refused;
use super::frame;
use super::link::Conversation;
use super::queue::{Outlet, Segment};
use crate::control::Error;

/// Bytes up to which copying is cheaper than a list of pieces.
const SMALL: usize = 16 << 10;
/// Pieces that are given to the kernel at once.
const PIECES: usize = 64;

/// The writing side of one connection.
pub(super) struct FrameOutlet<W> {
    conversation: Arc<Conversation>,
    out: Mutex<Out<W>>,
}

struct Out<W> {
    write: W,
    /// What was taken, and the kernel has not.
    rest: VecDeque<Bytes>,
}

impl<W: AsyncWrite + Unpin> FrameOutlet<W> {
    /// An outlet on which nothing was written.
    pub fn new(conversation: Arc<Conversation>, write: W) -> FrameOutlet<W> {
        FrameOutlet { conversation, out: Mutex::new(Out { write, rest: VecDeque::new() }) }
    }

    /// Writes what comes until nothing more does.
    pub async fn run(&self) -> io::Result<()> {
        loop {
            let filled = self.fill(&mut self.out.lock());
            match filled {
                Ok(true) => self.drain().await?,
                Ok(false) => self.conversation.ready().await,
                Err(error) => return self.finish(vec![Segment::whole(refused(&error))]).await,
            }
        }
    }

    /// Writes last words, and says that no more comes.
    pub async fn finish(&self, last: Vec<Segment>) -> io::Result<()> {
        self.out.lock().put(last);
        self.drain().await?;
        std::future::poll_fn(|context| Pin::new(&mut self.out.lock().write).poll_shutdown(context)).await
    }

    /// Takes what there is, unless something is being written still; says whether there is anything to write.
    fn fill(&self, out: &mut Out<W>) -> Result<bool, Error> {
        if out.rest.is_empty() {
            out.put(self.conversation.take_now()?);
        }
        Ok(!out.rest.is_empty())
    }

    async fn drain(&self) -> io::Result<()> {
        std::future::poll_fn(|context| self.out.lock().poll_drain(context)).await
    }
}

impl<W: AsyncWrite + Unpin + Send> Outlet for FrameOutlet<W> {
    fn write_now(&self) -> bool {
        let Some(mut out) = self.out.try_lock() else { return false };
        if !out.rest.is_empty() || self.conversation.is_in_the_past() {
            return false;
        }
        // What goes wrong shows to the task as well, once it is woken.
        let mut context = Context::from_waker(Waker::noop());
        match self.fill(&mut out) {
            Ok(true) => matches!(out.poll_drain(&mut context), Poll::Ready(Ok(()))),
            Ok(false) => true,
            Err(_) => false,
        }
    }
}

impl<W: AsyncWrite + Unpin> Out<W> {
    /// Makes each segment a frame.
    fn put(&mut self, segments: Vec<Segment>) {
        let preambles: Vec<_> = segments.iter().map(Segment::preamble).collect();
        let both = || segments.iter().zip(&preambles);
        let total: usize = both().map(|(segment, before)| frame::HEADER + before.len() + segment.bytes.len()).sum();
        if total > SMALL {
            for (segment, before) in both() {
                let mut head = Vec::with_capacity(frame::HEADER + before.len());
                head.extend_from_slice(&frame::header(before.len() + segment.bytes.len()));
                head.extend_from_slice(before);
                self.rest.extend([head.into(), segment.bytes.clone()]);
            }
        } else if total > 0 {
            let mut all = Vec::with_capacity(total);
            for (segment, before) in both() {
                all.extend_from_slice(&frame::header(before.len() + segment.bytes.len()));
                all.extend_from_slice(before);
                all.extend_from_slice(&segment.bytes);
            }
            self.rest.push_back(all.into());
        }
    }

    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(front) = self.rest.front() {
            let write = Pin::new(&mut self.write);
            let written = if self.rest.len() == 1 {
                ready!(write.poll_write(context, front))?
            } else {
                let slices: Vec<_> = self.rest.iter().take(PIECES).map(|piece| IoSlice::new(piece)).collect();
                ready!(write.poll_write_vectored(context, &slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.consume(written);
        }
        Pin::new(&mut self.write).poll_flush(context)
    }

    fn consume(&mut self, mut written: usize) {
        while let Some(front) = self.rest.front_mut() {
            let step = written.min(front.len());
            front.advance(step);
            written -= step;
            if !front.is_empty() {
                return;
            }
            self.rest.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    fn segments() -> Vec<Segment> {
        let (small, large) = (Bytes::from_static(b"\x0a\x00"), Bytes::from(vec![7; 3 * SMALL]));
        vec![Segment { missed: 300, ..Segment::whole(small) }, Segment::whole(large)]
    }

    #[tokio::test]
    async fn frames_arrive_whole_through_a_pipe_that_is_narrow() {
        for segments in [segments(), segments()[..1].to_vec()] {
            let expected: Vec<_> = segments.iter().map(|segment| segment.clone().into_batch()).collect();
            let (ours, mut theirs) = tokio::io::duplex(100);
            let writing = tokio::spawn(async move {
                let mut out = Out { write: ours, rest: VecDeque::new() };
                out.put(segments);
                std::future::poll_fn(|context| out.poll_drain(context)).await
            });
            for batch in expected {
                let mut seen = vec![0; theirs.read_u32().await.unwrap() as usize];
                theirs.read_exact(&mut seen).await.unwrap();
                assert_eq!(seen, batch);
            }
            writing.await.unwrap().unwrap();
            assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
        }
    }
}
