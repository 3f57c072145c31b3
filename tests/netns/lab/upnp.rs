//! A gateway that maps ports on demand: the real miniupnpd.

use std::path::Path;
use std::time::Duration;

use super::{Gateway, Process, until};

/// A running miniupnpd.
pub struct PortMapper {
    _process: Process,
}

impl PortMapper {
    /// Starts it on `gateway`; `folder` is for its configuration.
    pub fn start(gateway: &Gateway, folder: &Path) -> PortMapper {
        let host = gateway.host();
        host.run(TABLES);
        let (config, pid) = (folder.join("miniupnpd.conf"), folder.join("miniupnpd.pid"));
        std::fs::create_dir_all(folder).expect("a folder for miniupnpd");
        let wan = gateway.wan.as_deref().expect("a gateway with IPv4");
        let text = format!(
            "ext_ifname=wan\next_ip={wan}\nlistening_ip=lan\nport=0\nenable_natpmp=yes\nenable_upnp=yes\n\
             ipv6_disable=yes\nsystem_uptime=yes\nsecure_mode=yes\nuuid=8b1f9d52-0d0f-4d0e-9d5d-5f9d8d0f1a2b\n\
             upnp_table_name=pilotlab\nupnp_nat_table_name=pilotlab\n\
             upnp_forward_chain=upnp\nupnp_nat_chain=upnp_in\nupnp_nat_postrouting_chain=upnp_out\n\
             allow 1024-65535 0.0.0.0/0 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"
        );
        std::fs::write(&config, text).expect("miniupnpd's configuration");
        let process = host.spawn(&format!("miniupnpd -d -f {} -P {}", config.display(), pid.display()));
        until("miniupnpd listens", Duration::from_secs(5), || host.try_run("grep -qi ':14E7 ' /proc/net/udp"));
        PortMapper { _process: process }
    }
}

/// The chains that miniupnpd fills, before the rules that drop what nobody asked for.
const TABLES: &str = r#"nft -f - <<'END'
table inet pilotlab {
    chain upnp { }
    chain upnp_in { }
    chain upnp_out { }
    chain arriving {
        type nat hook prerouting priority dstnat - 1
        iifname "wan" meta nfproto ipv4 jump upnp_in
    }
    chain leaving {
        type nat hook postrouting priority srcnat - 1
        oifname "wan" meta nfproto ipv4 jump upnp_out
    }
}
insert rule ip nat through iifname "wan" ct status dnat accept
END"#;
