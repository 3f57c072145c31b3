//! The command line of the node daemon.

fn main() -> std::process::ExitCode {
    pilot::cli::run(std::env::args_os().collect())
}
