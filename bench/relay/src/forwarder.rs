//! The roof: the sockets, system calls and offloads of the relay, and nothing between.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use pilot::udp::{Receiver, Run, Socket};

/// Socket buffers in bytes: those of the relay.
const BUFFER: usize = 4 << 20;

/// Sends what comes to a port on to an endpoint, for ever.
pub fn run(listen: u16, to: SocketAddr) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, listen))?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)?;
    setsockopt(&socket, sockopt::SndBufForce, &BUFFER)?;
    let (socket, mut receiver) = (Socket::new(socket, false), Receiver::default());
    loop {
        poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
        while let Ok(more) = receiver.receive(&socket) {
            for received in receiver.received() {
                socket.send_run(&Run { to, ecn: received.ecn, bytes: received.bytes, size: received.size });
            }
            if !more {
                break;
            }
        }
    }
}
