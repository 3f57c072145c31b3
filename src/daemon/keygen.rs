//! `pilotd keygen`: the identity of this machine, made if there is none.

use serde_json::json;

use super::options::Keygen;
use super::{Failure, places};
use crate::identity::{Address, Network, NodeId, Prefix};
use crate::store::{files, keys};

pub fn run(options: Keygen) -> Result<(), Failure> {
    let state = options.state.unwrap_or_else(places::state);
    files::make_directory(&state)?;
    let key = keys::identity(&state)?.public_key();
    let address = Address { network: Network(options.network), node: NodeId::derive(&key) };
    let ipv6 = Prefix::default().ipv6(address);
    if options.json {
        let data = json!({
            "node_id": address.node.to_string(),
            "address": address.to_string(),
            "ipv6": ipv6.to_string(),
            "public_key": key.to_string(),
        });
        println!("{}", json!({"status": "ok", "data": data}));
    } else {
        println!("node ID     {}\naddress     {address}\nIPv6        {ipv6}\npublic key  {key}", address.node);
    }
    Ok(())
}
