//! The relay binding between UDP and the stream.

use super::*;

const RELAY: &str = "192.0.2.1:9001";

/// A network whose UDP can be blocked; the stream opens 100 ms after it is wished for.
struct Net {
    client: Client,
    now: Now,
    udp: bool,
    tls: bool,
    wish: Wish,
    opens_at: Option<Instant>,
    notices: Vec<Notice>,
    /// Binds that went by UDP.
    binds: usize,
}

impl Net {
    fn new(udp: bool, tls: bool) -> Net {
        let now = start();
        let mut client = client(now);
        client.handle_link(now, up()).unwrap();
        client.handle_link(now, welcome(1)).unwrap();
        let wish = Wish::default();
        let mut net = Net { client, now, udp, tls, wish, opens_at: None, notices: Vec::new(), binds: 0 };
        net.exchange();
        net
    }

    fn exchange(&mut self) {
        loop {
            let out = drain(&mut self.client);
            self.notices.extend(out.notices);
            if out.wish.is_none() && out.transmitted.is_empty() && out.frames.is_empty() {
                return;
            }
            if let Some(wish) = out.wish {
                self.wished(wish);
            }
            self.binds += out.transmitted.iter().filter(|(_, payload)| payload[0] == 0x10).count();
            let heard = Out { transmitted: out.transmitted, ..Out::default() };
            if self.udp {
                answer(&mut self.client, self.now, &heard, SAME, endpoint(RELAY));
            }
            for frame in out.frames.iter().filter(|_| self.tls) {
                let Ok(Frame::Bind(bind)) = Frame::parse(frame) else { panic!("not a Bind") };
                let bound = relay::bound(bind.session, &KEY, bind.nonce);
                self.client.handle_frame(self.now, &bound).unwrap();
            }
        }
    }

    fn wished(&mut self, wish: Wish) {
        if wish.is_open && (!self.wish.is_open || wish.epoch != self.wish.epoch) {
            self.opens_at = Some(self.now.monotonic + Duration::from_millis(100));
        }
        self.wish = wish;
    }

    fn run(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        while self.now.monotonic < end {
            self.now = self.now.after(Duration::from_millis(10));
            if self.tls && self.opens_at.take_if(|at| *at <= self.now.monotonic).is_some() {
                self.client.handle_link(self.now, LinkEvent::StreamUp).unwrap();
            }
            self.client.handle_timeout(self.now);
            self.exchange();
        }
    }

    fn via(&self) -> Option<Via> {
        self.client.relay_via()
    }
}

const SECOND: Duration = Duration::from_secs(1);
const UDP: fn() -> Option<Via> = || Some(Via::Udp(endpoint(RELAY)));

#[test]
fn where_udp_passes_no_stream_is_wished_for() {
    let mut net = Net::new(true, true);
    net.run(60 * SECOND);
    assert_eq!((net.via(), net.wish), (UDP(), Wish::default()));
}

#[test]
fn where_udp_is_blocked_the_stream_binds_within_a_second_and_a_half() {
    let mut net = Net::new(false, true);
    net.run(SECOND * 3 / 2);
    assert_eq!(net.via(), Some(Via::Stream));
    assert_eq!(net.client.relay_address().unwrap().allocation.0, 77);
    let binds = net.binds;
    net.run(60 * SECOND);
    assert_eq!((net.via(), net.binds), (Some(Via::Stream), binds), "no Bind in the dark moves the session away");
}

#[test]
fn a_doubt_finds_blocked_udp_and_moves_to_the_stream_with_the_same_address() {
    let mut net = Net::new(true, true);
    net.run(5 * SECOND);
    let address = net.client.relay_address();
    net.notices.clear();
    net.udp = false;
    net.client.doubt(net.now);
    net.exchange();
    net.run(SECOND);
    assert_eq!(net.via(), Some(Via::Stream));
    assert_eq!(net.client.relay_address(), address);
    assert!(net.notices.contains(&Notice::Moved) && !net.notices.contains(&Notice::Changed), "{:?}", net.notices);
}

#[test]
fn the_binding_moves_back_when_udp_passes_again() {
    let mut net = Net::new(false, true);
    net.run(5 * SECOND);
    net.udp = true;
    net.run(90 * SECOND);
    assert_eq!(net.via(), UDP());
    assert!(!net.wish.is_open);
}

#[test]
fn a_doubt_that_the_relay_dispels_costs_one_bind() {
    let mut net = Net::new(true, true);
    net.run(5 * SECOND);
    let binds = net.binds;
    for _ in 0..10 {
        net.client.doubt(net.now);
        net.exchange();
    }
    assert_eq!((net.binds, net.wish.is_open), (binds + 1, false));
}

#[test]
fn a_stream_that_breaks_or_falls_silent_is_opened_anew() {
    let mut net = Net::new(false, true);
    net.run(5 * SECOND);
    net.client.handle_link(net.now, LinkEvent::StreamDown).unwrap();
    net.exchange();
    assert_eq!(net.via(), None);
    assert!(net.wish.is_open);
    net.opens_at = Some(net.now.monotonic + SECOND);
    net.run(2 * SECOND);
    assert_eq!(net.via(), Some(Via::Stream));
    net.tls = false;
    let epoch = net.wish.epoch;
    net.run(20 * SECOND);
    assert_eq!(net.via(), None);
    assert!(net.wish.is_open && net.wish.epoch > epoch);
}

#[test]
fn a_change_of_network_tries_udp_and_another_stream_at_once() {
    let mut net = Net::new(false, true);
    net.run(5 * SECOND);
    let (epoch, binds) = (net.wish.epoch, net.binds);
    net.client.network_changed(net.now);
    net.exchange();
    assert_eq!((net.wish, net.binds), (Wish { is_open: true, epoch: epoch + 1 }, binds + 1));
    net.udp = true;
    net.run(SECOND);
    assert_eq!(net.via(), UDP());
}
