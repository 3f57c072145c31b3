//! Starts the servers of the rivals.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::lab::{Host, Server};

/// nats-server on port 4222 of an address.
pub fn nats(host: &Host, address: IpAddr, dir: &Path) -> Result<Server> {
    let mut command = host.command("nats-server");
    command.args(["--addr", &address.to_string(), "--port", "4222"]);
    start(host, command, address, 4222, &dir.join("nats.log"))
}

/// redis-server on port 6379 of an address, which keeps nothing and never drops a slow subscriber.
pub fn redis(host: &Host, address: IpAddr, dir: &Path) -> Result<Server> {
    let mut command = host.command("redis-server");
    command.args(["--bind", &address.to_string(), "--port", "6379", "--protected-mode", "no", "--save", ""]);
    command.args(["--appendonly", "no", "--client-output-buffer-limit", "pubsub 0 0 0"]);
    start(host, command, address, 6379, &dir.join("redis.log"))
}

/// Pilot's own services on a plain address, in a process of this program; `peer` is trusted.
pub fn pilot(host: &Host, address: IpAddr, peer: IpAddr, dir: &Path) -> Result<Server> {
    let mut command = host.command(std::env::current_exe()?);
    command.args(["serve", "--address", &address.to_string(), "--peer", &peer.to_string(), "--state"]).arg(dir);
    start(host, command, address, 1002, &dir.join("pilot.log"))
}

fn start(host: &Host, command: Command, address: IpAddr, port: u16, log: &Path) -> Result<Server> {
    let server = host.spawn(command, log)?;
    host.wait_for_port(address, port)?;
    Ok(server)
}
