//! The node daemon and the rendezvous server.

fn main() -> std::process::ExitCode {
    pilot::daemon::run(std::env::args_os().collect())
}
