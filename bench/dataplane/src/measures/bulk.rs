//! TCP as fast as it goes, by iperf3.

use std::io::Read;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pilot_bench_lab::Cpu;
use serde_json::Value;

use super::idle::{RESIDENT_A, RESIDENT_B, resident};
use super::{CONGESTION_CONTROL, Figure, Measure, PAIRS, less, more, pair};
use crate::contenders::{IPERF, Tunnel};

const FIGURES: &[Figure] =
    &[more("Gbit/s", 2), less("daemon s/GB", 2), less("machine s/GB", 2), RESIDENT_A, RESIDENT_B];

/// One stream from a to b.
pub const TCP_1_THERE: Measure =
    tcp("tcp-1-there", "TCP, one stream, a to b", |tunnel, span| run(tunnel, span, 1, false));
/// One stream from b to a.
pub const TCP_1_BACK: Measure = tcp("tcp-1-back", "TCP, one stream, b to a", |tunnel, span| run(tunnel, span, 1, true));
/// Eight streams from a to b.
pub const TCP_8_THERE: Measure =
    tcp("tcp-8-there", "TCP, eight streams, a to b", |tunnel, span| run(tunnel, span, 8, false));
/// Eight streams from b to a.
pub const TCP_8_BACK: Measure =
    tcp("tcp-8-back", "TCP, eight streams, b to a", |tunnel, span| run(tunnel, span, 8, true));

const fn tcp(name: &'static str, title: &'static str, run: fn(&Tunnel, Duration) -> Result<Vec<f64>>) -> Measure {
    Measure { name, title, topologies: PAIRS, is_first_only: false, figures: FIGURES, run }
}

/// How often memory is looked at.
const GLANCE: Duration = Duration::from_millis(50);

fn run(tunnel: &Tunnel, span: Duration, streams: u8, is_back: bool) -> Result<Vec<f64>> {
    let pids = tunnel.pids();
    let mut peak = resident(tunnel)?;
    let before = Cpu::now(&pids)?;
    let mut transfer = Transfer::start(tunnel, span, streams, is_back)?;
    while !transfer.is_over()? {
        std::thread::sleep(GLANCE);
        let now = resident(tunnel)?;
        peak = [peak[0].max(now[0]), peak[1].max(now[1])];
    }
    let used = Cpu::now(&pids)?.since(&before);
    let moved = transfer.finish()?;
    let daemons = if pids.is_empty() { f64::NAN } else { used.servers / moved.gigabytes };
    Ok(vec![moved.gbit_per_sec, daemons, used.machine / moved.gigabytes, peak[0], peak[1]])
}

/// iperf3's client, while it runs.
pub struct Transfer {
    child: Child,
    reader: Option<std::thread::JoinHandle<std::io::Result<String>>>,
}

/// What came through.
pub struct Moved {
    /// Payload, billions of bytes.
    pub gigabytes: f64,
    /// The same a second, billions of bits.
    pub gbit_per_sec: f64,
}

impl Transfer {
    /// Starts to send from a to b, or back.
    pub fn start(tunnel: &Tunnel, span: Duration, streams: u8, is_back: bool) -> Result<Transfer> {
        let (a, b) = pair(tunnel)?;
        let mut command = a.host.command("iperf3");
        command.args(["-J", "-i", "0", "-C", CONGESTION_CONTROL, "--connect-timeout", "5000"]);
        command.args(["-c", &b.address.to_string(), "-p", &IPERF.to_string()]);
        command.args(["-t", &span.as_secs_f64().ceil().to_string(), "-P", &streams.to_string()]);
        if is_back {
            command.arg("-R");
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut stdout = child.stdout.take().context("no pipe")?;
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        });
        Ok(Transfer { child, reader: Some(reader) })
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for the end.
    pub fn finish(mut self) -> Result<Moved> {
        self.child.wait()?;
        let text = self.reader.take().and_then(|reader| reader.join().ok()).context("iperf3 was not read")??;
        let all: Value = serde_json::from_str(&text).context("iperf3 says no JSON")?;
        if let Some(error) = all["error"].as_str() {
            bail!("iperf3: {error}");
        }
        let sum = &all["end"]["sum_received"];
        let number = |name: &str| sum[name].as_f64().filter(|number| *number > 0.0).context("iperf3 moved nothing");
        Ok(Moved { gigabytes: number("bytes")? / 1e9, gbit_per_sec: number("bits_per_second")? / 1e9 })
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        // After an error elsewhere it must not load the next measurement.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
