//! Bursts with idle gaps between them: sessions that go deaf when nobody looks would lose one.

use std::time::Duration;

use crate::lab::{Host, TwoHomes};
use crate::wireguard::Interop;

/// Sends a burst of 50 pings, waits out each gap, sends another; fails on the first lost packet.
fn bursts(label: &str, from: &Host, address: &str, gaps: &[u64]) {
    for gap in std::iter::once(&0).chain(gaps) {
        std::thread::sleep(Duration::from_secs(*gap));
        let said = from.run(&format!("ping -6 -n -c 50 -i 0.02 -W 2 {address} || true"));
        assert!(said.contains(" 0% packet loss"), "{label}, after {gap} s of silence:\n{said}");
        println!("{label}: nothing lost after {gap} s of silence");
    }
}

fn soak(gaps: &[u64]) {
    let (homes, interop) = (TwoHomes::connected(), Interop::new());
    std::thread::scope(|scope| {
        scope.spawn(|| bursts("a to b", &homes.a.host, &homes.b.ipv6, gaps));
        scope.spawn(|| bursts("b to a", &homes.b.host, &homes.a.ipv6, gaps));
        scope.spawn(|| bursts("wireguard-go to us", &interop.stock, &interop.node.ipv6, gaps));
    });
    assert_eq!(homes.a.peer(&homes.b)["path"], "direct");
}

#[test]
fn no_burst_is_lost_after_an_idle_gap() {
    soak(&[20]);
}

#[test]
#[ignore = "ten minutes; run by `make soak`"]
fn ten_minutes_with_idle_gaps_lose_no_burst() {
    soak(&[20, 40, 200, 20, 40, 200, 20, 40, 20]);
}
