//! Address translators by kernel nftables: what they are called, how they behave, and the rules that make them so.
//!
//! Out come rule sets for a gateway whose devices are `wan` and `lan`. Linux's own translation has endpoint-independent
//! mappings while ports are free, and filters by address and port. Everything else that has a memory for mappings
//! learns them into maps of its own: `out` gives a flow of the inside its port, `dn` an arriving packet its way in,
//! and `flt` says whom the inside has contacted.

/// A translator of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nat {
    /// Endpoint-independent mapping, address-and-port-dependent filtering, ports preserved: the ordinary home router.
    PortRestricted,
    /// The same, but a packet that comes before the inside has opened takes the port: the inside leaves from another.
    Poisonable,
    /// The ordinary router with random ports, and hairpinning.
    PortRestrictedRandom,
    /// Endpoint-independent mapping, address-dependent filtering.
    AddressRestricted,
    /// Endpoint-independent mapping and filtering, hairpinning: a full cone.
    FullCone,
    /// Address-dependent mapping with random ports, address-and-port-dependent filtering.
    AddressSymmetric,
    /// A new random port for each destination: nothing can be predicted.
    Symmetric,
    /// A new port for each destination, one above the last.
    SymmetricSequential,
}

/// On what a mapping or a filter depends (RFC 4787, sections 4.1 and 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependence {
    /// On nothing but the inside endpoint.
    Endpoint,
    /// On the address of the other side.
    Address,
    /// On its address and port.
    AddressAndPort,
}

/// How the outside port of a new mapping is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// The inside port.
    Preserved,
    /// At random.
    Random,
    /// The last one and one more.
    Sequential,
}

/// What becomes of a packet from outside that nothing inside has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// It is dropped and leaves no trace.
    Dropped,
    /// The gateway takes it for itself, and its conntrack entry keeps the port from the inside.
    Poisons,
}

/// What a translator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Which destinations share a mapping.
    pub mapping: Dependence,
    /// Who may send to a mapping.
    pub filtering: Dependence,
    /// Where new mappings are.
    pub ports: Ports,
    /// Whether two insiders reach each other by their outside endpoints.
    pub hairpin: bool,
    /// What an early packet does.
    pub early: Early,
}

impl Nat {
    /// All of them.
    pub const ALL: [Nat; 8] = [
        Nat::PortRestricted,
        Nat::Poisonable,
        Nat::PortRestrictedRandom,
        Nat::AddressRestricted,
        Nat::FullCone,
        Nat::AddressSymmetric,
        Nat::Symmetric,
        Nat::SymmetricSequential,
    ];

    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Nat::PortRestricted => "port-restricted",
            Nat::Poisonable => "poisonable",
            Nat::PortRestrictedRandom => "port-restricted-random",
            Nat::AddressRestricted => "address-restricted",
            Nat::FullCone => "full-cone",
            Nat::AddressSymmetric => "address-symmetric",
            Nat::Symmetric => "symmetric",
            Nat::SymmetricSequential => "sequential",
        }
    }

    /// How it behaves.
    pub fn behaviour(self) -> Behaviour {
        use Dependence::{Address, AddressAndPort, Endpoint};
        let ordinary = Behaviour {
            mapping: Endpoint,
            filtering: AddressAndPort,
            ports: Ports::Preserved,
            hairpin: false,
            early: Early::Dropped,
        };
        let random = Behaviour { ports: Ports::Random, ..ordinary };
        match self {
            Nat::PortRestricted => ordinary,
            Nat::Poisonable => Behaviour { early: Early::Poisons, ..ordinary },
            Nat::PortRestrictedRandom => Behaviour { hairpin: true, ..random },
            Nat::AddressRestricted => Behaviour { filtering: Address, ..ordinary },
            Nat::FullCone => Behaviour { filtering: Endpoint, hairpin: true, ..ordinary },
            Nat::AddressSymmetric => Behaviour { mapping: Address, ..random },
            Nat::Symmetric => Behaviour { mapping: AddressAndPort, ..random },
            Nat::SymmetricSequential => Behaviour { mapping: AddressAndPort, ports: Ports::Sequential, ..ordinary },
        }
    }
}

impl Behaviour {
    /// Whether Linux's own translation behaves so, without maps that learn.
    fn is_stock(self) -> bool {
        let memory = self.mapping == Dependence::Endpoint && self.ports == Ports::Preserved
            || self.mapping == Dependence::AddressAndPort && self.ports != Ports::Preserved;
        memory && self.filtering == Dependence::AddressAndPort && !self.hairpin
    }

    /// The rules of a gateway with the outside address `wan` whose unused mappings live `lifetime` seconds.
    pub(super) fn rules(self, wan: &str, lifetime: u32) -> String {
        if self.is_stock() { self.stock(wan) } else { self.learning(wan, lifetime) }
    }

    /// What becomes of a flow that has no mapping yet.
    fn masquerade(self) -> String {
        match self.ports {
            Ports::Preserved => "masquerade".to_owned(),
            Ports::Random => "masquerade random,fully-random".to_owned(),
            Ports::Sequential => format!("masquerade to :numgen inc mod 4096 map {{ {} }}", sequence()),
        }
    }

    fn stock(self, wan: &str) -> String {
        let translate = self.masquerade();
        let unasked = self.unasked(wan);
        format!(
            r#"
            table ip nat {{
                chain leaving {{
                    type nat hook postrouting priority srcnat
                    oifname "wan" meta l4proto udp {translate}
                    oifname "wan" masquerade
                }}
                {unasked}
                chain through {{
                    type filter hook forward priority 0
                    iifname "wan" ct state new drop
                }}
            }}
            "#
        )
    }

    /// What the gateway does with packets to itself.
    fn unasked(self, wan: &str) -> String {
        let from_outside = match self.early {
            Early::Dropped => r#"iifname "wan" ct state new drop"#,
            Early::Poisons => r#"iifname "wan" meta l4proto tcp ct state new drop"#,
        };
        format!(
            r#"chain unasked {{
                    type filter hook input priority 0
                    {from_outside}
                    iifname "lan" ip daddr {wan} meta l4proto udp drop
                }}"#
        )
    }

    fn learning(self, wan: &str, lifetime: u32) -> String {
        let flow = "ipv4_addr . inet_service";
        let (key, at, learnt) = match self.mapping {
            Dependence::Endpoint => {
                (flow.to_owned(), "ip saddr . udp sport", "ct original ip saddr . ct original proto-src")
            }
            _ => (
                format!("{flow} . ipv4_addr"),
                "ip saddr . udp sport . ip daddr",
                "ct original ip saddr . ct original proto-src . ct original ip daddr",
            ),
        };
        let (kind, outsider, contacted) = match self.filtering {
            Dependence::AddressAndPort => (
                "inet_service . ipv4_addr . inet_service",
                "ct original proto-dst . ip saddr . udp sport",
                "ct reply proto-dst . ct original ip daddr . ct original proto-dst",
            ),
            _ => (
                "inet_service . ipv4_addr",
                "ct original proto-dst . ip saddr",
                "ct reply proto-dst . ct original ip daddr",
            ),
        };
        let (open, translate, unasked) = (self.filtering == Dependence::Endpoint, self.masquerade(), self.unasked(wan));
        let pass = if open { "accept".to_owned() } else { format!("{outsider} @flt accept") };
        let hairpin = if self.hairpin { self.hairpin(wan) } else { Hairpin::default() };
        let memory = format!("flags dynamic,timeout; timeout {lifetime}s; size 65535");
        let Hairpin { arriving, leaving, filter } = hairpin;
        format!(
            r#"
            table ip nat {{
                map out {{ type {key} : inet_service; {memory}; }}
                map dn {{ type inet_service : {flow}; {memory}; }}
                set flt {{ type {kind}; {memory}; }}
                chain arriving {{
                    type nat hook prerouting priority dstnat
                    iifname "wan" ip daddr {wan} meta l4proto udp dnat ip to udp dport map @dn
                    {arriving}
                }}
                chain leaving {{
                    type nat hook postrouting priority srcnat
                    oifname "wan" meta l4proto udp snat ip to {wan} : {at} map @out
                    oifname "wan" meta l4proto udp {translate}
                    oifname "wan" masquerade
                    {leaving}
                }}
                chain learn {{
                    type filter hook postrouting priority 150
                    meta l4proto udp ct direction original ct reply ip daddr {wan} jump note
                    {filter}
                }}
                chain note {{
                    meta l4proto udp update @out {{ {learnt} : ct reply proto-dst }}
                    meta l4proto udp update @dn {{ ct reply proto-dst : ct original ip saddr . ct original proto-src }}
                    meta l4proto udp update @flt {{ {contacted} }}
                }}
                {unasked}
                chain through {{
                    type filter hook forward priority 0
                    iifname "wan" meta l4proto udp ct state new ct status dnat {pass}
                    iifname "wan" ct state new drop
                }}
            }}
            "#
        )
    }

    fn hairpin(self, wan: &str) -> Hairpin {
        let turn = r#"iifname "lan" oifname "lan" meta l4proto udp ct status dnat"#;
        let known = match self.filtering {
            Dependence::Endpoint => None,
            Dependence::Address => Some("ct original proto-dst . ct reply ip daddr != @flt".to_owned()),
            Dependence::AddressAndPort => {
                Some("ct original proto-dst . ct reply ip daddr . ct reply proto-dst != @flt".to_owned())
            }
        };
        Hairpin {
            arriving: format!(r#"iifname "lan" ip daddr {wan} meta l4proto udp dnat ip to udp dport map @dn"#),
            leaving: format!("{turn} snat ip to {wan} : ip saddr . udp sport map @out\n{turn} snat ip to {wan}"),
            filter: known.map(|known| format!("{turn} ct state new {known} drop")).unwrap_or_default(),
        }
    }
}

/// What hairpinning adds to the rules.
#[derive(Default)]
struct Hairpin {
    arriving: String,
    leaving: String,
    filter: String,
}

/// The ports of a sequential translator, in order; a map, since the number alone would be byte-swapped.
fn sequence() -> String {
    (0..4096).map(|nth| format!("{nth} : {}", 40_000 + nth)).collect::<Vec<_>>().join(", ")
}
