//! A daemon, and what the kernel says of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

/// The kernel counts time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// A running program; ends with this value.
pub struct Daemon {
    child: Child,
    programs: PathBuf,
    socket: PathBuf,
}

impl Daemon {
    /// Starts `pilotd` with these arguments; `socket` is where it can be asked.
    pub fn start(programs: &Path, socket: &Path, arguments: &[&str], log: &Path) -> anyhow::Result<Daemon> {
        let log = std::fs::File::create(log)?;
        let mut command = Command::new(programs.join("pilotd"));
        command.args(arguments).env_remove("NOTIFY_SOCKET").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().context("pilotd does not start")?;
        Ok(Daemon { child, programs: programs.to_owned(), socket: socket.to_owned() })
    }

    /// Runs `pilotctl`, and gives what it says.
    pub fn ask(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(self.programs.join("pilotctl"));
        let output = command.arg("--socket").arg(&self.socket).args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "pilotctl {arguments:?}: {said}{complaint}");
        Ok(said)
    }

    /// Waits until it has found its rendezvous.
    pub fn ready(&self) -> anyhow::Result<()> {
        for _ in 0..600 {
            if self.ask(&["wait", "--for", "ready", "--timeout", "60s"]).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        anyhow::bail!("the daemon does not get ready")
    }

    /// Time on a CPU until now, user and system.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("no stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<u32>().ok());
        Ok(TICK * (ticks(11).context("utime")? + ticks(12).context("stime")?))
    }

    /// Resident memory in KiB.
    pub fn rss(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// CPU over so long, as a share of one core.
    pub fn load(&self, time: Duration) -> anyhow::Result<f64> {
        let before = self.cpu()?;
        std::thread::sleep(time);
        Ok((self.cpu()? - before).as_secs_f64() / time.as_secs_f64())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is no text")
}
