//! Two network namespaces and a cable between them: the server in one, both nodes in the other. They go away on drop.

use std::ffi::OsStr;
use std::process::Command;

use super::Outcome;

/// The server's address.
pub const SERVER: &str = "10.77.0.1";
/// The nodes' address.
pub const NODES: &str = "10.77.0.2";

/// The namespaces by name.
pub struct Cable {
    server: String,
    nodes: String,
}

impl Cable {
    /// Makes both; needs root. Where the cable does not carry runs whole, the sender's kernel cuts them, and the
    /// receiver's joins them again, as with most network cards.
    pub fn new(carries_runs: bool) -> Outcome<Cable> {
        let name = |what: &str| format!("relaybench{}-{what}", std::process::id());
        let cable = Cable { server: name("server"), nodes: name("nodes") };
        let (server, nodes) = (&cable.server, &cable.nodes);
        shell(&format!(
            "ip netns add {server} && ip netns add {nodes} && \
             ip -n {server} link add wan type veth peer name wan netns {nodes}"
        ))?;
        for (namespace, address) in [(server, SERVER), (nodes, NODES)] {
            shell(&format!(
                "ip -n {namespace} addr add {address}/24 dev wan && ip -n {namespace} link set lo up && \
                 ip -n {namespace} link set wan up"
            ))?;
            if !carries_runs {
                shell(&format!(
                    "ip netns exec {namespace} ethtool -K wan tx-udp-segmentation off gro on rx-udp-gro-forwarding on"
                ))?;
            }
        }
        Ok(cable)
    }

    /// A command that runs beside the server.
    pub fn at_server(&self, program: impl AsRef<OsStr>) -> Command {
        inside(&self.server, program.as_ref())
    }

    /// A command that runs beside the nodes.
    pub fn at_nodes(&self, program: impl AsRef<OsStr>) -> Command {
        inside(&self.nodes, program.as_ref())
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for namespace in [&self.server, &self.nodes] {
            let _ = shell(&format!("ip netns del {namespace}"));
        }
    }
}

/// `ip netns exec` becomes the program: its process ID is the program's.
fn inside(namespace: &str, program: &OsStr) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

fn shell(line: &str) -> Outcome<()> {
    let status = Command::new("sh").args(["-ec", line]).status()?;
    if status.success() { Ok(()) } else { Err(format!("{line}: {status}").into()) }
}
