//! One measurement: a publisher and its subscribers in this process, a server elsewhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use pilot_bench_lab::{Cpu, resident_mib};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::payload::{PROBE, Payload};
use crate::progress::Progress;
use crate::rivals::{self, Name, Place, Publisher, Rival};

/// Deliveries that may be under way, and what of it a subscriber has at least and at most.
const WINDOW: (u64, u64, u64) = (160_000, 256, 16_384);
/// Events between two looks at the window and the clock.
const STRIDE: u64 = 64;
/// Events before the measurement begins.
const WARM_UP: u64 = 20_000;

/// How long it may take until the first event reaches everybody.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Load {
    /// Whom.
    #[arg(long)]
    pub rival: Name,
    /// Where subscribers connect: IP:PORT, or the path of a socket.
    #[arg(long)]
    pub subscribe_at: Place,
    /// Where the publisher connects.
    #[arg(long)]
    pub publish_at: Place,
    /// The network namespace in which the publisher is; none for that of the subscribers.
    #[arg(long)]
    pub publish_from: Option<String>,
    /// The server's processes.
    #[arg(long, value_delimiter = ',')]
    pub pids: Vec<i32>,
    /// How many subscribers; each gets every event.
    #[arg(long, default_value_t = 1)]
    pub subscribers: usize,
    /// To how many patterns each of them subscribes.
    #[arg(long, default_value_t = 1)]
    pub patterns: usize,
    /// Events a second; none for as many as all subscribers take without loss.
    #[arg(long)]
    pub rate: Option<u64>,
    /// How long.
    #[arg(long, default_value_t = 3.0)]
    pub secs: f64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Events published; every one of them reached every subscriber.
    pub events: u64,
    /// Seconds from the first event to the last delivery.
    pub secs: f64,
    /// Events a second.
    pub events_per_sec: f64,
    /// Deliveries a second.
    pub deliveries_per_sec: f64,
    /// Processor seconds of the servers, a million events.
    pub server_cpu_per_million: f64,
    /// Processor seconds of publisher and subscribers, a million events.
    pub load_cpu_per_million: f64,
    /// Processor seconds of the machine, a million events.
    pub machine_cpu_per_million: f64,
    /// Memory of the servers, MiB.
    pub resident_mib: f64,
    /// Median age at delivery, microseconds; at fixed rates.
    pub p50_us: Option<f64>,
    /// 99th percentile.
    pub p99_us: Option<f64>,
}

/// Measures, and prints the [`Outcome`] as one line of JSON.
///
/// # Errors
/// The server cannot be used, or an event was lost, repeated or out of order.
pub fn run(load: &Load) -> Result<()> {
    let outcome = match load.rival {
        Name::Pilot | Name::PilotNodes => measure::<rivals::pilot::Pilot>(load),
        Name::NatsRaw => measure::<rivals::nats_raw::NatsRaw>(load),
        Name::NatsAsync => measure::<rivals::nats_async::NatsAsync>(load),
        Name::RedisRaw => measure::<rivals::redis_raw::RedisRaw>(load),
        Name::RedisCrate => measure::<rivals::redis_crate::RedisCrate>(load),
        Name::Echo => measure::<rivals::echo::Echoed>(load),
    }?;
    println!("{}", serde_json::to_string(&outcome)?);
    // Connections and threads end with the process.
    std::process::exit(0);
}

fn measure<R: Rival>(load: &Load) -> Result<Outcome> {
    let progress = Progress::new(load.subscribers);
    let subscribing = runtime()?;
    subscribing.block_on(async {
        for sink in progress.sinks() {
            R::subscribe(&load.subscribe_at, load.patterns, sink).await?;
        }
        anyhow::Ok(())
    })?;
    if let Some(namespace) = &load.publish_from {
        let namespace = std::fs::File::open(format!("/run/netns/{namespace}"))?;
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET)?;
    }
    // Threads are where the thread is that starts them. The publisher has this one for itself: clients that block do
    // not stop those that do not.
    runtime()?.block_on(publish::<R>(load, progress))
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

async fn publish<R: Rival>(load: &Load, progress: Arc<Progress>) -> Result<Outcome> {
    let publisher = R::publisher(&load.publish_at, load.rate.is_some()).await?;
    let mut run =
        Run { publisher, payload: Payload::new(progress.epoch()), progress, sent: 0, window: window(load.subscribers) };
    run.warm_up(load).await?;
    let (before, started) = (Cpu::now(&load.pids)?, Instant::now());
    let first = run.sent;
    match load.rate {
        Some(rate) => run.at_rate(rate, load.secs).await?,
        None => run.at_full_speed(load.secs).await?,
    }
    let secs = started.elapsed().as_secs_f64();
    let used = Cpu::now(&load.pids)?.since(&before);
    Ok(outcome(load, run.sent - first, secs, &used, &run.progress))
}

struct Run<P> {
    publisher: P,
    payload: Payload,
    progress: Arc<Progress>,
    sent: u64,
    window: u64,
}

/// Events that may be under way to the slowest subscriber.
fn window(subscribers: usize) -> u64 {
    (WINDOW.0 / subscribers.max(1) as u64).clamp(WINDOW.1, WINDOW.2)
}

impl<P: Publisher> Run<P> {
    /// Publishes probes until everybody has seen one: between nodes, interest travels after the subscription is made.
    async fn reach_everybody(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.progress.is_everybody_reached() {
            anyhow::ensure!(Instant::now() < deadline, "nothing has reached every subscriber within {PATIENCE:?}");
            self.publisher.publish(PROBE).await?;
            self.publisher.flush().await?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    async fn warm_up(&mut self, load: &Load) -> Result<()> {
        self.reach_everybody().await?;
        let count = if load.rate.is_some() { WARM_UP / 20 } else { WARM_UP } / load.subscribers.min(100) as u64;
        for _ in 0..count {
            if self.sent.is_multiple_of(STRIDE) {
                self.wait_for_room().await?;
            }
            self.publisher.publish(self.payload.numbered(self.sent)).await?;
            self.sent += 1;
        }
        self.arrive().await
    }

    async fn at_full_speed(&mut self, secs: f64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs_f64(secs);
        while Instant::now() < deadline {
            self.wait_for_room().await?;
            for _ in 0..STRIDE {
                self.publisher.publish(self.payload.numbered(self.sent)).await?;
                self.sent += 1;
            }
        }
        self.arrive().await
    }

    async fn at_rate(&mut self, rate: u64, secs: f64) -> Result<()> {
        self.progress.measure_latency();
        nix::sys::prctl::set_timerslack(1)?;
        let (started, count) = (Instant::now(), (rate as f64 * secs) as u64);
        for n in 0..count {
            let due = Duration::from_nanos(n * 1_000_000_000 / rate);
            if let Some(left) = due.checked_sub(started.elapsed()) {
                std::thread::sleep(left);
            }
            self.publisher.publish(self.payload.stamped(self.sent)).await?;
            self.sent += 1;
        }
        self.arrive().await
    }

    async fn wait_for_room(&mut self) -> Result<()> {
        let must_have = (self.sent + STRIDE).saturating_sub(self.window);
        if self.progress.slowest() < must_have {
            self.publisher.flush().await?;
            // A part of the window at once: the publisher is not woken for every few events.
            self.progress.reaches(must_have + self.window / 4).await?;
        }
        Ok(())
    }

    async fn arrive(&mut self) -> Result<()> {
        self.publisher.flush().await?;
        self.progress.reaches(self.sent).await
    }
}

fn outcome(load: &Load, events: u64, secs: f64, used: &Cpu, progress: &Progress) -> Outcome {
    let millions = events as f64 / 1e6;
    let ages = progress.latencies();
    let at = |share: f64| ages.get((ages.len() as f64 * share) as usize).map(|nanos| f64::from(*nanos) / 1e3);
    Outcome {
        events,
        secs,
        events_per_sec: events as f64 / secs,
        deliveries_per_sec: (events * load.subscribers as u64) as f64 / secs,
        server_cpu_per_million: used.servers / millions,
        load_cpu_per_million: used.load / millions,
        machine_cpu_per_million: used.machine / millions,
        resident_mib: resident_mib(&load.pids),
        p50_us: at(0.50),
        p99_us: at(0.99),
    }
}
