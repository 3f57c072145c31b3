//! `pilotctl connect NODE [PORT]`: standard input to a port of a node, and what comes back to standard output.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::received::with_data;
use super::terminal::{Input, Output, converse};
use super::{Session, reach};
use crate::control::Error;
use crate::services::streams::DEFAULT_PORT;

/// Where to connect to.
#[derive(Debug, Args)]
pub struct ConnectArguments {
    /// Which node
    #[arg(allow_hyphen_values = true)]
    pub node: String,
    /// Which of its ports
    #[arg(default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// How long the node may take to be reached
    #[arg(long, default_value = "15s", value_name = "TIME", value_parser = crate::cli::format::parse_duration)]
    pub timeout: Duration,
}

pub async fn run(session: &Session, arguments: ConnectArguments) -> Result<ExitCode, Error> {
    let mut stream = reach(session, &arguments.node, arguments.port, arguments.timeout).await?;
    let mut output = if session.json { Output::Memory(Vec::new()) } else { Output::stdout() };
    // A person sees that the other side has closed, and has nothing more to say; a program may.
    let patience = Input::is_typed().then_some(Duration::ZERO);
    let counts = converse(&mut stream, &mut Input::new(), &mut output, patience).await?;
    if let Output::Memory(received) = output {
        let object = json!({"node": arguments.node, "port": arguments.port, "sent": counts.sent});
        session.finish(&with_data(object, received), "");
    }
    Ok(ExitCode::SUCCESS)
}
