//! The command line of the node daemon.

fn main() {}
