//! JSON lines: one JSON text a line, bounded, both ways.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter};

use crate::control::Error;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// Takes a connection apart into lines.
pub struct LineReader {
    io: Box<dyn AsyncRead + Send + Unpin>,
    buffer: BytesMut,
    /// Bytes of `buffer` that hold no line end.
    searched: usize,
    longest: usize,
    unread: Option<Bytes>,
}

impl LineReader {
    /// Lines of at most `longest` bytes.
    pub fn new(io: Box<dyn AsyncRead + Send + Unpin>, longest: usize) -> LineReader {
        LineReader { io, buffer: BytesMut::new(), searched: 0, longest, unread: None }
    }

    /// Gives a line back: it is the next again.
    pub fn unread(&mut self, line: Bytes) {
        self.unread = Some(line);
    }

    /// The next line that is not empty, without its end; none once the other side is done. Cancel safe.
    ///
    /// The inner error is a line that was too long: it is skipped, and the next can be read.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> io::Result<Option<Result<Bytes, Error>>> {
        if let Some(line) = self.unread.take() {
            return Ok(Some(Ok(line)));
        }
        loop {
            match self.take_line() {
                Some(Ok(line)) if line.iter().all(u8::is_ascii_whitespace) => {}
                Some(line) => return Ok(Some(line)),
                None if self.fill().await? => {}
                None => return Ok(self.rest()),
            }
        }
    }

    /// Whether a whole line that is not empty is here already, so that `next` would not wait.
    pub fn has_line(&self) -> bool {
        let end = memchr::memrchr(b'\n', &self.buffer);
        let whole = end.and_then(|end| self.buffer.get(..end)).unwrap_or_default();
        self.unread.is_some() || !whole.iter().all(u8::is_ascii_whitespace)
    }

    async fn fill(&mut self) -> io::Result<bool> {
        self.buffer.reserve(CHUNK);
        Ok(self.io.read_buf(&mut self.buffer).await? > 0)
    }

    fn take_line(&mut self) -> Option<Result<Bytes, Error>> {
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        let end = memchr::memchr(b'\n', unsearched);
        let Some(end) = end.map(|end| self.searched + end) else {
            self.searched = self.buffer.len();
            self.forget_excess();
            return None;
        };
        self.searched = 0;
        let line = self.buffer.split_to(end).freeze();
        self.buffer.advance(1);
        Some(self.checked(line))
    }

    /// What a line needs no more to be known as too long is not kept.
    fn forget_excess(&mut self) {
        if self.buffer.len() > self.longest + CHUNK {
            self.buffer.truncate(self.longest + 1);
            self.searched = self.buffer.len();
        }
    }

    fn rest(&mut self) -> Option<Result<Bytes, Error>> {
        self.searched = 0;
        let line = self.buffer.split().freeze();
        let is_blank = line.iter().all(u8::is_ascii_whitespace);
        (!is_blank).then(|| self.checked(line))
    }

    fn checked(&self, line: Bytes) -> Result<Bytes, Error> {
        let longest = self.longest;
        if line.len() <= longest {
            return Ok(line);
        }
        Err(Error::new("too_large", format!("a line is longer than {longest} bytes and was skipped"))
            .hint("send large data as a file: `pilotctl send-file`"))
    }
}

/// Puts lines on a connection; they go when flushed, or when there are many.
pub struct LineWriter {
    io: BufWriter<Box<dyn AsyncWrite + Send + Unpin>>,
}

impl LineWriter {
    /// Writes to `io`.
    pub fn new(io: Box<dyn AsyncWrite + Send + Unpin>) -> LineWriter {
        LineWriter { io: BufWriter::with_capacity(16 << 10, io) }
    }

    /// Writes bytes, which bring their own line ends.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await
    }

    /// Writes one JSON value as a line.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn write_json(&mut self, value: &serde_json::Value) -> io::Result<()> {
        self.io.write_all(format!("{value}\n").as_bytes()).await
    }

    /// Sends what was written.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.io.flush().await
    }

    /// Sends what was written and says that no more comes.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }
}
