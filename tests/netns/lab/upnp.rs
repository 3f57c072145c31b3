//! A gateway that maps ports on demand: the real miniupnpd.

use std::path::Path;
use std::time::Duration;

use super::{Gateway, Process, is_public, until};

/// A running miniupnpd.
pub struct PortMapper {
    _process: Process,
}

/// What it offers.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// PCP and NAT-PMP.
    pub natpmp: bool,
    /// UPnP.
    pub upnp: bool,
    /// Pinholes for IPv6 by PCP.
    pub ipv6: bool,
}

impl Offer {
    /// All that is for IPv4.
    pub const V4: Offer = Offer { natpmp: true, upnp: true, ipv6: false };

    fn keys(self) -> String {
        let word = |yes: bool| if yes { "yes" } else { "no" };
        let v6 = if self.ipv6 { "ext_ifname6=wan\n" } else { "ipv6_disable=yes\n" };
        format!("enable_natpmp={}\nenable_upnp={}\n{v6}", word(self.natpmp), word(self.upnp))
    }
}

impl PortMapper {
    /// Starts it on `gateway`; `folder` is for its configuration.
    pub fn start(gateway: &Gateway, folder: &Path) -> PortMapper {
        PortMapper::offering(gateway, folder, Offer::V4)
    }

    /// The same with a part of what it can. Mappings of an earlier one are forgotten, as by a reboot.
    pub fn offering(gateway: &Gateway, folder: &Path, offer: Offer) -> PortMapper {
        let host = gateway.host();
        host.run(TABLES);
        let (config, pid) = (folder.join("miniupnpd.conf"), folder.join("miniupnpd.pid"));
        std::fs::create_dir_all(folder).expect("a folder for miniupnpd");
        // It does not even start where it is told to call a private address the outside.
        let wan = gateway.wan.as_deref().filter(|wan| is_public(wan));
        let outside = wan.map(|wan| format!("ext_ip={wan}\n")).unwrap_or_default();
        let text = format!(
            "ext_ifname=wan\n{outside}listening_ip=lan\nport=0\nsystem_uptime=no\nsecure_mode=yes\nuuid=8b1f9d52-0d0f-4d0e-9d5d-5f9d8d0f1a2b\n\
             upnp_table_name=pilotlab\nupnp_nat_table_name=pilotlab\n\
             upnp_forward_chain=upnp\nupnp_nat_chain=upnp_in\nupnp_nat_postrouting_chain=upnp_out\n\
             allow 1024-65535 0.0.0.0/0 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n{}",
            offer.keys()
        );
        std::fs::write(&config, text).expect("miniupnpd's configuration");
        let process = host.spawn(&format!("miniupnpd -d -f {} -P {}", config.display(), pid.display()));
        let port = if offer.natpmp { "14E7" } else { "076C" };
        until("miniupnpd listens", Duration::from_secs(5), || {
            host.try_run(&format!("grep -qi ':{port} ' /proc/net/udp"))
        });
        PortMapper { _process: process }
    }
}

/// The chains that miniupnpd fills, before the rules that drop what nobody asked for.
const TABLES: &str = r#"nft delete table inet pilotlab 2>/dev/null || true
nft -f - <<'END'
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
