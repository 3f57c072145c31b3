//! Processes: servers that end with their guard, and commands that are waited for.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process that is ended on drop.
pub struct Server {
    child: Child,
}

impl Server {
    pub(crate) fn new(child: Child) -> Server {
        Server { child }
    }

    /// Its process ID: `ip netns exec` becomes the program.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits up to 20 seconds for a condition.
///
/// # Errors
/// It does not hold by then.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        if Instant::now() > deadline {
            bail!("not within 20 s: {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Runs a line of shell; gives what it printed.
///
/// # Errors
/// It failed: with what it said.
pub fn shell(line: &str) -> Result<String> {
    output(Command::new("sh").args(["-ec", line]))
}

/// Runs a command to its end; gives what it printed.
///
/// # Errors
/// It failed: with what it said.
pub fn output(command: &mut Command) -> Result<String> {
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} does not start"))?;
    let (printed, said) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if !out.status.success() {
        bail!("{command:?}: {}\n{}", out.status, if said.is_empty() { printed } else { said });
    }
    Ok(printed.into_owned())
}
