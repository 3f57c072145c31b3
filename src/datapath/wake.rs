//! Sleeping until there is something to read, or nothing more to do.

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};
use std::{
    io::{self, PipeReader},
    os::fd::AsFd,
};

/// The most sources that one look tells of; the others come first the next time.
const EVENTS: usize = 16;
/// What the signal to stop is called; sources by their numbers.
const STOP: u64 = u64::MAX;

/// What a thread waits for.
pub struct Wake {
    poll: Epoll,
    events: [EpollEvent; EVENTS],
}

impl Wake {
    /// Ends the waiting once `stop` is closed at its other end.
    pub fn new(stop: &PipeReader) -> io::Result<Wake> {
        let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        poll.add(stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        Ok(Wake { poll, events: [EpollEvent::empty(); EVENTS] })
    }

    /// Waits for this one as well.
    pub fn add(&self, source: &impl AsFd, number: usize) -> io::Result<()> {
        Ok(self.poll.add(source, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?)
    }

    /// Waits until sources have something to read or an error to report, and gives their numbers; none when it is time
    /// to stop.
    pub fn wait(&mut self) -> io::Result<Option<impl Iterator<Item = usize>>> {
        let count = loop {
            match self.poll.wait(&mut self.events, EpollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                waited => break waited?,
            }
        };
        let ready = self.events.iter().take(count).map(EpollEvent::data);
        Ok(if ready.clone().any(|number| number == STOP) { None } else { Some(ready.map(|number| number as usize)) })
    }
}
