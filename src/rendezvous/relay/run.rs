//! Many datagrams at a time: those of one run that differ in nothing but their payload are looked up once.
//!
//! Comes in: datagrams of one sender, one behind the other, as the kernel joins them. Goes out: the same bytes, rewritten
//! where they stand, in stretches for one receiver each.

use std::ops::Range;
use std::time::Instant;

use super::{Endpoint, Relay};
use crate::rendezvous::bucket::{Bucket, Rate};
use crate::wire::relay::{self, Frame, HEADER, SEND};
use crate::wire::{Allocation, Drop, put};

/// Datagrams to send, which stand one behind the other in the buffer that they came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where they go.
    pub to: Endpoint,
    /// Their bytes in the buffer.
    pub range: Range<usize>,
    /// The size of each but the last, which may be shorter; in bytes.
    pub size: usize,
}

impl Forward {
    /// The same, where the buffer is what stands behind `start` bytes of another.
    pub fn behind(self, start: usize) -> Forward {
        Forward { range: start + self.range.start..start + self.range.end, ..self }
    }
}

/// Datagrams of one session to one allocation.
#[derive(Clone, Copy)]
struct Leg {
    session: u64,
    destination: Allocation,
}

impl Relay {
    /// Takes datagrams of `size` bytes each, but for the last, which may be shorter: the same as
    /// [`Relay::handle_datagram`] for one after the other. What there is to send is given to `forward`, in order.
    pub fn handle_run(
        &mut self,
        now: Instant,
        from: Endpoint,
        run: &mut [u8],
        size: usize,
        mut forward: impl FnMut(Forward),
    ) {
        let (size, mut start) = (size.max(1), 0);
        while let Some(rest) = run.get_mut(start..).filter(|rest| !rest.is_empty()) {
            let len = alike(rest, size);
            let Some(stretch) = rest.get_mut(..len) else { return };
            self.handle_alike(now, from, stretch, size, |part| forward(part.behind(start)));
            start += len;
        }
    }

    fn handle_alike(
        &mut self,
        now: Instant,
        from: Endpoint,
        stretch: &mut [u8],
        size: usize,
        mut forward: impl FnMut(Forward),
    ) {
        if let Ok(Frame::Send { session, destination, .. }) = Frame::parse(stretch) {
            self.carry(now, from, Leg { session, destination }, stretch, size, forward);
        } else if let Some((to, len)) = self.handle_datagram(now, from, stretch) {
            forward(Forward { to, range: 0..len, size: len });
        }
    }

    fn carry(
        &mut self,
        now: Instant,
        from: Endpoint,
        leg: Leg,
        stretch: &mut [u8],
        size: usize,
        mut forward: impl FnMut(Forward),
    ) {
        let to = self.sessions.receiver(leg.destination);
        let sender = match self.sessions.sender(now, leg.session, from) {
            Ok(sender) => sender,
            Err(reason) => return self.drops.add(reason, count(stretch.len(), size)),
        };
        let header = relay::deliver_header(sender.credential.allocation, leg.destination);
        let refused = admit(&mut sender.bucket, now, self.rate, stretch.len(), size, |range| {
            let datagrams = count(range.len(), size);
            let to = match to {
                Ok(to) => to,
                Err(reason) => return self.drops.add(reason, datagrams),
            };
            stretch.get_mut(range.clone()).unwrap_or_default().chunks_mut(size).for_each(|datagram| {
                // Each has a header, or it would not be alike.
                let _ = put(datagram, 0, header);
            });
            self.datagrams += datagrams;
            self.bytes += range.len() as u64;
            forward(Forward { to, range, size });
        });
        self.drops.add(Drop::RateLimited, refused);
    }
}

/// How many bytes at the front hold datagrams of one leg; those of the first datagram, if it is of none.
fn alike(run: &[u8], size: usize) -> usize {
    let first = size.min(run.len());
    let Some(header) = run.first_chunk::<HEADER>().filter(|header| header.starts_with(&[SEND, 0, 0, 0])) else {
        return first;
    };
    run.chunks(size).take_while(|datagram| datagram.starts_with(header)).map(<[u8]>::len).sum::<usize>().max(first)
}

/// Takes the bytes of each datagram from a bucket: gives those that may pass, and how many may not.
fn admit(
    bucket: &mut Bucket,
    now: Instant,
    rate: Rate,
    len: usize,
    size: usize,
    mut pass: impl FnMut(Range<usize>),
) -> u64 {
    if bucket.take(now, len as u64, rate).is_ok() {
        pass(0..len);
        return 0;
    }
    let (mut passing, mut refused) = (0..0, 0);
    for start in (0..len).step_by(size) {
        let end = len.min(start + size);
        if bucket.take(now, (end - start) as u64, rate).is_ok() {
            passing = if passing.end == start { passing.start..end } else { start..end };
        } else {
            refused += 1;
            if !passing.is_empty() {
                pass(std::mem::take(&mut passing));
            }
        }
    }
    if !passing.is_empty() {
        pass(passing);
    }
    refused
}

fn count(len: usize, size: usize) -> u64 {
    len.div_ceil(size) as u64
}
