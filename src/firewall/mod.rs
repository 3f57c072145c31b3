//! Keeps overlay addresses off every interface but ours and the loopback, by an nftables table of our own.
//!
//! Linux takes a packet for any local address on any interface (the weak host model): without this table a
//! neighbour on the LAN who routes an overlay address to our LAN address reaches our listeners, with any source
//! address he likes, and our own packets to the overlay leave in the clear whenever the device is away.
//!
//! In: the name of our interface and our overlay network. Out: a [`Firewall`]; the table stands while it lives.
//! The kernel ties the table to the netlink socket inside (`flags owner`, Linux 5.12), and removes it when the
//! socket closes, `kill -9` included. Needs CAP_NET_ADMIN and the kernel's nf_tables, no program.

mod netlink;
mod rules;

use ipnet::Ipv6Net;
use netlink::Netlink;
use nix::errno::Errno;
use rules::Table;

/// The table in the kernel; dropping it removes the table.
pub struct Firewall {
    netlink: Netlink,
    table: Table,
    owned: bool,
}

/// Why there is no firewall, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// This process may not change the packet filter.
    #[error(
        "installing nftables table {table} needs CAP_NET_ADMIN, and no other process may own that table: run \
         pilotd with sudo or as a systemd unit, or set firewall = false if something else keeps overlay \
         addresses off the LAN"
    )]
    NotPermitted {
        /// The name of the table.
        table: String,
    },
    /// The kernel was built or booted without nf_tables.
    #[error(
        "this kernel has no nf_tables, which keeps overlay addresses off the LAN: load it (modprobe nf_tables), \
         or set firewall = false to run without ({source})"
    )]
    NoNftables {
        /// What the kernel said.
        source: Errno,
    },
    /// The kernel refused for another reason.
    #[error("the kernel refused nftables table {table}: {source}; set firewall = false to run without")]
    Refused {
        /// The name of the table.
        table: String,
        /// What the kernel said.
        source: Errno,
    },
}

impl Firewall {
    /// Installs table `ip6 pilot-INTERFACE`: from now on packets from or to `network` pass on `interface` and
    /// the loopback only.
    ///
    /// A kernel older than 5.12 gets a plain table, which a later start replaces if this process is killed.
    pub fn install(interface: &str, network: Ipv6Net) -> Result<Firewall, FirewallError> {
        let table = Table::new(interface, network);
        let mut netlink = Netlink::open().map_err(|source| FirewallError::NoNftables { source })?;
        let owned = match netlink.commit(&table.install(true)) {
            Ok(()) => true,
            // How newer and older kernels say that they know no owner flag.
            Err(Errno::EOPNOTSUPP | Errno::EINVAL) => {
                netlink.commit(&table.install(false)).map_err(|source| refused(&table, source))?;
                false
            }
            Err(source) => return Err(refused(&table, source)),
        };
        Ok(Firewall { netlink, table, owned })
    }

    /// The name of the table, in family `ip6`.
    pub fn table(&self) -> &str {
        self.table.name()
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        if self.owned {
            return;
        }
        if let Err(error) = self.netlink.commit(&self.table.remove()) {
            tracing::warn!(table = self.table.name(), %error, "could not remove the nftables table");
        }
    }
}

fn refused(table: &Table, source: Errno) -> FirewallError {
    let table = table.name().to_owned();
    match source {
        Errno::EPERM | Errno::EACCES => FirewallError::NotPermitted { table },
        // How nfnetlink says that it has no such subsystem, or no such chain or expression type.
        Errno::EINVAL | Errno::ENOENT | Errno::EPROTONOSUPPORT => FirewallError::NoNftables { source },
        _ => FirewallError::Refused { table, source },
    }
}

#[cfg(test)]
mod tests;
