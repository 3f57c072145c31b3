//! Asks the gateways of our networks to keep our UDP port open: PCP (RFC 6887), NAT-PMP (RFC 6886), UPnP IGD.
//!
//! In: our UDP ports, our addresses and the gateways, each as they change ([`start`]). Out: the [`Mapping`]s that hold
//! now, and a [`Status`] for people. Mappings are renewed, asked for again when the gateway or the network is another
//! one or has restarted, and removed by [`PortMapper::stop`].
//!
//! All three protocols are unauthenticated: a mapping is only a place where we *might* be reached. Whether that is so
//! is left to probes; nothing else depends on it. What a gateway says is believed only from the gateway's own address,
//! and nothing is asked of any other.
//!
//! | file | what it does |
//! | --- | --- |
//! | `pcp`, `natpmp`, `ssdp`, `url`, `description`, `soap` | words of the protocols, no IO |
//! | `epoch`, `schedule`, `sites` | when a gateway has restarted, when to ask again, whom to ask; no IO |
//! | `ask`, `http`, `igd` | one question and its answer |
//! | `lease` | one mapping: obtained by the first protocol that works, renewed, removed |
//! | `keeper`, `announcements`, `mapper` | keeps a mapping at one gateway; hears of restarts; keeps all of them |

mod announcements;
mod ask;
mod bytes;
mod description;
mod epoch;
mod http;
mod igd;
mod keeper;
mod lease;
mod mapper;
mod mapping;
mod natpmp;
mod pcp;
mod refusal;
mod schedule;
mod sites;
mod soap;
mod ssdp;
mod url;

pub use mapper::{PortMapper, start};
pub use mapping::{Mapping, Protocol, Site, Status, Tried};
pub use sites::Ports;
