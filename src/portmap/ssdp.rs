//! The search of UPnP for gateways (SSDP) and its answers. No IO.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use super::url::Url;

/// The group that UPnP devices listen to.
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1900);

/// The question "which of you is an internet gateway?", to be sent to the group or to one host. Devices of version 2
/// answer to version 1 as well.
pub fn search(to: SocketAddr) -> String {
    format!(
        "M-SEARCH * HTTP/1.1\r\n\
         HOST: {to}\r\n\
         ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\
         MAN: \"ssdp:discover\"\r\n\
         MX: 1\r\n\
         \r\n"
    )
}

/// Where an answer of the gateway says that its description is; `None` when that is not on the gateway.
pub fn location(answer: &[u8], gateway: Ipv4Addr) -> Option<Url> {
    let text = std::str::from_utf8(answer).ok()?;
    let mut lines = text.split("\r\n").flat_map(|line| line.split('\n'));
    let status = lines.next()?;
    if !status.starts_with("HTTP/1.") || status.split(' ').nth(1) != Some("200") {
        return None;
    }
    let mut headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    let (_, location) = headers.find(|(name, _)| name.trim().eq_ignore_ascii_case("location"))?;
    Url::absolute(location.trim(), gateway)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);

    fn answer(status: &str, location: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\nST: x\r\nLocation: {location}\r\nEXT:\r\n\r\n").into_bytes()
    }

    #[test]
    fn the_description_of_the_gateway_is_found() {
        let url = location(&answer("200 OK", "http://192.168.1.1:5000/rootDesc.xml"), GATEWAY).unwrap();
        assert_eq!((url.server.to_string(), url.path.as_str()), ("192.168.1.1:5000".into(), "/rootDesc.xml"));
    }

    #[test]
    fn a_description_elsewhere_is_not_followed() {
        assert_eq!(location(&answer("200 OK", "http://192.168.1.66:5000/rootDesc.xml"), GATEWAY), None);
        assert_eq!(location(&answer("200 OK", "http://127.0.0.1:8080/admin?reset=1"), GATEWAY), None);
        assert_eq!(location(&answer("404 Not Found", "http://192.168.1.1:5000/x"), GATEWAY), None);
        assert_eq!(location(b"NOTIFY * HTTP/1.1\r\nLOCATION: http://192.168.1.1/x\r\n\r\n", GATEWAY), None);
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_survived(text in "(HTTP/1.1 200 OK\r\n)?(location:)?.{0,80}(\r\n)?") {
            let _ = location(text.as_bytes(), GATEWAY);
        }
    }
}
