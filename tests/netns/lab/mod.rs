//! A small internet in network namespaces: a public segment, homes behind kernel NAT, and real daemons in them.
//!
//! Everything that a lab makes (namespaces, processes, files) goes away when the lab is dropped. `internet` has the
//! segments and how machines are plugged into them, `gateway` and `nat` what stands between two segments, `site` the
//! kinds of networks that users sit on, and the other files what runs on a machine.

mod agents;
mod delay;
mod gateway;
mod homes;
mod host;
mod internet;
mod nat;
mod node;
mod process;
mod proxy;
mod rendezvous;
mod site;
mod upnp;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use agents::Agents;
pub use gateway::{Gateway, Options, peak_of_flows};
pub use homes::TwoHomes;
pub use host::Host;
pub use internet::{Lab, Segment, is_public};
pub use nat::{Behaviour, Dependence, Early, Nat, Ports};
pub use node::Node;
pub use process::Process;
pub use proxy::HttpProxy;
pub use rendezvous::Rendezvous;
pub use site::{Place, Site};
pub use upnp::{Offer, PortMapper};

/// Makes two running nodes trust each other, each naming the other's ID.
pub fn befriend(a: &Node, b: &Node) {
    a.ctl(&["trust", &b.public_key]);
    b.ctl(&["trust", &a.public_key]);
}

/// Where one of our programs is: what the test was built with, or beside the running example.
pub fn program(name: &str) -> PathBuf {
    let built = match name {
        "pilotd" => option_env!("CARGO_BIN_EXE_pilotd"),
        _ => option_env!("CARGO_BIN_EXE_pilotctl"),
    };
    built.map(PathBuf::from).unwrap_or_else(|| {
        let example = std::env::current_exe().expect("the path of this program");
        example.ancestors().nth(2).expect("target/PROFILE/examples").join(name)
    })
}

fn ctl_command(host: &Host, socket: &Path) -> Command {
    let mut command = host.command(program("pilotctl"));
    command.arg("--socket").arg(socket).stdin(Stdio::null());
    command
}

/// Waits until `condition` holds; fails the test with `what` when it does not within `limit`.
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a command to its end and gives its standard output; fails the test when it fails.
pub fn output(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("the program starts");
    assert!(
        status.success(),
        "{command:?}: {status}\n{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    String::from_utf8_lossy(&stdout).into_owned()
}

/// Parses JSON; fails the test when it is none.
pub fn json(text: &str) -> Value {
    serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("no JSON ({error}): {text:?}"))
}

fn sh(line: &str) {
    output(Command::new("sh").args(["-ec", line]));
}

fn nft(namespace: &str, rules: &str) {
    use std::io::Write;
    let mut child = Command::new("ip")
        .args(["netns", "exec", namespace, "nft", "-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("nft starts");
    child.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("nft reads");
    assert!(child.wait().expect("nft ends").success(), "nft refused:\n{rules}");
}
