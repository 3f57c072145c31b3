//! Starts the servers of the rivals, each at most once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use pilot_bench_lab::{Host, Server};

use crate::rivals::Name;

/// Servers on one address of one host.
pub struct Brokers<'a> {
    host: &'a Host,
    address: IpAddr,
    dir: &'a Path,
    running: BTreeMap<u16, Server>,
}

impl<'a> Brokers<'a> {
    /// None yet; logs go to `dir`.
    pub fn new(host: &'a Host, address: IpAddr, dir: &'a Path) -> Brokers<'a> {
        Brokers { host, address, dir, running: BTreeMap::new() }
    }

    /// nats-server; gives its process ID.
    ///
    /// # Errors
    /// It does not start.
    pub fn nats(&mut self) -> Result<i32> {
        let mut command = self.host.command("nats-server");
        command.args(["--addr", &self.address.to_string(), "--port", "4222"]);
        self.start(command, 4222)
    }

    /// redis-server, which keeps nothing and never drops a slow subscriber; gives its process ID.
    ///
    /// # Errors
    /// It does not start.
    pub fn redis(&mut self) -> Result<i32> {
        let mut command = self.host.command("redis-server");
        command.args(["--bind", &self.address.to_string(), "--port", "6379", "--protected-mode", "no", "--save", ""]);
        command.args(["--appendonly", "no", "--client-output-buffer-limit", "pubsub 0 0 0"]);
        self.start(command, 6379)
    }

    /// Pilot's own services on a plain address, in a process of this program, for the programs at `client`; gives its
    /// process ID.
    ///
    /// # Errors
    /// It does not start.
    pub fn pilot(&mut self, client: IpAddr) -> Result<i32> {
        let mut command = self.host.command(std::env::current_exe()?);
        command.args(["serve", "--address", &self.address.to_string(), "--client", &client.to_string()]);
        self.start(command, 1002)
    }

    /// Sends back what comes; gives its process ID.
    ///
    /// # Errors
    /// It does not start.
    pub fn echo(&mut self) -> Result<i32> {
        let mut command = self.host.command(std::env::current_exe()?);
        command.args(["echo", "--address", &self.address.to_string()]);
        self.start(command, Name::Echo.port())
    }

    fn start(&mut self, command: Command, port: u16) -> Result<i32> {
        if let Some(server) = self.running.get(&port) {
            return Ok(server.pid());
        }
        let server = self.host.spawn(command, &self.dir.join(format!("{port}.log")))?;
        self.host.wait_for_port(self.address, port)?;
        let pid = server.pid();
        self.running.insert(port, server);
        Ok(pid)
    }
}
