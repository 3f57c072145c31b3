//! What `pilotctl` and the drivers say to `pilotd` over the local socket.
//!
//! HTTP/1.1 with JSON bodies on a Unix socket: `GET /v1/VERB` reads, `POST /v1/VERB` changes something. Every answer
//! is `{"status":"ok","data":…}` or `{"status":"error","code":…,"message":…,"hint":…}`.
//!
//! Comes in: a [`Request`], from either end. Goes out: its answer, one of the [`views`], or an [`Error`]. What a
//! request does is left to the daemon, which implements [`Backend`].

mod client;
mod error;
mod given;
mod lines;
mod request;
mod server;
pub mod views;

pub use client::{Client, RETRY, query};
pub use error::Error;
pub use given::given;
pub use lines::Lines;
pub use request::{Request, Verb};
pub use server::{Backend, Server, answer, router, serve};

/// Where the socket is when nothing else is said: a folder of the system for root, of the user otherwise.
pub fn default_socket() -> std::path::PathBuf {
    if nix::unistd::geteuid().is_root() {
        return "/run/pilot/pilotd.sock".into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) => std::path::PathBuf::from(dir).join("pilot/pilotd.sock"),
        None => format!("/tmp/pilot-{}/pilotd.sock", nix::unistd::geteuid()).into(),
    }
}
