//! The addresses inside UPnP answers: plain HTTP, and on the gateway itself or nowhere. No IO.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Longer paths are refused.
const MAX_PATH: usize = 1024;

/// A place on the gateway's web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// The gateway's address, and the port.
    pub server: SocketAddr,
    /// Begins with a slash; printable ASCII without blanks.
    pub path: String,
}

impl Url {
    /// An absolute URL, if it is on the gateway.
    pub fn absolute(text: &str, gateway: Ipv4Addr) -> Option<Url> {
        let (scheme, rest) = text.split_at_checked("http://".len())?;
        if !scheme.eq_ignore_ascii_case("http://") {
            return None;
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let is_gateway = host.parse() == Ok(gateway);
        let path = if path.is_empty() { "/" } else { path };
        is_gateway.then(|| Url::on(SocketAddr::new(IpAddr::V4(gateway), port), path.to_owned()))?
    }

    /// What a reference found in the document at this place means, if it is on the gateway.
    pub fn join(&self, reference: &str, gateway: Ipv4Addr) -> Option<Url> {
        if reference.contains("://") {
            return Url::absolute(reference, gateway);
        }
        if reference.starts_with('/') {
            return Url::on(self.server, reference.to_owned());
        }
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        Url::on(self.server, format!("{folder}/{reference}"))
    }

    /// What goes into a request stays one word of its first line.
    fn on(server: SocketAddr, path: String) -> Option<Url> {
        let is_one_word = path.bytes().all(|byte| byte.is_ascii_graphic());
        (is_one_word && path.len() <= MAX_PATH).then_some(Url { server, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);

    fn url(server: &str, path: &str) -> Option<Url> {
        Some(Url { server: server.parse().unwrap(), path: path.into() })
    }

    #[test]
    fn a_url_on_the_gateway_is_taken() {
        assert_eq!(
            Url::absolute("http://192.168.1.1:5000/rootDesc.xml", GATEWAY),
            url("192.168.1.1:5000", "/rootDesc.xml")
        );
        assert_eq!(Url::absolute("HTTP://192.168.1.1", GATEWAY), url("192.168.1.1:80", "/"));
    }

    #[test]
    fn a_url_elsewhere_or_of_another_kind_is_refused() {
        let refused = [
            "http://192.168.1.2:5000/x",
            "http://127.0.0.1:5000/x",
            "http://169.254.169.254/latest/meta-data",
            "http://router.lan/x",
            "https://192.168.1.1/x",
            "http://192.168.1.1@10.0.0.1/x",
            "http://192.168.1.1:0/x",
            "http://192.168.1.1:5000/x\r\nEvil: 1",
            "http://192.168.1.1:5000/a b",
            "http://192.168.1.1:65536/",
            "ftp:/",
            "",
        ];
        for text in refused {
            assert_eq!(Url::absolute(text, GATEWAY), None, "{text:?}");
        }
        assert_eq!(Url::absolute(&format!("http://192.168.1.1/{}", "x".repeat(MAX_PATH)), GATEWAY), None);
    }

    #[test]
    fn references_stay_on_the_gateway() {
        let base = Url::absolute("http://192.168.1.1:5000/upnp/rootDesc.xml", GATEWAY).unwrap();
        assert_eq!(base.join("/ctl/IPConn", GATEWAY), url("192.168.1.1:5000", "/ctl/IPConn"));
        assert_eq!(base.join("ctl/IPConn", GATEWAY), url("192.168.1.1:5000", "/upnp/ctl/IPConn"));
        assert_eq!(base.join("http://192.168.1.1:49000/c", GATEWAY), url("192.168.1.1:49000", "/c"));
        assert_eq!(base.join("http://10.0.0.1:49000/c", GATEWAY), None);
        assert_eq!(base.join("//10.0.0.1/c", GATEWAY), url("192.168.1.1:5000", "//10.0.0.1/c"), "a path, not a host");
    }
}
