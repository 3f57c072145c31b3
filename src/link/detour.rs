//! Whether a server is reached through a proxy, and whether always or only where nothing else leads there.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Proxy;
use crate::identity::RendezvousUrl;

/// A way through a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detour {
    /// It was configured for Pilot: nothing else is tried.
    Always(Proxy),
    /// The environment has it for all programs: where the server does not answer directly.
    WhenNeeded(Proxy),
}

impl Detour {
    /// The proxy that the environment names for HTTPS. A name that is no HTTP proxy is as good as none.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Detour> {
        let named = variable("HTTPS_PROXY").or_else(|| variable("https_proxy"))?;
        named.parse().ok().map(Detour::WhenNeeded)
    }

    /// Whether the way to a server leads through the proxy: never to this machine itself, nor to what the environment
    /// excepts in NO_PROXY, unless the proxy was configured for Pilot.
    pub fn applies(&self, url: &RendezvousUrl, variable: impl Fn(&str) -> Option<String>) -> bool {
        let host = url.host.as_str();
        let ip = host.parse::<IpAddr>().ok();
        if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
            return false;
        }
        let excepted = || variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default();
        matches!(self, Detour::Always(_)) || !excepted().split(',').any(|entry| excepts(entry.trim(), host, ip))
    }
}

/// Whether an entry of NO_PROXY names a host: itself, a domain that it is in, a network, or everything.
fn excepts(entry: &str, host: &str, ip: Option<IpAddr>) -> bool {
    let entry = entry.to_ascii_lowercase();
    let domain = entry.trim_start_matches(['*', '.']);
    match (entry.as_str(), ip) {
        ("", _) => false,
        ("*", _) => true,
        (_, Some(ip)) => {
            entry.parse::<IpNet>().is_ok_and(|net| net.contains(&ip)) || entry.parse::<IpAddr>().ok() == Some(ip)
        }
        _ => host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.') && !domain.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str) -> RendezvousUrl {
        let key = crate::identity::Identity::generate(&mut rand_core::OsRng).public_key();
        RendezvousUrl { key, host: host.parse().unwrap(), port: 9000 }
    }

    #[test]
    fn the_environment_names_a_proxy_and_exceptions() {
        let environment = |name: &str| match name {
            "https_proxy" => Some("http://proxy:3128".to_owned()),
            "NO_PROXY" => Some(".internal, 10.0.0.0/8,example.org , 192.0.2.7".to_owned()),
            _ => None,
        };
        let detour = Detour::from_environment(environment).unwrap();
        assert_eq!(detour, Detour::WhenNeeded("proxy:3128".parse().unwrap()));
        for (host, applies) in [
            ("example.com", true),
            ("example.org", false),
            ("a.example.org", false),
            ("notexample.org", true),
            ("rv.internal", false),
            ("10.1.2.3", false),
            ("192.0.2.7", false),
            ("192.0.2.8", true),
            ("127.0.0.1", false),
            ("localhost", false),
        ] {
            assert_eq!(detour.applies(&url(host), environment), applies, "{host}");
        }
        let configured = Detour::Always("proxy:3128".parse().unwrap());
        assert!(configured.applies(&url("example.org"), environment));
        assert!(!configured.applies(&url("::1"), environment));
        assert!(!detour.applies(&url("example.com"), |_| Some("*".to_owned())));
        assert_eq!(Detour::from_environment(|_| Some("socks5://proxy:1".to_owned())), None);
    }
}
