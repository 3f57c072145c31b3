//! Many datagrams by one system call: `recvmmsg`, and UDP generic receive offload (Linux 5.0, `UDP_GRO`), by which the
//! kernel hands over datagrams of one flow and size one behind the other.

use super::control::{SPACE, Told};
use crate::wire::Ecn;
use nix::{errno::Errno, libc};
use socket2::{SockAddr, SockAddrStorage};
use std::{
    io, mem,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

/// Messages by one system call.
const MESSAGES: usize = 8;
/// Room for one message: the most that the kernel joins, in bytes.
const ROOM: usize = 1 << 16;

/// Takes datagrams from sockets into buffers of its own.
pub struct Receiver {
    buffer: Vec<u8>,
    messages: [Option<Message>; MESSAGES],
}

/// What is known of a message.
#[derive(Clone, Copy)]
struct Message {
    len: usize,
    from: SocketAddr,
    told: Told,
}

/// Datagrams of one flow.
pub struct Received<'a> {
    /// Where they came from.
    pub from: SocketAddr,
    /// The congestion bits of their IP headers.
    pub ecn: Ecn,
    /// All of them, one behind the other.
    pub bytes: &'a mut [u8],
    /// The size of each but the last, which may be shorter; in bytes.
    pub size: usize,
}

impl Default for Receiver {
    fn default() -> Receiver {
        Receiver { buffer: vec![0; MESSAGES * ROOM], messages: [None; MESSAGES] }
    }
}

impl Receiver {
    /// Takes what has come to a non-blocking socket, up to some messages, and says whether there may be more.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<bool> {
        self.messages = [None; MESSAGES];
        let mut names: [SockAddrStorage; MESSAGES] = std::array::from_fn(|_| SockAddrStorage::zeroed());
        let mut controls = [[0_u64; SPACE / 8]; MESSAGES];
        let mut slices: [libc::iovec; MESSAGES] = self.slices();
        // SAFETY: all of these are plain numbers and pointers, for which zero is a value.
        let mut headers: [libc::mmsghdr; MESSAGES] = unsafe { mem::zeroed() };
        for (((header, name), control), slice) in headers.iter_mut().zip(&mut names).zip(&mut controls).zip(&mut slices)
        {
            let header = &mut header.msg_hdr;
            header.msg_namelen = name.size_of();
            header.msg_name = std::ptr::from_mut(name).cast();
            header.msg_iov = slice;
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = SPACE as _;
        }
        let (fd, count) = (socket.as_raw_fd(), MESSAGES as u32);
        // SAFETY: each header points to a name, a control buffer and one slice of their stated lengths, all of which live
        // until the end of this function, and the slices to disjoint parts of our buffer, which nobody else touches.
        let taken =
            unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT, std::ptr::null_mut()) };
        let taken = Errno::result(taken)? as usize;
        for (((message, header), name), control) in
            self.messages.iter_mut().zip(&headers).zip(names).zip(&controls).take(taken)
        {
            let len = header.msg_len as usize;
            // SAFETY: the kernel wrote an address and its length.
            let name = unsafe { SockAddr::new(name, header.msg_hdr.msg_namelen) };
            *message = name.as_socket().map(|from| Message {
                len,
                from,
                told: told(control, header.msg_hdr.msg_controllen as _),
            });
        }
        Ok(taken == MESSAGES)
    }

    /// What [`Receiver::receive`] took last.
    pub fn received(&mut self) -> impl Iterator<Item = Received<'_>> {
        let places = self.buffer.chunks_exact_mut(ROOM).zip(&self.messages);
        places.filter_map(|(room, message)| {
            let Message { len, from, told } = (*message)?;
            let size = told.size.filter(|size| *size > 0).unwrap_or(len).max(1);
            Some(Received { from, ecn: told.ecn, bytes: room.get_mut(..len)?, size })
        })
    }

    fn slices(&mut self) -> [libc::iovec; MESSAGES] {
        let mut rooms = self.buffer.chunks_exact_mut(ROOM);
        std::array::from_fn(|_| {
            let room = rooms.next().unwrap_or_default();
            libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() }
        })
    }
}

/// What stands in the first `len` bytes of a control buffer.
fn told(control: &[u64; SPACE / 8], len: usize) -> Told {
    let mut bytes = [0; SPACE];
    for (eight, word) in bytes.chunks_exact_mut(8).zip(control) {
        eight.copy_from_slice(&word.to_ne_bytes());
    }
    Told::read(bytes.get(..len).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::Sockets;
    use super::super::run::Run;
    use super::*;
    use crate::tun::netns::Namespace;
    use crate::wire::path::MAIN;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::net::IpAddr;
    use std::os::fd::AsFd;

    /// All datagrams until so many came: their bytes and congestion bits.
    fn receive(sockets: &Sockets, wanted: usize) -> (Vec<(Vec<u8>, Ecn)>, usize) {
        let mut receiver = Receiver::default();
        let (mut all, mut messages) = (Vec::new(), 0);
        while all.len() < wanted {
            let mut wait = [PollFd::new(sockets.as_fd(), PollFlags::POLLIN)];
            assert!(poll(&mut wait, PollTimeout::from(10_000_u16)).unwrap() > 0, "{} of {wanted} came", all.len());
            let waited = sockets.wait_each(0, |_, socket| {
                let _ = receiver.receive(socket);
                for received in receiver.received() {
                    messages += 1;
                    all.extend(received.bytes.chunks(received.size).map(|datagram| (datagram.to_vec(), received.ecn)));
                }
            });
            assert!(waited.unwrap());
        }
        (all, messages)
    }

    #[test]
    fn kernel_udp_runs_arrive_datagram_by_datagram_with_their_congestion_bits() {
        let (Some(here), Some(there)) = (Namespace::new(), Namespace::new()) else {
            return;
        };
        here.cable("192.0.2.1/24", &there, "192.0.2.2/24");
        for (namespace, address) in [(&here, "2001:db8::1/64"), (&there, "2001:db8::2/64")] {
            namespace.run(&format!("ip address add {address} dev eth0 nodad"));
        }
        let [a, b] = [&here, &there].map(|namespace| namespace.enter(|| Sockets::bind(0, Default::default()).unwrap()));
        for to in ["192.0.2.2", "2001:db8::2"] {
            let to = SocketAddr::new(to.parse::<IpAddr>().unwrap(), b.port_v4().unwrap());
            let bytes: Vec<u8> = (0..30 * 1000 + 300_u32).map(|n| (n % 251) as u8).collect();
            for ecn in [Ecn::NotCapable, Ecn::Capable0, Ecn::Congested] {
                a.send_run(MAIN, &Run { to, ecn, bytes: &bytes, size: 1000 });
                let (all, messages) = receive(&b, 31);
                let expected: Vec<_> = bytes.chunks(1000).map(|datagram| (datagram.to_vec(), ecn)).collect();
                assert_eq!(all, expected, "{to} {ecn:?}");
                assert!(messages < 31, "nothing was joined");
            }
        }
    }

    #[test]
    fn kernel_udp_runs_that_the_link_cannot_carry_leave_what_fits() {
        use super::super::Sent;
        let (Some(here), Some(there)) = (Namespace::new(), Namespace::new()) else {
            return;
        };
        here.cable("192.0.2.1/24", &there, "192.0.2.2/24");
        here.run("ip link set eth0 mtu 1400");
        let [a, b] = [&here, &there].map(|namespace| namespace.enter(|| Sockets::bind(0, Default::default()).unwrap()));
        let to = SocketAddr::new([192, 0, 2, 2].into(), b.port_v4().unwrap());
        let bytes = vec![4; 3 * 1452 + 800];
        assert_eq!(a.send_run(MAIN, &Run { to, ecn: Ecn::NotCapable, bytes: &bytes, size: 1452 }), Sent::TooBig);
        assert_eq!(receive(&b, 1).0, [(vec![4; 800], Ecn::NotCapable)]);
        let bytes = vec![4; 3 * 1300];
        assert_eq!(a.send_run(MAIN, &Run { to, ecn: Ecn::NotCapable, bytes: &bytes, size: 1300 }), Sent::Out);
        assert_eq!(receive(&b, 3).0.len(), 3);
    }
}
