//! The device description of UPnP: where the services that map ports are controlled. No IO.

use std::net::Ipv4Addr;

use roxmltree::{Document, Node, ParsingOptions};

use super::refusal::Refusal;
use super::url::Url;

/// Documents with more elements than any router sends are refused.
const MAX_NODES: u32 = 16_384;

/// At most so many services are tried.
const MAX_SERVICES: usize = 4;

/// The services that map ports, the best first.
const KINDS: [&str; 3] = [
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];

/// A service of the gateway that maps ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its type, one of three.
    pub kind: &'static str,
    /// Where requests go.
    pub control: Url,
}

/// Reads XML from the gateway. Document types are refused: they can make a short text a long one.
pub fn parse(xml: &str) -> Result<Document<'_>, Refusal> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(xml, options).map_err(|error| Refusal::unusable(format!("XML: {error}")))
}

/// The text of the first element of that name below `node`, which may be empty.
pub fn text<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let element = node.descendants().find(|element| element.tag_name().name() == name)?;
    Some(element.text().unwrap_or_default().trim())
}

/// The services of the description `xml`, which was found at `at`.
pub fn services(xml: &str, at: &Url, gateway: Ipv4Addr) -> Result<Vec<Service>, Refusal> {
    let document = parse(xml)?;
    let root = document.root();
    let base = text(root, "URLBase").and_then(|base| Url::absolute(base, gateway));
    let base = base.as_ref().unwrap_or(at);
    let elements = || root.descendants().filter(|element| element.tag_name().name() == "service");
    let found = KINDS.iter().flat_map(|kind| {
        elements().filter(|service| text(*service, "serviceType") == Some(kind)).filter_map(|service| {
            let control = base.join(text(service, "controlURL")?, gateway)?;
            Some(Service { kind, control })
        })
    });
    let found: Vec<Service> = found.take(MAX_SERVICES).collect();
    if found.is_empty() { Err(Refusal::unusable("the gateway has no service that maps ports")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);

    fn at() -> Url {
        Url::absolute("http://192.168.1.1:5000/desc/root.xml", GATEWAY).unwrap()
    }

    fn service(kind: &str, control: &str) -> String {
        format!("<service><serviceType>{kind}</serviceType><controlURL>{control}</controlURL></service>")
    }

    fn root(base: &str, services: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\">{base}<device><deviceList><device>\
             <serviceList>{services}</serviceList></device></deviceList></device></root>"
        )
    }

    fn paths(xml: &str) -> Vec<String> {
        let found = services(xml, &at(), GATEWAY).unwrap_or_default();
        found.iter().map(|service| format!("{}{}", service.control.server, service.control.path)).collect()
    }

    #[test]
    fn the_newest_service_comes_first() {
        let both = service(KINDS[2], "/ctl/PPP") + &service(KINDS[0], "\n /ctl/IP ") + &service("urn:other:1", "/x");
        assert_eq!(paths(&root("", &both)), ["192.168.1.1:5000/ctl/IP", "192.168.1.1:5000/ctl/PPP"]);
    }

    #[test]
    fn a_base_on_the_gateway_is_used_and_another_one_is_not() {
        let one = service(KINDS[1], "ctl");
        assert_eq!(paths(&root("<URLBase>http://192.168.1.1:49000/</URLBase>", &one)), ["192.168.1.1:49000/ctl"]);
        assert_eq!(paths(&root("<URLBase>http://10.0.0.1:49000/</URLBase>", &one)), ["192.168.1.1:5000/desc/ctl"]);
    }

    #[test]
    fn a_service_elsewhere_is_left_out() {
        let elsewhere = root("", &service(KINDS[1], "http://192.168.1.7:5000/ctl"));
        assert!(services(&elsewhere, &at(), GATEWAY).is_err());
    }

    #[test]
    fn what_is_no_description_is_refused() {
        let bomb = "<!DOCTYPE r [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><root>&b;</root>";
        let deep = "<a>".repeat(50_000);
        let wide = format!("<root>{}</root>", "<a/>".repeat(20_000));
        for xml in ["", "<html><body>router</body></html>", "<root>", bomb, deep.as_str(), wide.as_str()] {
            assert!(services(xml, &at(), GATEWAY).is_err());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_survived(xml in "(<root>)?(<service>)?(<serviceType>)?.{0,60}(</service>)?(</root>)?") {
            let _ = services(&xml, &at(), GATEWAY);
        }
    }
}
