//! TUN → split → seal → UDP.

use super::{Parts, Slow, batch::Batch, refusals::Refusals, sparse, urgency::Urgency};
use crate::{
    peer::{NoWay, PeerTable, Way},
    threads::Wake,
    tun::{HEADROOM, Offload, Queue, flow_tag, split},
    wire::{Ecn, packet::traffic_class},
};
use std::{
    io::{self, PipeReader},
    time::Instant,
};

/// Room for the largest packet that the kernel hands over.
const BUFFER: usize = (64 << 10) + HEADROOM;

/// What a queue gives before the others have their turn, if they have something: so many bytes or packets.
const QUANTUM: usize = 64 << 10;
const READS: usize = 64;

/// Carries the packets of these queues until `stop` is closed; an error means that the device is gone.
pub fn run(parts: &Parts, stop: &PipeReader, queues: &[&Queue]) -> io::Result<()> {
    let wake = Wake::new()?;
    wake.stop_by(stop)?;
    for (number, queue) in (0..).zip(queues) {
        wake.add(*queue, number)?;
    }
    let mut buffer = vec![0; BUFFER];
    let refusals = Refusals::new(Instant::now());
    let mut sender = Sender { parts, batch: Batch::new(), refusals, urgency: Urgency::of_sender() };
    while let Some(ready) = wake.wait()? {
        let table = parts.table.load();
        for number in ready.map(|number| number as usize) {
            let Some(queue) = queues.get(number) else { continue };
            sender.drain(&table, queue, &mut buffer)?;
        }
        sender.batch.send(parts, &mut sender.refusals);
        sender.urgency.turn();
    }
    Ok(())
}

struct Sender<'a> {
    parts: &'a Parts,
    batch: Batch,
    refusals: Refusals,
    urgency: Urgency,
}

impl Sender<'_> {
    /// Takes what is in a queue, for one turn.
    fn drain(&mut self, table: &PeerTable, queue: &Queue, buffer: &mut [u8]) -> io::Result<()> {
        let mut taken = 0;
        for _ in 0..READS {
            let (offload, packet) = match queue.read(buffer) {
                Ok(read) => read,
                Err(error) if passing(&error) => break,
                Err(error) => return Err(error),
            };
            taken += packet.len();
            let packet = buffer.get_mut(packet).unwrap_or_default();
            let place = sparse::place(packet, flow_tag(packet));
            let sealed = self.take(table, &offload, packet);
            self.urgency.carried(place, sealed);
            if taken >= QUANTUM {
                break;
            }
        }
        Ok(())
    }

    /// Seals all segments of a packet, and counts them; they differ in nothing that decides about their way.
    fn take(&mut self, table: &PeerTable, offload: &Offload, packet: &mut [u8]) -> u32 {
        let mut sealed = 0;
        let mut segments = match split(offload, packet) {
            Ok(segments) => segments,
            Err(reason) => {
                self.parts.drops.count(reason);
                return sealed;
            }
        };
        let mut known: Option<Way<'_>> = None;
        while let Some(segment) = segments.next_segment() {
            if known.is_none() {
                table.clamp_outbound(segment);
            }
            let way = match known.map_or_else(|| table.way(segment), Ok) {
                Ok(way) => way,
                Err(NoWay::TooBig { mtu }) => {
                    self.refusals.refuse(self.parts, segment, mtu);
                    return sealed;
                }
                Err(NoWay::Slow(_)) => {
                    self.parts.hand_over(Slow::Packet(segment.to_vec()));
                    continue;
                }
                Err(NoWay::Drop(reason)) => {
                    self.parts.drops.count(reason);
                    continue;
                }
            };
            known = Some(way);
            let ecn = Ecn::from_bits(traffic_class(segment));
            if self.batch.seal(self.parts, &mut self.refusals, &way, ecn, segment) {
                sealed += 1;
            } else {
                self.parts.hand_over(Slow::Packet(segment.to_vec()));
            }
        }
        sealed
    }
}

/// Nothing to read now, or an interruption: no reason to stop.
fn passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
