//! The sockets of the main port, one a family, and what wakes the thread that receives from them.

use super::bind::{self, Pair};
use super::socket::Socket;
use crate::threads::Wake;
use std::{io, net::UdpSocket};

/// A socket a family.
pub struct Main {
    pub v4: Option<Socket>,
    pub v6: Option<Socket>,
    pub wake: Wake,
}

/// A socket that has something to read.
pub enum Ready<'a> {
    Main(&'a UdpSocket),
    /// A spare one, by its number.
    Spare(u16),
}

/// What the main sockets are called when there is something to read; spare ones by their number.
const V4: u64 = 1 << 32;
const V6: u64 = 1 << 33;

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
        let wake = Wake::new()?;
        for (socket, name) in [(&v4, V4), (&v6, V6)] {
            if let Some(socket) = socket {
                wake.add(&**socket, name)?;
            }
        }
        Ok(Main { v4, v6, wake })
    }

    /// Waits until there is something to read, and gives the sockets that have it to `take`. False once it is to stop.
    pub fn wait_each(&self, mut take: impl FnMut(Ready<'_>)) -> io::Result<bool> {
        let Some(ready) = self.wake.wait()? else { return Ok(false) };
        for name in ready {
            match name {
                V4 => self.v4.iter().for_each(|socket| take(Ready::Main(socket))),
                V6 => self.v6.iter().for_each(|socket| take(Ready::Main(socket))),
                spare => take(Ready::Spare(spare as u16)),
            }
        }
        Ok(true)
    }
}
