//! The durable inbox of a real node: messages a second beside what the same disk can sync, one by one.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use pilot::services::api::inbox_client::InboxClient;
use pilot::services::api::{Message, Receipt};
use pilot_bench_lab::{Network, output};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::lab::Lab;
use crate::payload::Payload;

/// Messages under way on one gRPC stream at most; more are spread over several.
const PER_STREAM: usize = 250;
/// Messages of one measurement at most: less than an inbox keeps of one sender.
const MOST: usize = 80_000;

/// How to measure.
#[derive(Args, Clone, Debug)]
pub struct Plan {
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Seconds a measurement.
    #[arg(long, default_value_t = 3.0)]
    pub secs: f64,
    /// One round of one second each, to see that it runs.
    #[arg(long)]
    pub quick: bool,
    /// Messages under way at once.
    #[arg(long, value_delimiter = ',', default_value = "1,64,1000")]
    pub in_flight: Vec<usize>,
    /// A folder on the disk to measure.
    #[arg(long, default_value = "target/bench")]
    pub folder: PathBuf,
    /// Where pilotd and pilotctl are.
    #[arg(long, default_value = "target/release")]
    pub programs: PathBuf,
    /// Where the results go, as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// What one measurement gave.
struct Figure {
    per_sec: f64,
    p99_us: f64,
}

/// Measures, and prints a table.
///
/// # Errors
/// The node does not start, or refused a message.
pub fn run(mut plan: Plan) -> Result<()> {
    if plan.quick {
        (plan.rounds, plan.secs) = (1, 1.0);
    }
    std::fs::create_dir_all(&plan.folder)?;
    let (lab, dir) = (Lab::new()?, tempfile::tempdir_in(std::path::absolute(&plan.folder)?)?);
    let programs = std::path::absolute(&plan.programs)?;
    let network = Network { programs: &programs, dir: dir.path() };
    let node = network.node(&lab.servers, "inbox", None, &[])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // Index 0 is the disk by itself.
    let mut figures: Vec<Vec<Figure>> = std::iter::repeat_with(Vec::new).take(plan.in_flight.len() + 1).collect();
    for round in 1..=plan.rounds {
        for (index, measured) in figures.iter_mut().enumerate() {
            let figure = match index.checked_sub(1).and_then(|index| plan.in_flight.get(index)) {
                None => sync_one_by_one(dir.path(), plan.secs)?,
                Some(&in_flight) => runtime.block_on(deliver(&node.socket, in_flight, plan.secs, round))?,
            };
            eprintln!(
                "round {round}  {:<12} {:>9.0}/s  p99 {:.0} µs",
                name(&plan, index),
                figure.per_sec,
                figure.p99_us
            );
            measured.push(figure);
            clear(&node.socket)?;
        }
    }
    report(&plan, &figures)
}

fn name(plan: &Plan, index: usize) -> String {
    match index.checked_sub(1).and_then(|index| plan.in_flight.get(index)) {
        None => "fdatasync".to_owned(),
        Some(count) => format!("{count} in flight"),
    }
}

/// Writes and syncs payloads into a file, each before the next.
fn sync_one_by_one(dir: &Path, secs: f64) -> Result<Figure> {
    let path = dir.join("one-by-one");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let mut payload = Payload::new(Instant::now());
    let (started, mut took) = (Instant::now(), Vec::new());
    while started.elapsed().as_secs_f64() < secs {
        let before = Instant::now();
        file.write_all(payload.numbered(took.len() as u64))?;
        file.sync_data().with_context(|| format!("descriptor {}", file.as_raw_fd()))?;
        took.push(before.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(figure(took, started.elapsed()))
}

fn figure(mut took: Vec<Duration>, elapsed: Duration) -> Figure {
    took.sort_unstable();
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
    Figure { per_sec: took.len() as f64 / elapsed.as_secs_f64(), p99_us: p99.as_secs_f64() * 1e6 }
}

async fn deliver(socket: &Path, in_flight: usize, secs: f64, round: usize) -> Result<Figure> {
    let prefix = format!("{round}-{in_flight}");
    let started = Instant::now();
    let deadline = started + Duration::from_secs_f64(secs);
    let mut took = Vec::new();
    if in_flight == 1 {
        took = one_by_one(connect(socket).await?, &prefix, deadline).await?;
    } else {
        let streams = in_flight.div_ceil(PER_STREAM);
        let mut running = tokio::task::JoinSet::new();
        for stream in 0..streams {
            let (client, prefix) = (connect(socket).await?, format!("{prefix}-{stream}"));
            running.spawn(pipelined(client, prefix, in_flight / streams, deadline, MOST / streams));
        }
        while let Some(part) = running.join_next().await {
            took.extend(part??);
        }
    }
    Ok(figure(took, started.elapsed()))
}

async fn connect(socket: &Path) -> Result<InboxClient<Channel>> {
    let socket: Arc<Path> = socket.into();
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(hyper_util::rt::TokioIo::new) }
    });
    Ok(InboxClient::new(Endpoint::from_static("http://pilotd").connect_with_connector(connector).await?))
}

fn message(prefix: &str, number: usize, payload: &mut Payload) -> Message {
    let data = payload.numbered(number as u64).to_vec().into();
    Message { id: format!("{prefix}-{number}"), r#type: "json".to_owned(), data, ..Message::default() }
}

async fn one_by_one(mut client: InboxClient<Channel>, prefix: &str, deadline: Instant) -> Result<Vec<Duration>> {
    let (mut took, mut payload) = (Vec::new(), Payload::new(Instant::now()));
    while Instant::now() < deadline {
        let before = Instant::now();
        check(&client.deliver(message(prefix, took.len(), &mut payload)).await?.into_inner())?;
        took.push(before.elapsed());
    }
    Ok(took)
}

/// Keeps `in_flight` messages under way; receipts come in order.
async fn pipelined(
    mut client: InboxClient<Channel>,
    prefix: String,
    in_flight: usize,
    deadline: Instant,
    most: usize,
) -> Result<Vec<Duration>> {
    let room = Arc::new(Semaphore::new(in_flight));
    let (messages, outgoing) = mpsc::unbounded_channel();
    let (times, mut sent_at) = mpsc::unbounded_channel();
    let sender_room = room.clone();
    tokio::spawn(async move {
        let mut payload = Payload::new(Instant::now());
        for number in 0..most {
            let Ok(permit) = sender_room.acquire().await else { return };
            permit.forget();
            let now = Instant::now();
            if now > deadline
                || times.send(now).is_err()
                || messages.send(message(&prefix, number, &mut payload)).is_err()
            {
                return;
            }
        }
    });
    let mut receipts = client.deliver_stream(UnboundedReceiverStream::new(outgoing)).await?.into_inner();
    let mut took = Vec::new();
    while let Some(receipt) = receipts.message().await? {
        check(&receipt)?;
        let sent = sent_at.recv().await.context("a receipt for nothing")?;
        took.push(sent.elapsed());
        room.add_permits(1);
    }
    Ok(took)
}

fn check(receipt: &Receipt) -> Result<()> {
    match &receipt.refused {
        Some(refused) => bail!("{} was refused: {}", receipt.id, refused.message),
        None if receipt.duplicate => bail!("{} counts as a duplicate", receipt.id),
        None => Ok(()),
    }
}

fn clear(socket: &Path) -> Result<String> {
    output(std::process::Command::new("curl").args(["-sf", "--unix-socket"]).arg(socket).args([
        "-H",
        "content-type: application/json",
        "-d",
        "{\"all\":true}",
        "http://pilotd/v1/inbox/clear",
    ]))
}

fn report(plan: &Plan, figures: &[Vec<Figure>]) -> Result<()> {
    let median = |figures: &[Figure], measure: fn(&Figure) -> f64| {
        let mut values: Vec<f64> = figures.iter().map(measure).collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        (at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
    };
    let disk = figures.first().map_or(f64::NAN, |figures| median(figures, |figure| figure.per_sec).0);
    println!("durable messages of 128 bytes, {} rounds of {} s; median (lowest to highest)\n", plan.rounds, plan.secs);
    println!("{:<16}{:<32}{:>12}{:>10}", "", "messages/s", "÷ fdatasync", "p99 µs");
    let mut rows: Vec<Value> = Vec::new();
    for (index, figures) in figures.iter().enumerate() {
        let (rate, lowest, highest) = median(figures, |figure| figure.per_sec);
        let p99 = median(figures, |figure| figure.p99_us).0;
        let spread = format!("{rate:.0} ({lowest:.0} to {highest:.0})");
        println!("{:<16}{spread:<32}{:>12.1}{p99:>10.0}", name(plan, index), rate / disk);
        rows.push(json!({"what": name(plan, index), "per_sec": {"median": rate, "lowest": lowest, "highest": highest},
            "ratio_to_fdatasync": rate / disk, "p99_us": p99}));
    }
    if let Some(path) = &plan.json {
        std::fs::write(
            path,
            serde_json::to_string_pretty(&json!({"rounds": plan.rounds, "secs": plan.secs, "results": rows}))?,
        )?;
    }
    Ok(())
}
