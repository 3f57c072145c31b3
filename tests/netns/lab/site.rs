//! The kinds of networks that users sit on, each as one word, and a machine placed there.

use super::{Gateway, Host, HttpProxy, Lab, Nat, Options, PortMapper};

/// A network that a machine may find itself in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// A public IPv4 address and no filter.
    Public,
    /// A home behind a translator.
    Home(Nat),
    /// A home behind a translator that maps ports on demand by PCP, NAT-PMP and UPnP.
    Mapping(Nat),
    /// The ordinary home behind a carrier's translator.
    Carrier(Nat),
    /// Two translators in the home itself, the outer of the given kind.
    Double(Nat),
    /// A home with a translator for IPv4, and IPv6 behind a stateful firewall.
    DualStack(Nat),
    /// IPv6 behind a stateful firewall, and no IPv4.
    Ipv6Only,
    /// An ordinary home that lets no UDP out.
    UdpBlocked,
    /// Nothing gets out but TCP through an HTTP CONNECT proxy.
    Proxied,
}

/// A machine at a site.
pub struct Place {
    /// The machine.
    pub host: Host,
    /// What stands between it and the internet, its own first.
    pub gateways: Vec<Gateway>,
    /// Environment of programs that are to get out.
    pub environment: Vec<(String, String)>,
    _mapper: Option<PortMapper>,
    _proxy: Option<HttpProxy>,
}

impl Site {
    /// What it is called in tables.
    pub fn name(self) -> String {
        match self {
            Site::Public => "public".to_owned(),
            Site::Home(nat) => nat.name().to_owned(),
            Site::Mapping(nat) => format!("{}+mapping", nat.name()),
            Site::Carrier(nat) => format!("carrier:{}", nat.name()),
            Site::Double(nat) => format!("double:{}", nat.name()),
            Site::DualStack(nat) => format!("dual:{}", nat.name()),
            Site::Ipv6Only => "ipv6-only".to_owned(),
            Site::UdpBlocked => "udp-blocked".to_owned(),
            Site::Proxied => "proxied".to_owned(),
        }
    }

    /// The translator that decides how its IPv4 UDP looks from outside.
    pub fn nat(self) -> Option<Nat> {
        match self {
            Site::Home(nat) | Site::Mapping(nat) | Site::Carrier(nat) | Site::Double(nat) | Site::DualStack(nat) => {
                Some(nat)
            }
            Site::Public | Site::Ipv6Only | Site::UdpBlocked | Site::Proxied => None,
        }
    }

    /// Whether it has IPv6.
    pub fn has_ipv6(self) -> bool {
        matches!(self, Site::DualStack(_) | Site::Ipv6Only)
    }

    /// Whether it has IPv4.
    pub fn has_ipv4(self) -> bool {
        self != Site::Ipv6Only
    }

    /// Whether UDP gets out.
    pub fn has_udp(self) -> bool {
        !matches!(self, Site::UdpBlocked | Site::Proxied)
    }
}

impl Lab {
    /// Makes a site with one machine in it.
    pub fn place(&mut self, name: &str, site: Site) -> Place {
        let ordinary = Options::nat(Nat::PortRestricted);
        let options = match site {
            Site::Public => return Place::bare(self.public_host(name)),
            Site::Carrier(nat) => return self.below(name, &Options::carrier(nat), &ordinary),
            Site::Double(nat) => {
                let inner = Options { lan: "192.168.2", ..ordinary };
                return self.below(name, &Options::nat(nat), &inner);
            }
            Site::Home(nat) | Site::Mapping(nat) => Options::nat(nat),
            Site::DualStack(nat) => Options { ipv6: true, ..Options::nat(nat) },
            Site::Ipv6Only => Options::ipv6_only(),
            Site::UdpBlocked => Options { udp: false, ..ordinary },
            Site::Proxied => Options { udp: false, tcp: false, ..ordinary },
        };
        let gateway = self.gateway(name, &self.internet(), &options);
        let mut place = Place { host: self.host(name, &gateway.lan), ..Place::behind(vec![gateway.clone()]) };
        let folder = self.path(&format!("{name}-gw"));
        match site {
            Site::Mapping(_) => place._mapper = Some(PortMapper::start(&gateway, &folder)),
            Site::Proxied => place.proxied(HttpProxy::start(&gateway, &folder)),
            _ => {}
        }
        place
    }

    /// A home whose gateway has another gateway above it.
    fn below(&mut self, name: &str, outer: &Options, inner: &Options) -> Place {
        let outer = self.gateway(&format!("{name}-outer"), &self.internet(), outer);
        self.place_below(name, &outer, inner)
    }

    /// A machine in a home of its own behind `outer`.
    pub fn place_below(&mut self, name: &str, outer: &Gateway, inner: &Options) -> Place {
        let inner = self.gateway(name, &outer.lan, inner);
        Place { host: self.host(name, &inner.lan), ..Place::behind(vec![inner, outer.clone()]) }
    }

    /// A machine right on the LAN of `gateway`.
    pub fn place_on(&mut self, name: &str, gateway: &Gateway) -> Place {
        Place { host: self.host(name, &gateway.lan), ..Place::behind(vec![gateway.clone()]) }
    }
}

impl Place {
    fn bare(host: Host) -> Place {
        Place { host, gateways: Vec::new(), environment: Vec::new(), _mapper: None, _proxy: None }
    }

    fn behind(gateways: Vec<Gateway>) -> Place {
        let nobody = Host { namespace: String::new(), ip: String::new(), ipv6: None };
        Place { gateways, ..Place::bare(nobody) }
    }

    fn proxied(&mut self, proxy: HttpProxy) {
        self.environment.push(("HTTPS_PROXY".to_owned(), proxy.url.clone()));
        self._proxy = Some(proxy);
    }
}
