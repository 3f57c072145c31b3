//! Services of the configuration: a stream becomes a process, or a connection to a local socket.

use std::io;
use std::time::Duration;

use nix::unistd::User;
use tokio::net::{TcpStream, UnixStream};
use tokio::process::Command;
use tokio::time::timeout;

use super::process::{Process, introduce};
use super::settings::{Destination, Service};
use super::stream::Stream;
use super::{Announced, Streams};

/// How long a local socket may take to accept.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves one stream until it ends. A failure is logged, and the caller sees its stream break.
pub(super) async fn serve(streams: Streams, service: Service, stream: Stream) {
    let (node, port) = (stream.node.id, stream.port);
    let outcome = match service {
        Service::Run { program, arguments, user } => match command(&program, &arguments, user.as_deref()) {
            Ok(command) => run(&streams, command, stream).await,
            Err(error) => Err(error),
        },
        Service::Forward(Destination::Tcp(address)) => match connected(TcpStream::connect(address)).await {
            Ok(mut local) => stream.carry(&mut local, streams.directory()).await,
            Err(error) => Err(error),
        },
        Service::Forward(Destination::Unix(path)) => match connected(UnixStream::connect(path)).await {
            Ok(mut local) => stream.carry(&mut local, streams.directory()).await,
            Err(error) => Err(error),
        },
    };
    if let Err(error) = outcome {
        tracing::warn!(%error, port, %node, "an attached service did not serve a stream to its end");
    }
}

async fn connected<S>(connecting: impl Future<Output = io::Result<S>>) -> io::Result<S> {
    timeout(PATIENCE, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn command(program: &str, arguments: &[String], user: Option<&str>) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/");
    if let Some(name) = user {
        let user = User::from_name(name)?;
        let user = user.ok_or_else(|| io::Error::other(format!("there is no user {name}")))?;
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).env("HOME", &user.dir).env("USER", &user.name);
    }
    Ok(command)
}

async fn run(streams: &Streams, mut command: Command, stream: Stream) -> io::Result<()> {
    let Ok(_place) = streams.processes().try_acquire() else {
        return Err(io::Error::other("as many processes run as streams.processes allows"));
    };
    introduce(&mut command, &Announced::of(&stream, 0));
    let mut process = Process::start(command)?;
    let mut local = process.local()?;
    stream.carry_while(&mut local, streams.directory(), process.exited()).await?;
    drop(local);
    process.finish().await.map(drop)
}
