//! Sleeping until there is something to read, or nothing more to do.

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

/// The most sources that one look tells of; the others come first the next time.
const EVENTS: usize = 64;
/// What the signal to stop is called; sources by their numbers.
const STOP: u64 = u64::MAX;

/// What a thread waits for.
pub struct Wake(Epoll);

impl Wake {
    /// Waits for nothing yet, and without end.
    pub fn new() -> io::Result<Wake> {
        Ok(Wake(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Ends the waiting once `stop` is closed at its other end.
    pub fn stop_by(&self, stop: &impl AsFd) -> io::Result<()> {
        self.add(stop, STOP)
    }

    /// Waits for this one as well, until it is closed.
    pub fn add(&self, source: &impl AsFd, number: u64) -> io::Result<()> {
        Ok(self.0.add(source, EpollEvent::new(EpollFlags::EPOLLIN, number))?)
    }

    /// Waits until sources have something to read or an error to report, and gives their numbers; none when it is time
    /// to stop.
    pub fn wait(&self) -> io::Result<Option<impl Iterator<Item = u64>>> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = loop {
            match self.0.wait(&mut events, EpollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                waited => break waited?,
            }
        };
        let is_over = events.iter().take(count).any(|event| event.data() == STOP);
        Ok((!is_over).then(|| events.into_iter().take(count).map(|event| event.data())))
    }
}

/// Readable while any of the sources is.
impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}
