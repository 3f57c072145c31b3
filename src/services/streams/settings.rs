//! What the configuration says about streams: `[streams]` and `[[streams.attach]]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// The port of a stream where none is named.
pub const DEFAULT_PORT: u16 = 1000;

/// `[streams]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Streams at once, coming and going; each takes 128 KiB of memory and two descriptors.
    pub streams: usize,
    /// Of them, with one node.
    pub streams_of_a_node: usize,
    /// Processes of attached commands at once.
    pub processes: usize,
    /// Services on ports that no program has to listen on.
    pub attach: Vec<Attach>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { streams: 1024, streams_of_a_node: 256, processes: 64, attach: Vec::new() }
    }
}

/// `[[streams.attach]]`: what a port leads to. The port is its own: no program can listen there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Table")]
pub struct Attach {
    /// The port.
    pub port: u16,
    /// Where its streams go.
    pub service: Service,
}

/// Where the streams of a port go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// A process for each stream, whose standard input and output it is.
    Run {
        /// What to run.
        program: String,
        /// With which arguments.
        arguments: Vec<String>,
        /// As which user; as the daemon's own where none is named.
        user: Option<String>,
    },
    /// A connection for each stream.
    Forward(Destination),
}

/// Where a stream is forwarded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    port: u16,
    run: Option<Vec<String>>,
    forward: Option<String>,
    user: Option<String>,
}

impl TryFrom<Table> for Attach {
    type Error = String;

    fn try_from(table: Table) -> Result<Attach, String> {
        let port = table.port;
        if is_reserved(port) {
            return Err(format!("port {port} belongs to a service; choose another, as {DEFAULT_PORT}"));
        }
        let service = match (table.run, table.forward, table.user) {
            (Some(run), None, user) => running(port, run, user)?,
            (None, Some(to), None) => Service::Forward(destination(&to)?),
            (None, Some(_), Some(_)) => return Err(format!("port {port}: `user` goes with `run` only")),
            _ => return Err(format!("port {port} needs either `run = [\"program\"]` or `forward = \"127.0.0.1:80\"`")),
        };
        Ok(Attach { port, service })
    }
}

fn running(port: u16, run: Vec<String>, user: Option<String>) -> Result<Service, String> {
    let mut words = run.into_iter();
    let program = words.next().filter(|program| !program.is_empty());
    let program = program.ok_or_else(|| format!("port {port}: `run` names no program"))?;
    Ok(Service::Run { program, arguments: words.collect(), user })
}

fn destination(text: &str) -> Result<Destination, String> {
    if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
        return Ok(Destination::Unix(path.into()));
    }
    text.parse().map(Destination::Tcp).map_err(|_| {
        format!("forward = {text:?} is neither an IP address and port as 127.0.0.1:8080, nor unix:/path/of/a.sock")
    })
}

/// Whether a port has a service of its own: echo, inbox, events, tasks.
pub(super) fn is_reserved(port: u16) -> bool {
    matches!(port, 0 | 7 | 1001..=1003)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_port_leads_to_a_command_or_to_a_socket() {
        let settings = parse(
            r#"
            streams = 10
            [[attach]]
            port = 1000
            run = ["tr", "a-z", "A-Z"]
            user = "nobody"
            [[attach]]
            port = 80
            forward = "127.0.0.1:8080"
            [[attach]]
            port = 81
            forward = "unix:/run/x.sock"
            "#,
        )
        .unwrap();
        assert_eq!((settings.streams, settings.processes), (10, 64));
        let services: Vec<Service> = settings.attach.into_iter().map(|attach| attach.service).collect();
        let arguments = vec!["a-z".into(), "A-Z".into()];
        assert_eq!(services[0], Service::Run { program: "tr".into(), arguments, user: Some("nobody".into()) });
        assert_eq!(services[1], Service::Forward(Destination::Tcp("127.0.0.1:8080".parse().unwrap())));
        assert_eq!(services[2], Service::Forward(Destination::Unix("/run/x.sock".into())));
    }

    #[test]
    fn what_is_wrong_with_an_attachment_is_said() {
        for (text, said) in [
            ("[[attach]]\nport = 1002\nrun = ['cat']", "belongs to a service"),
            ("[[attach]]\nport = 1000", "either `run"),
            ("[[attach]]\nport = 1000\nrun = ['a']\nforward = '127.0.0.1:1'", "either `run"),
            ("[[attach]]\nport = 1000\nrun = []", "names no program"),
            ("[[attach]]\nport = 1000\nforward = 'localhost'", "neither an IP address"),
            ("[[attach]]\nport = 1000\nforward = 'unix:x.sock'", "neither an IP address"),
            ("[[attach]]\nport = 1000\nforward = '127.0.0.1:1'\nuser = 'x'", "with `run` only"),
            ("[[attach]]\nport = 1000\nexec = 'x'", "unknown field"),
            ("attached = 1", "unknown field"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
