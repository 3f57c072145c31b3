//! Frames: a 4-byte big-endian length, and as many bytes.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};

use super::route::Reading;
use crate::services::events::frame::{HEADER, MAX_FRAME, header};

/// A frame that is longer than this is followed by another rather than made longer.
const FULL: usize = 128 << 10;
/// Bytes read at once: at first, and where much comes.
const CHUNKS: (usize, usize) = (16 << 10, 128 << 10);
/// With less room than this in the buffer a new one is taken.
const LEAST: usize = 4 << 10;

/// Takes frames off a connection.
pub(super) struct FrameReader {
    reading: Reading,
    buffer: BytesMut,
    /// Room that the next buffer gets.
    chunk: usize,
}

impl FrameReader {
    /// Reads from a connection, of which `begun` has been read already.
    pub fn new(reading: Reading, begun: Bytes) -> FrameReader {
        FrameReader { reading, buffer: BytesMut::from(begun), chunk: CHUNKS.0 }
    }

    /// The next frame; none where the other side is done.
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            let missing = match self.whole_frame()? {
                Ok(frame) => return Poll::Ready(Ok(Some(frame))),
                Err(missing) => missing,
            };
            self.make_room(missing);
            if ready!(self.reading.poll_read(context, &mut self.buffer))? == 0 {
                return Poll::Ready(Ok(None));
            }
            if self.buffer.len() == self.buffer.capacity() {
                self.chunk = (self.chunk * 2).min(CHUNKS.1);
            }
        }
    }

    fn make_room(&mut self, missing: usize) {
        if self.buffer.capacity() - self.buffer.len() < missing.max(LEAST) {
            self.buffer.reserve(missing.max(self.chunk));
        }
    }

    /// The next frame.
    pub async fn frame(&mut self) -> io::Result<Option<Bytes>> {
        std::future::poll_fn(|context| self.poll_frame(context)).await
    }

    /// A frame if it is here as a whole, else how many bytes are missing at least.
    fn whole_frame(&mut self) -> io::Result<Result<Bytes, usize>> {
        let Some(head) = self.buffer.first_chunk::<HEADER>() else { return Ok(Err(HEADER)) };
        let length = u32::from_be_bytes(*head) as usize;
        if length > MAX_FRAME {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
        }
        if self.buffer.len() < HEADER + length {
            return Ok(Err(HEADER + length - self.buffer.len()));
        }
        self.buffer.advance(HEADER);
        Ok(Ok(self.buffer.split_to(length).freeze()))
    }
}

/// Frames that grow at their end, and are written together.
#[derive(Default)]
pub(super) struct FrameBuffer {
    bytes: BytesMut,
    /// Where the frame that grows begins.
    last: usize,
}

impl FrameBuffer {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The buffer to which a part of at most `length` bytes is appended, which stays in one frame.
    pub fn room(&mut self, length: usize) -> &mut BytesMut {
        let grown = self.bytes.len() - self.last;
        if grown == 0 {
            self.begin();
        } else if grown + length > FULL {
            self.seal();
            self.begin();
        }
        &mut self.bytes
    }

    fn begin(&mut self) {
        self.last = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER]);
    }

    fn seal(&mut self) {
        let length = (self.bytes.len() - self.last).saturating_sub(HEADER);
        if let Some(place) = self.bytes.get_mut(self.last..).and_then(|frame| frame.first_chunk_mut::<HEADER>()) {
            *place = header(length);
        }
        self.last = self.bytes.len();
    }

    /// Everything that waits, as it goes on the connection.
    pub fn sealed(&mut self) -> &[u8] {
        if self.last < self.bytes.len() {
            self.seal();
        }
        &self.bytes
    }

    /// Forgets everything, or all but what comes after the first `written` bytes of what was sealed.
    pub fn consume(&mut self, written: usize) {
        if written >= self.bytes.len() {
            self.bytes.clear();
        } else {
            self.bytes.advance(written);
        }
        self.last = self.bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::super::route::Socket;
    use super::*;

    #[test]
    fn parts_share_frames_until_one_is_full() {
        let mut buffer = FrameBuffer::default();
        for _ in 0..3 {
            buffer.room(5).extend_from_slice(b"12345");
        }
        buffer.room(FULL).extend_from_slice(&[7; FULL]);
        let bytes = buffer.sealed().to_vec();
        assert_eq!(bytes[..4], 15u32.to_be_bytes());
        assert_eq!(bytes[19..23], u32::try_from(FULL).unwrap().to_be_bytes());
        assert_eq!(bytes.len(), 4 + 15 + 4 + FULL);
        buffer.consume(bytes.len());
        assert!(buffer.is_empty());
        buffer.room(1).extend_from_slice(&[1]);
        assert_eq!(buffer.sealed(), [0, 0, 0, 1, 1]);
    }

    #[test]
    fn what_the_kernel_did_not_take_waits_in_front_of_a_new_frame() {
        let mut buffer = FrameBuffer::default();
        buffer.room(2).extend_from_slice(b"ab");
        assert_eq!(buffer.sealed(), b"\0\0\0\x02ab");
        buffer.consume(5);
        buffer.room(1).extend_from_slice(b"c");
        assert_eq!(buffer.sealed(), b"b\0\0\0\x01c");
    }

    #[tokio::test]
    async fn frames_arrive_however_they_are_cut_and_a_giant_is_refused() {
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        let (reading, _) = Socket::Unix(ours).split();
        let mut reader = FrameReader::new(reading, Bytes::from_static(b"\0\0\0\x02a"));
        let (_, theirs) = Socket::Unix(theirs).split();
        for piece in [&b"b\0\0"[..], b"\0\x01", b"c\xff\xff\xff\xff"] {
            theirs.write_all(piece).await.unwrap();
        }
        assert_eq!(reader.frame().await.unwrap().unwrap(), "ab");
        assert_eq!(reader.frame().await.unwrap().unwrap(), "c");
        assert_eq!(reader.frame().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
