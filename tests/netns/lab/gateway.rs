//! What stands between a home, or a carrier's customers, and the segment above: built, watched, rebooted, moved.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::internet::Plugged;
use super::{Host, Lab, Nat, Segment, nft, sh};

/// How long Linux keeps a UDP flow in use, by default.
const LIFETIME: u32 = 120;

/// What a gateway lets through, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The translator for IPv4; without one the LAN has no IPv4.
    pub nat: Option<Nat>,
    /// IPv6 with a stateful firewall and no translation.
    pub ipv6: bool,
    /// The first three octets of the LAN.
    pub lan: &'static str,
    /// Lifetime of unused UDP flows, in seconds.
    pub lifetime: Option<u32>,
    /// UDP is let through.
    pub udp: bool,
    /// TCP is let through; otherwise nothing passes but what programs on the gateway fetch.
    pub tcp: bool,
}

/// A router between a LAN of its own, and a segment above.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Its namespace.
    pub namespace: String,
    /// Its IPv4 address on the segment above.
    pub wan: Option<String>,
    /// The segment below.
    pub lan: Segment,
    /// How it was built.
    pub options: Options,
}

impl Options {
    /// IPv4 through a translator and nothing special.
    pub fn nat(nat: Nat) -> Options {
        Options { nat: Some(nat), ipv6: false, lan: "192.168.1", lifetime: None, udp: true, tcp: true }
    }

    /// No IPv4 at all.
    pub fn ipv6_only() -> Options {
        Options { nat: None, ipv6: true, ..Options::nat(Nat::PortRestricted) }
    }

    /// A carrier's translator, whose customers have shared addresses.
    pub fn carrier(nat: Nat) -> Options {
        Options { lan: "100.64.0", ..Options::nat(nat) }
    }
}

impl Lab {
    /// Puts a gateway on the segment `above`, with an empty LAN behind it.
    pub fn gateway(&mut self, name: &str, above: &Segment, options: &Options) -> Gateway {
        let namespace = self.namespace(&format!("{name}-gw"));
        let octet = self.next(above);
        let Plugged { v4, v6, octet } = self.plug(&namespace, "wan", above, octet);
        let prefix = options.ipv6.then(|| format!("2a02:7e0:{octet:x}::"));
        if let (Some(prefix), Some(to)) = (&prefix, &v6) {
            self.delegate(prefix, to);
        }
        let lan = Segment {
            namespace: namespace.clone(),
            bridge: "lan",
            v4: options.nat.map(|_| options.lan.to_owned()),
            v6: prefix,
            routed: true,
            length: if options.lan.starts_with("100.64.") { 10 } else { 24 },
        };
        let gateway = Gateway { namespace, wan: v4, lan, options: options.clone() };
        gateway.build();
        self.remember(name, gateway.clone());
        gateway
    }
}

impl Gateway {
    /// The LAN's bridge, forwarding and rules.
    fn build(&self) {
        let Gateway { namespace, lan, options, .. } = self;
        let mut lines = vec![
            format!("ip -n {namespace} link add lan address 02:00:00:00:00:02 type bridge mcast_snooping 0"),
            format!("ip netns exec {namespace} sysctl -qw net.ipv4.ip_forward=1"),
            format!(
                "ip netns exec {namespace} sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.lan.send_redirects=0"
            ),
            format!("(ip netns exec {namespace} sysctl -qw net.bridge.bridge-nf-call-iptables=0 2>/dev/null || true)"),
        ];
        if let Some(prefix) = &lan.v4 {
            lines.push(format!("ip -n {namespace} addr add {prefix}.1/{} dev lan", lan.length));
        }
        if let Some(prefix) = &lan.v6 {
            lines.push(format!("ip netns exec {namespace} sysctl -qw net.ipv6.conf.all.forwarding=1"));
            lines.push(format!("ip -n {namespace} addr add {prefix}1/64 dev lan nodad"));
        }
        lines.push(format!("ip -n {namespace} link set lan up"));
        if let Some(seconds) = options.lifetime {
            lines.push(format!(
                "ip netns exec {namespace} sysctl -qw net.netfilter.nf_conntrack_udp_timeout={seconds} \
                 net.netfilter.nf_conntrack_udp_timeout_stream={seconds}"
            ));
        }
        sh(&lines.join(" && "));
        nft(namespace, &self.rules());
    }

    fn rules(&self) -> String {
        let Options { nat, lifetime, udp, tcp, .. } = self.options;
        let wan = self.wan.as_deref().unwrap_or("0.0.0.0");
        let v4 = nat.map(|nat| nat.behaviour().rules(wan, lifetime.unwrap_or(LIFETIME))).unwrap_or_default();
        let blocked = |protocol: &str, open: bool| match open {
            true => String::new(),
            false => format!("meta l4proto {protocol} drop"),
        };
        format!(
            r#"
            flush ruleset
            {v4}
            table ip6 guard {{
                chain unasked {{
                    type filter hook input priority 0
                    iifname "wan" meta l4proto {{ tcp, udp }} ct state new drop
                }}
                chain through {{
                    type filter hook forward priority 0
                    iifname "wan" meta l4proto {{ tcp, udp }} ct state new drop
                    iifname "wan" icmpv6 type echo-request drop
                }}
            }}
            table inet closed {{
                chain through {{
                    type filter hook forward priority -10
                    {}
                    {}
                }}
            }}
            "#,
            blocked("udp", udp),
            blocked("tcp", tcp),
        )
    }

    /// The gateway as a machine that programs run on.
    pub fn host(&self) -> Host {
        let ip = self.lan.v4.as_ref().map(|prefix| format!("{prefix}.1")).unwrap_or_default();
        Host { namespace: self.namespace.clone(), ip, ipv6: None }
    }

    /// UDP through it stops, or works again, from now on: flows that are open included.
    pub fn let_udp_through(&mut self, udp: bool) {
        self.options.udp = udp;
        let rule = if udp { "" } else { "add rule inet closed through meta l4proto udp drop" };
        nft(&self.namespace, &format!("flush chain inet closed through\n{rule}\n"));
    }

    /// It forgets everything and comes back under another public address, which was free.
    pub fn reboot_as(&mut self, address: &str) {
        let Gateway { namespace, wan, .. } = self;
        let old = wan.replace(address.to_owned()).expect("a gateway with IPv4");
        sh(&format!("ip -n {namespace} addr add {address}/32 dev wan && ip -n {namespace} addr del {old}/32 dev wan"));
        nft(&self.namespace, &self.rules());
        self.host().run("conntrack -F 2>/dev/null");
    }

    /// Its conntrack table, as the kernel prints it.
    pub fn table(&self) -> String {
        self.host().enter(read_table)
    }

    /// How many UDP flows its conntrack table holds now.
    pub fn flows(&self) -> usize {
        self.host().enter(read_flows)
    }
}

/// Watches a gateway's table until it is `over`, and gives the most UDP flows that were open at once.
pub fn peak_of_flows(gateway: &Gateway, over: &AtomicBool) -> usize {
    gateway.host().enter(|| {
        let mut peak = 0;
        while !over.load(Ordering::Relaxed) {
            peak = peak.max(read_flows());
            std::thread::sleep(Duration::from_millis(50));
        }
        peak
    })
}

/// The UDP flows of the namespace that this thread lives in; reading the table leaves out what has expired.
fn read_flows() -> usize {
    read_table().lines().filter(|line| line.contains(" udp ")).count()
}

fn read_table() -> String {
    std::fs::read_to_string("/proc/thread-self/net/nf_conntrack").unwrap_or_default()
}
