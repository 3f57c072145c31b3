//! A long cable: frames that go in at one end come out at the other after a fixed time.
//!
//! Each end is a TAP device; a thread for each direction carries frames in order. The kernel of the lab needs no
//! queueing discipline for it. Threads end when the lab takes their devices away.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::internet::public_route;
use super::{Host, Lab, Segment, sh};

/// The largest frame on a segment of the lab.
const FRAME: usize = 1600;

/// What keeps a long cable in place.
pub struct DelayLine {
    _ends: [Arc<SyncDevice>; 2],
}

impl Lab {
    /// A public IPv4 host at the end of a cable in which each frame takes `delay`.
    pub fn distant_host(&mut self, name: &str, delay: Duration) -> (Host, DelayLine) {
        let segment = Segment { v6: None, ..self.internet() };
        let octet = self.next(&segment);
        let (namespace, there) = (self.namespace(name), segment.namespace.clone());
        let ip = format!("{}.{octet}", segment.v4.expect("the internet has IPv4"));
        let host = Host { namespace: namespace.clone(), ip: ip.clone(), ipv6: None };
        let bridge = Host { namespace: there.clone(), ip: String::new(), ipv6: None };
        let ends = [tap(&host, "wan"), tap(&bridge, &format!("p{octet}"))];
        sh(&format!(
            "ip -n {namespace} addr add {ip}/32 dev wan && ip -n {namespace} link set wan up && {} \
             && ip -n {there} link set p{octet} master br0 up",
            public_route(&namespace)
        ));
        carry(ends[0].clone(), ends[1].clone(), delay);
        carry(ends[1].clone(), ends[0].clone(), delay);
        (host, DelayLine { _ends: ends })
    }
}

fn tap(host: &Host, name: &str) -> Arc<SyncDevice> {
    let device = host.enter(|| DeviceBuilder::new().name(name).layer(Layer::L2).build_sync());
    Arc::new(device.expect("a TAP device"))
}

fn carry(from: Arc<SyncDevice>, to: Arc<SyncDevice>, delay: Duration) {
    let (sender, frames) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; FRAME];
        while let Ok(length) = from.recv(&mut buffer) {
            if sender.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || deliver(&frames, &to));
}

fn deliver(frames: &Receiver<(Instant, Vec<u8>)>, to: &SyncDevice) {
    for (due, frame) in frames {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.send(&frame).is_err() {
            return;
        }
    }
}
