//! Full speed for long: nothing lost, nothing stalled, nothing that grows, across many sessions.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::lab::{Nat, Node, TwoHomes};

/// What travels again and again: a length that no segment or buffer divides.
const BLOCK: usize = 1_000_003;
/// No second may pass without progress, but for a busy machine.
const STALL: Duration = Duration::from_secs(5);
/// Growth of a daemon's memory from the first third of a run to its end, in kB, that is no leak.
const GROWTH: u64 = 4_096;
/// Seconds after which no session is used any more (WireGuard's REJECT_AFTER_TIME).
const OLDEST: u64 = 180;

fn block() -> Vec<u8> {
    let mut state = 7_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(BLOCK).collect()
}

/// Sends blocks from one node to the other until `over`, which looks at each byte; counts them.
fn stream(from: &Node, to: &Node, over: &AtomicBool, received: &AtomicU64) {
    let block = block();
    let listener = to.host.enter(|| TcpListener::bind((to.ipv6.as_str(), 0)).unwrap());
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(STALL)).unwrap();
            check(&mut stream, &block, received)
        });
        let mut sender = from.host.enter(|| TcpStream::connect(address).unwrap());
        let mut sent = 0_u64;
        while !over.load(Relaxed) {
            sender.write_all(&block).expect("the connection survives");
            sent += BLOCK as u64;
        }
        drop(sender);
        assert_eq!(receiver.join().unwrap(), sent, "all of it arrived");
    });
}

fn check(stream: &mut TcpStream, block: &[u8], received: &AtomicU64) -> u64 {
    let (mut total, mut buffer) = (0_u64, vec![0; 256 << 10]);
    loop {
        let len = stream.read(&mut buffer).expect("no stall");
        if len == 0 {
            return total;
        }
        let mut rest = &buffer[..len];
        while !rest.is_empty() {
            let expected = &block[(total % BLOCK as u64) as usize..];
            let some = rest.len().min(expected.len());
            assert!(rest[..some] == expected[..some], "other bytes than were sent, near {total}");
            total += some as u64;
            rest = &rest[some..];
        }
        received.store(total, Relaxed);
    }
}

/// Memory of a daemon in kB.
fn memory(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn run(lanes: [&str; 2], time: Duration) {
    let mut homes = TwoHomes::new(Nat::PortRestricted, Nat::PortRestricted);
    homes.a.arguments.extend(["--lane", lanes[0]].map(str::to_owned));
    homes.b.arguments.extend(["--lane", lanes[1]].map(str::to_owned));
    homes.up_to_first_reply();
    homes.a.ctl(&["wait", "--for", "direct:b", "--timeout", "10s"]);
    let over = AtomicBool::new(false);
    let [there, back] = [AtomicU64::new(0), AtomicU64::new(0)];
    let start = Instant::now();
    let (mut early, mut last) = ([0; 2], [0; 2]);
    std::thread::scope(|scope| {
        scope.spawn(|| stream(&homes.a, &homes.b, &over, &there));
        scope.spawn(|| stream(&homes.b, &homes.a, &over, &back));
        while start.elapsed() < time {
            std::thread::sleep(Duration::from_secs(1));
            last = [memory(&homes.a), memory(&homes.b)];
            if start.elapsed() < time / 3 || early == [0; 2] {
                early = last;
            }
        }
        over.store(true, Relaxed);
    });
    let bits = |count: &AtomicU64| count.load(Relaxed) as f64 * 8e-9 / start.elapsed().as_secs_f64();
    println!(
        "lane {lanes:?}: {:.2} and {:.2} Gbit/s for {} s, RSS {early:?} then {last:?} kB",
        bits(&there),
        bits(&back),
        time.as_secs(),
    );
    let cipher = if lanes == ["true"; 2] { "aes-256-gcm" } else { "chacha20-poly1305" };
    for peer in [homes.a.peer(&homes.b), homes.b.peer(&homes.a)] {
        assert_eq!((&peer["path"], &peer["cipher"]), (&"direct".into(), &cipher.into()));
        let handshake = peer["last_handshake_secs"].as_u64().expect("there is a session");
        assert!(handshake < OLDEST, "the keys are {handshake} s old");
    }
    for (early, last) in early.iter().zip(last) {
        assert!(last <= early + GROWTH, "memory grew from {early} to {last} kB");
    }
}

#[test]
fn full_speed_is_byte_exact_with_and_without_the_lane() {
    for lanes in [["true", "true"], ["false", "false"], ["true", "false"]] {
        run(lanes, Duration::from_secs(2));
    }
}

#[test]
#[ignore = "half an hour; run by `make soak-speed`"]
fn half_an_hour_at_full_speed() {
    let seconds = std::env::var("PILOT_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    for lanes in [["true", "true"], ["false", "false"], ["true", "false"]] {
        run(lanes, Duration::from_secs(seconds));
    }
}
