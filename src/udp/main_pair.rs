//! The sockets of the main port, one a family, and what wakes the thread that receives from them.

use super::bind::{self, Pair};
use super::socket::Socket;
use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};
use std::{io, net::UdpSocket, os::fd::AsFd};

/// A socket a family.
pub struct Main {
    pub v4: Option<Socket>,
    pub v6: Option<Socket>,
    poll: Epoll,
}

/// A socket that has something to read.
pub enum Ready<'a> {
    Main(&'a UdpSocket),
    /// A spare one, by its number.
    Spare(u16),
}

/// What the main sockets and the signal to stop are called in events; spare ones by their number.
const V4: u64 = 1 << 32;
const V6: u64 = 1 << 33;
const STOP: u64 = 1 << 34;

impl Main {
    /// On `port`, which nobody else may have; 0 takes a random one, the same for both families if possible.
    pub fn bind(port: u16) -> io::Result<Main> {
        Main::new(if port == 0 { bind::random() } else { bind::pair(port) }?)
    }

    /// More sockets on the same ports.
    pub fn another(&self) -> io::Result<Main> {
        let another = |socket: &Option<Socket>| socket.as_deref().map(bind::another).transpose();
        Main::new((another(&self.v4)?, another(&self.v6)?))
    }

    fn new((v4, v6): Pair) -> io::Result<Main> {
        let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (socket, name) in [(&v4, V4), (&v6, V6)] {
            if let Some(socket) = socket {
                poll.add(&**socket, EpollEvent::new(EpollFlags::EPOLLIN, name))?;
            }
        }
        Ok(Main { v4, v6, poll })
    }

    /// To wait for spare sockets, too.
    pub fn poll(&self) -> &Epoll {
        &self.poll
    }

    /// Lets [`Main::wait_each`] end once the other end of `stop` is closed.
    pub fn stop_by(&self, stop: &impl AsFd) -> io::Result<()> {
        Ok(self.poll.add(stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?)
    }

    /// Waits until there is something to read, and gives the sockets that have it to `take`; at most 64 at a time. False
    /// once it is to stop.
    pub fn wait_each(&self, mut take: impl FnMut(Ready<'_>)) -> io::Result<bool> {
        let mut events = [EpollEvent::empty(); 64];
        let count = match self.poll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => 0,
            waited => waited?,
        };
        for event in events.iter().take(count) {
            match event.data() {
                STOP => return Ok(false),
                V4 => self.v4.iter().for_each(|socket| take(Ready::Main(socket))),
                V6 => self.v6.iter().for_each(|socket| take(Ready::Main(socket))),
                spare => take(Ready::Spare(spare as u16)),
            }
        }
        Ok(true)
    }
}
