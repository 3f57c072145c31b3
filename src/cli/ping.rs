//! `pilotctl ping NODE`: round trips inside the tunnel, with the path that each took.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Session;
use super::arguments::PingArguments;
use crate::control::views::{PathKind, Pong};
use crate::control::{Error, Request};

#[derive(Serialize)]
struct Reply {
    seq: u32,
    rtt_ms: f64,
    path: PathKind,
    endpoint: Option<String>,
}

#[derive(Serialize)]
struct Summary {
    node: String,
    sent: u32,
    received: u32,
    min_ms: Option<f64>,
    avg_ms: Option<f64>,
    max_ms: Option<f64>,
    replies: Vec<Reply>,
}

pub async fn run(session: &Session, arguments: PingArguments) -> Result<ExitCode, Error> {
    let request = Request::Ping { target: arguments.node.clone(), timeout_ms: arguments.timeout.as_millis() as u64 };
    let mut replies = Vec::new();
    for seq in 1..=arguments.count {
        let started = Instant::now();
        match session.call::<Pong>(&request).await {
            Ok(pong) => replies.push(show(session, seq, pong)),
            Err(error) if matches!(error.code.as_str(), "timeout" | "unreachable" | "rendezvous_unreachable") => {
                miss(session, seq, &error);
            }
            Err(error) => return Err(error),
        }
        if seq < arguments.count {
            tokio::time::sleep(arguments.interval.saturating_sub(started.elapsed())).await;
        }
    }
    Ok(conclude(session, arguments, replies))
}

fn show(session: &Session, seq: u32, pong: Pong) -> Reply {
    if !session.json {
        let via = pong.endpoint.as_deref().map_or_else(String::new, |endpoint| format!(" via {endpoint}"));
        session.print(&format!("reply from {} seq={seq} {}{via} time={:.2} ms", pong.node_id, pong.path, pong.rtt_ms));
    }
    Reply { seq, rtt_ms: pong.rtt_ms, path: pong.path, endpoint: pong.endpoint }
}

fn miss(session: &Session, seq: u32, error: &Error) {
    if !session.json {
        session.print(&format!("no reply seq={seq}: {}", error.message));
    }
}

/// Exit code 0 only when all were answered, as `ping` would have it with a deadline.
fn conclude(session: &Session, arguments: PingArguments, replies: Vec<Reply>) -> ExitCode {
    let times: Vec<f64> = replies.iter().map(|reply| reply.rtt_ms).collect();
    let summary = Summary {
        node: arguments.node,
        sent: arguments.count,
        received: replies.len() as u32,
        min_ms: times.iter().copied().reduce(f64::min),
        avg_ms: (!times.is_empty()).then(|| times.iter().sum::<f64>() / times.len() as f64),
        max_ms: times.iter().copied().reduce(f64::max),
        replies,
    };
    let complete = summary.received == summary.sent;
    if !complete && session.json {
        let lost = summary.sent - summary.received;
        let patience = Duration::as_secs_f64(&arguments.timeout);
        return session.refuse(&Error::new(
            "unreachable",
            format!("{lost} of {} pings to {} were not answered within {patience} s", summary.sent, summary.node),
        ));
    }
    let times = match (summary.min_ms, summary.avg_ms, summary.max_ms) {
        (Some(min), Some(avg), Some(max)) => format!(", min/avg/max {min:.2}/{avg:.2}/{max:.2} ms"),
        _ => String::new(),
    };
    session.finish(&summary, &format!("{} sent, {} received{times}", summary.sent, summary.received));
    if complete { ExitCode::SUCCESS } else { ExitCode::from(4) }
}
