//! A command whose standard input and output are a stream, as inetd runs it.

use std::io;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWrite;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::Announced;

/// How long a command may go on once its stream has ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// Puts who calls into the environment of a command.
pub fn introduce(command: &mut Command, caller: &Announced) {
    command.env("PILOT_CALLER_ID", &caller.node_id).env("PILOT_CALLER_IPV6", caller.ipv6.to_string());
    command.env("PILOT_CALLER_NAME", caller.hostname.as_deref().unwrap_or_default());
}

/// A command that runs. Dropped, it is killed with all that it has started.
pub struct Process {
    child: Child,
    group: Option<Pid>,
}

impl Process {
    /// Starts a command with pipes at its standard input and output.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start(mut command: Command) -> io::Result<Process> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).kill_on_drop(true);
        let child = command.spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Process { child, group })
    }

    /// The pipes of the command as one connection; given once.
    ///
    /// # Errors
    /// They were given before.
    pub fn local(&mut self) -> io::Result<Local> {
        let output = self.child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(tokio::io::join(output, Input(self.child.stdin.take())))
    }

    /// Ready when the command has ended.
    pub async fn exited(&mut self) {
        // That it has is all that matters here; how, is told by `finish`.
        let _ = self.child.wait().await;
    }

    /// Waits for the command to end once its stream has, and kills it if it goes on.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn finish(mut self) -> io::Result<ExitStatus> {
        if let Ok(status) = timeout(PATIENCE, self.child.wait()).await {
            return status;
        }
        self.kill();
        self.child.wait().await
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // There may be nobody left.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Of a command that was waited for the number may be another's by now.
        if self.child.id().is_some() {
            self.kill();
        }
    }
}

/// The pipes of a command as one connection.
pub type Local = tokio::io::Join<tokio::process::ChildStdout, Input>;

/// The standard input of a command, which ends with a shutdown.
pub struct Input(Option<ChildStdin>);

impl AsyncWrite for Input {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(input) => Pin::new(input).poll_write(context, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Some(input) => Pin::new(input).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}
