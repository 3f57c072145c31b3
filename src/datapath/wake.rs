//! Sleeping until there is something to read, or nothing more to do.

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

/// Waits until one of `sources` has something to read or an error to report; `false` once `stop` is closed at its other end.
pub fn wait(stop: &impl AsFd, sources: &[BorrowedFd<'_>]) -> io::Result<bool> {
    let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut waits = vec![readable(stop.as_fd())];
    waits.extend(sources.iter().copied().map(readable));
    loop {
        match poll(&mut waits, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(!stopped(&waits)),
        }
    }
}

/// Whether the first of the sources, the stop signal, has something to say.
fn stopped(waits: &[PollFd<'_>]) -> bool {
    waits.first().and_then(PollFd::any) == Some(true)
}
