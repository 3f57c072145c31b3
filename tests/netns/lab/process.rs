//! Programs that a lab has started: they end when their handle is dropped.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::output;

/// A child process, ended by SIGTERM and then SIGKILL when dropped.
pub struct Process(pub(super) Child);

impl Process {
    /// The process ID.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Whether it has ended by itself with exit code 0.
    pub fn succeeded(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some_and(|status| status.success()))
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, name: &str) {
        output(Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]));
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Asks it to end and waits; true when it ended by itself with exit code 0.
    pub fn terminate(&mut self) -> bool {
        let _ = Command::new("kill").args(["-TERM", &self.id().to_string()]).status();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.0.try_wait() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.terminate();
        }
    }
}
