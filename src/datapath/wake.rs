//! Sleeping until there is something to read, or nothing more to do.

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use std::{io, os::fd::AsFd};

/// Waits until `source` has something to read or an error to report; `false` once `stop` is closed at its other end.
pub fn wait(stop: &impl AsFd, source: &impl AsFd) -> io::Result<bool> {
    let mut waits = [PollFd::new(stop.as_fd(), PollFlags::POLLIN), PollFd::new(source.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut waits, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(waits.first().and_then(PollFd::any) != Some(true)),
        }
    }
}
