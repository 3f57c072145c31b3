//! A disk that is soon full, for the tests that need one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io, thread};

use nix::sched::{CloneFlags, unshare};

/// A folder on a disk of its own.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Runs `work` on a thread that finds a disk of so many KiB, which nobody else sees; not at all, said on stderr,
    /// where this process may not mount one. Threads that it starts find the disk too.
    pub fn with(kib: usize, work: impl FnOnce(&SmallDisk) + Send) {
        let folder = tempfile::tempdir().unwrap();
        let disk = SmallDisk(folder.path().to_owned());
        let inside = || match unshare(CloneFlags::CLONE_NEWNS) {
            Err(error) => eprintln!("SKIPPED: making a mount namespace needs root ({error})"),
            Ok(()) => {
                run(Command::new("mount").args(["--make-rprivate", "/"]));
                let size = format!("size={kib}k");
                run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(disk.path()));
                work(&disk);
            }
        };
        thread::scope(|scope| {
            let outcome = scope.spawn(inside).join();
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut filler = fs::File::create(self.filler()).unwrap();
        let error = io::copy(&mut io::repeat(1), &mut filler).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    /// Gives it back.
    pub fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
