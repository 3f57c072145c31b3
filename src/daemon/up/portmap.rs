//! The port mappings of a running node: begun with it, given back when it ends.

use tokio::sync::watch;

use super::Ground;
use crate::daemon::config::Config;
use crate::portmap::{self, Mapping, PortMapper, Ports, Status};
use crate::udp;

/// The domain of the signature that nonces are made of; nobody else ever sees it.
const NONCES: &str = "pilot-port-mapping-v1";

/// The mapper, unless it is switched off or cannot run.
pub struct PortMapping(Option<PortMapper>);

impl PortMapping {
    /// Begins to ask gateways, where the configuration allows it. A node without mappings is a node all the same.
    pub async fn start(config: &Config, ground: &Ground) -> PortMapping {
        if !config.port_mapping {
            return PortMapping(None);
        }
        let gateways = match udp::gateways().await {
            Ok(gateways) => gateways,
            Err(error) => {
                tracing::warn!(%error, "no port mappings: the gateways are not known");
                return PortMapping(None);
            }
        };
        let (v4, v6) = (ground.sockets.port_v4().unwrap_or(0), ground.sockets.port_v6().unwrap_or(0));
        let secret = blake3::hash(&ground.state.identity.sign(NONCES, b"")).into();
        PortMapping(Some(portmap::start(Ports { v4, v6 }, secret, ground.networks.clone(), gateways)))
    }

    /// The mappings that hold, and each change; none ever where mapping is switched off.
    pub fn mappings(&self) -> watch::Receiver<Vec<Mapping>> {
        self.0.as_ref().map_or_else(|| watch::channel(Vec::new()).1, PortMapper::mappings)
    }

    /// How things stand at each gateway, for people; `None` where mapping is switched off.
    pub fn status(&self) -> Option<watch::Receiver<Status>> {
        self.0.as_ref().map(PortMapper::status)
    }

    /// Gives every mapping back, within a second.
    pub async fn stop(self) {
        if let Some(mapper) = self.0 {
            mapper.stop().await;
        }
    }
}
