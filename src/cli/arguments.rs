//! The command line of `pilotctl`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::bench::BenchArguments;
use super::inbox::InboxArguments;
use super::outbox::OutboxArguments;
use super::publish::{PublishArguments, RequestArguments};
use super::send_file::SendFileArguments;
use super::send_message::SendMessageArguments;
use super::subscribe::SubscribeArguments;
use super::task::TaskAction;
use super::traceroute::TracerouteArguments;

/// Drives this machine's Pilot node.
#[derive(Debug, Parser)]
#[command(name = "pilotctl", version, propagate_version = true, max_term_width = 100)]
pub struct Arguments {
    /// The daemon's socket [default: /run/pilot/pilotd.sock, or $XDG_RUNTIME_DIR/pilot/pilotd.sock without root]
    #[arg(long, global = true, env = "PILOT_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Answer in JSON, for scripts
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// NODE is a hostname, a node ID, an address, an overlay IPv6 address or a public key.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start, stop or look after the daemon
    Daemon {
        /// What about it
        #[command(subcommand)]
        action: DaemonAction,
    },
    /// Who this node is: its address, its keys, its rendezvous
    Info,
    /// Counters and the state of every part
    Status,
    /// The trusted nodes and the path to each
    Peers,
    /// Round trips to a node inside its tunnel, with the path that they take
    Ping(PingArguments),
    /// One trusted node
    Find {
        /// Which
        #[arg(allow_hyphen_values = true)]
        node: String,
    },
    /// Take a hostname, unique in the network
    SetHostname {
        /// Lowercase letters, digits and hyphens
        name: String,
    },
    /// Give the hostname up
    ClearHostname,
    /// Ask a node for mutual trust
    Handshake {
        /// Whom
        #[arg(allow_hyphen_values = true)]
        node: String,
        /// What the other side is shown
        reason: Vec<String>,
        /// What it may open here, and for how long, once it approves
        #[command(flatten)]
        terms: TermsArguments,
    },
    /// Requests for trust that wait for a decision
    Pending,
    /// Approve a pending request
    Approve {
        /// Whose
        #[arg(allow_hyphen_values = true)]
        node: String,
        /// What it may open here, and for how long
        #[command(flatten)]
        terms: TermsArguments,
    },
    /// Forget a pending request; the other side is not told
    Reject {
        /// Whose
        #[arg(allow_hyphen_values = true)]
        node: String,
    },
    /// Trust a node by its whole public key; without a key, list the trusted nodes
    Trust {
        /// The key, as the other side's `info` shows it
        #[arg(allow_hyphen_values = true)]
        key: Option<String>,
        /// What it may open here, and for how long
        #[command(flatten)]
        terms: TermsArguments,
    },
    /// Change what a trusted node may open here, at once
    Grant {
        /// Which
        #[arg(allow_hyphen_values = true)]
        node: String,
        /// `all`, `none`, or with commas: echo, stream, inbox, events, tasks, ping, tcp:22, tcp:8000-8100, udp:53
        list: String,
    },
    /// Withdraw trust, at once
    Untrust {
        /// From whom
        #[arg(allow_hyphen_values = true)]
        node: String,
    },
    /// Make a join token for another machine
    Invite {
        /// How many nodes may use it
        #[arg(long, default_value_t = 1, value_name = "N")]
        uses: u32,
        /// How long it is good for
        #[arg(long, default_value = "1h", value_name = "TIME", value_parser = super::format::parse_duration)]
        expires: Duration,
        /// What whoever redeems it may open here, and for how long
        #[command(flatten)]
        terms: TermsArguments,
    },
    /// Redeem a join token of the same rendezvous
    Join {
        /// The token
        token: String,
    },
    /// The effective configuration, and where each value comes from
    Config,
    /// Wait until something holds; exit code 4 if it does not in time
    Wait {
        /// `ready`, NODE (connected), or `direct:NODE`
        #[arg(long = "for", default_value = "ready", value_name = "CONDITION")]
        condition: String,
        /// How long at most
        #[arg(long, default_value = "30s", value_name = "TIME", value_parser = super::format::parse_duration)]
        timeout: Duration,
    },
    /// Why a node is reached the way it is: every path that was tried, and what could be done
    Why {
        /// Which
        #[arg(allow_hyphen_values = true)]
        node: String,
    },
    /// What the networks around let through: UDP, NAT, relay, round trips; every server is asked anew
    Netcheck,
    /// The routers outside the tunnel up to a node's endpoint or the relay, and the node itself
    Traceroute(TracerouteArguments),
    /// The node behind an overlay address
    Whois {
        /// An overlay IPv6 address
        address: String,
    },
    /// Publish an event: to every subscriber here and on trusted nodes, or to one node
    Publish(PublishArguments),
    /// Publish an event and print the first reply to it
    Request(RequestArguments),
    /// Print events as they come: of this node and of every trusted one, or of one node
    Subscribe(SubscribeArguments),
    /// How fast the echo of a node gives bytes back, and how soon
    Bench(BenchArguments),
    /// Every verb and its arguments as JSON
    Context,
    /// Send a message to the durable inbox of a node; it waits here while the node is away
    SendMessage(SendMessageArguments),
    /// The messages that came: list, follow, read, acknowledge, clear
    Inbox(InboxArguments),
    /// The messages that wait to be delivered
    Outbox(OutboxArguments),
    /// Send a file of any size to a node that is there; again after a break, it goes on where it stopped
    SendFile(SendFileArguments),
    /// The files that came
    Received,
    /// Work for other nodes, and work from them
    Task {
        /// What to do
        #[command(subcommand)]
        action: TaskAction,
    },
    /// Standard input to a port of a node, and what comes back to standard output
    Connect(super::streams::connect::ConnectArguments),
    /// Streams that come to a port, to standard output or each to a command
    Listen(super::streams::listen::ListenArguments),
    /// Send bytes to a port of a node; done when the other side has them all
    Send(super::streams::send::SendArguments),
    /// Receive one stream on a port
    Recv(super::streams::recv::RecvArguments),
}

/// On what terms a node is trusted.
#[derive(Debug, Args)]
pub struct TermsArguments {
    /// What the node may open here [default: all]: with commas echo, stream, inbox, events, tasks, ping, tcp:22, udp:6000-6010
    #[arg(long, value_name = "LIST")]
    pub allow: Option<String>,
    /// How long the node is trusted [default: for good]
    #[arg(long = "for", value_name = "TIME", value_parser = super::format::parse_duration)]
    pub lifetime: Option<Duration>,
}

impl TermsArguments {
    /// The lifetime in seconds.
    pub fn for_secs(&self) -> Option<u64> {
        self.lifetime.map(|lifetime| lifetime.as_secs())
    }
}

/// What to do with the daemon.
#[derive(Debug, Subcommand)]
pub enum DaemonAction {
    /// Start it in the background; returns when it is ready
    Start(StartArguments),
    /// Stop it
    Stop,
    /// Whether it runs; with --check only by the exit code
    Status {
        /// Print nothing; exit code 3 when it does not run
        #[arg(long)]
        check: bool,
    },
}

/// Passed on to `pilotd up`.
#[derive(Debug, Args)]
pub struct StartArguments {
    /// The node's name in its network
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// The rendezvous server
    #[arg(long, value_name = "URL")]
    pub rendezvous: Option<String>,
    /// A join token
    #[arg(long, value_name = "TOKEN")]
    pub join: Option<String>,
    /// The state folder
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// How to ping.
#[derive(Debug, Args)]
pub struct PingArguments {
    /// Whom
    #[arg(allow_hyphen_values = true)]
    pub node: String,
    /// How many times
    #[arg(long, short, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// From one ping to the next
    #[arg(long, short, default_value = "1s", value_name = "TIME", value_parser = super::format::parse_duration)]
    pub interval: Duration,
    /// How long to wait for each answer
    #[arg(long, short, default_value = "5s", value_name = "TIME", value_parser = super::format::parse_duration)]
    pub timeout: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_may_begin_with_a_hyphen() {
        let key = "-z5VWa1ecLZz4be6BmqLi-Zy16pIapaAvQgutzOz0nQ";
        for verb in ["trust", "untrust", "handshake", "ping", "find", "approve", "reject"] {
            let parsed = Arguments::try_parse_from(["pilotctl", verb, key]);
            assert!(parsed.is_ok(), "{verb}: {}", parsed.unwrap_err());
        }
        assert!(Arguments::try_parse_from(["pilotctl", "handshake", key, "why", "not"]).is_ok());
        let limited = ["pilotctl", "handshake", "alpha", "why", "not", "--allow", "inbox", "--for", "2h"];
        assert!(Arguments::try_parse_from(limited).is_ok());
        let ping = Arguments::try_parse_from(["pilotctl", "ping", "alpha", "--count", "3", "--json"]);
        assert!(ping.is_ok_and(|ping| ping.json));
        assert!(Arguments::try_parse_from(["pilotctl", "ping", "--count", "3", "--json", "alpha"]).is_ok());
    }
}
