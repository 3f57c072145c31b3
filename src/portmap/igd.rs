//! A gateway that speaks UPnP: found by a search, asked to map ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::description::{self, Service};
use super::refusal::{NO_ADDRESS, Refusal};
use super::soap::Action;
use super::url::Url;
use super::{ask, http, ssdp};

/// How long each of two searches waits; devices spread their answers over a second.
const WAITS: [Duration; 2] = [Duration::from_millis(1000), Duration::from_millis(1500)];

/// The error of UPnP for an external port that is another host's.
const CONFLICT: u16 = 718;
/// The error for an external port that must equal the internal one.
const SAME_PORTS: u16 = 724;
/// The error for a lifetime where only endless mappings are made.
const ENDLESS: u16 = 725;

/// A service that has mapped our port, or might.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Igd {
    local: Ipv4Addr,
    service: Service,
}

/// Where the gateway describes itself, if it answers to a search. Others may answer, too: they are not heard.
pub async fn search(local: Ipv4Addr, gateway: Ipv4Addr) -> Result<Url, Refusal> {
    let socket = searching(local).map_err(|error| ask::failed(&error))?;
    for wait in WAITS {
        let until = Instant::now() + wait;
        for to in [SocketAddr::V4(ssdp::GROUP), SocketAddr::from((gateway, ssdp::GROUP.port()))] {
            socket.send_to(ssdp::search(to).as_bytes(), to).await.map_err(|error| ask::failed(&error))?;
        }
        if let Ok(url) = timeout_at(until, answer(&socket, gateway)).await {
            return Ok(url);
        }
    }
    Err(Refusal::Silent)
}

/// The search goes out by the interface that has `local`, one hop far.
fn searching(local: Ipv4Addr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_if_v4(&local)?;
    socket.set_multicast_ttl_v4(1)?;
    socket.bind(&SocketAddr::from((local, 0)).into())?;
    UdpSocket::from_std(socket.into())
}

async fn answer(socket: &UdpSocket, gateway: Ipv4Addr) -> Url {
    let mut buffer = [0; 2048];
    loop {
        // An ICMP error of one of the two questions says nothing about the other.
        let Ok((count, from)) = socket.recv_from(&mut buffer).await else { continue };
        if from.ip() != IpAddr::V4(gateway) {
            continue;
        }
        if let Some(url) = buffer.get(..count).and_then(|bytes| ssdp::location(bytes, gateway)) {
            return url;
        }
    }
}

/// Reads the description at `url` and has `internal` mapped by the first service that does.
pub async fn obtain(
    url: &Url,
    gateway: Ipv4Addr,
    internal: SocketAddr,
    request: Request,
) -> Result<(Igd, Granted), Refusal> {
    let IpAddr::V4(local) = internal.ip() else { return Err(Refusal::unusable("UPnP maps IPv4 only")) };
    let document = http::get(local.into(), url).await?;
    if document.status != hyper::StatusCode::OK {
        return Err(Refusal::unusable(format!("the description: HTTP {}", document.status)));
    }
    let mut last = Refusal::Silent;
    for service in description::services(&document.body, url, gateway)? {
        let igd = Igd { local, service };
        match igd.map(internal.port(), request).await {
            Ok(granted) => return Ok((igd, granted)),
            Err(refusal) => last = refusal,
        }
    }
    Err(last)
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The external port that we would like best.
    pub port: u16,
    /// Another one, should that be taken.
    pub other_port: u16,
    /// How long it is to last.
    pub lifetime: Duration,
}

/// What the gateway gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The external endpoint.
    pub external: SocketAddr,
    /// How long it lasts; endless ones are checked as if they did not.
    pub lifetime: Duration,
}

impl Igd {
    /// Maps our port `internal`, or renews the mapping.
    pub async fn map(&self, internal: u16, request: Request) -> Result<Granted, Refusal> {
        let ip = self.external_address().await?;
        let mut port = request.port;
        let mut lifetime = request.lifetime;
        let mut added = self.add(internal, port, lifetime).await;
        // At most one step for each thing that the gateway may dislike.
        for _ in 0..3 {
            match added {
                Err(Refusal::Refused { code: ENDLESS, .. }) => lifetime = Duration::ZERO,
                Err(Refusal::Refused { code: SAME_PORTS, .. }) => port = internal,
                Err(Refusal::Refused { code: CONFLICT, .. }) if port != request.other_port => port = request.other_port,
                _ => break,
            }
            added = self.add(internal, port, lifetime).await;
        }
        added.map(|()| Granted { external: SocketAddr::new(ip, port), lifetime: request.lifetime })
    }

    async fn external_address(&self) -> Result<IpAddr, Refusal> {
        let action = Action { name: "GetExternalIPAddress", arguments: &[] };
        let told = self.invoke(&action, Some("NewExternalIPAddress")).await?;
        let ip = told.parse().ok().filter(|ip: &Ipv4Addr| !ip.is_unspecified());
        ip.map(IpAddr::V4).ok_or_else(|| Refusal::unusable(NO_ADDRESS))
    }

    async fn add(&self, internal: u16, external: u16, lifetime: Duration) -> Result<(), Refusal> {
        let arguments = [
            ("NewRemoteHost", String::new()),
            ("NewExternalPort", external.to_string()),
            ("NewProtocol", "UDP".into()),
            ("NewInternalPort", internal.to_string()),
            ("NewInternalClient", self.local.to_string()),
            ("NewEnabled", "1".into()),
            ("NewPortMappingDescription", "Pilot".into()),
            ("NewLeaseDuration", lifetime.as_secs().to_string()),
        ];
        self.invoke(&Action { name: "AddPortMapping", arguments: &arguments }, None).await.map(drop)
    }

    /// Removes the mapping of the external port.
    pub async fn remove(&self, external: u16) -> Result<(), Refusal> {
        let arguments = [
            ("NewRemoteHost", String::new()),
            ("NewExternalPort", external.to_string()),
            ("NewProtocol", "UDP".into()),
        ];
        self.invoke(&Action { name: "DeletePortMapping", arguments: &arguments }, None).await.map(drop)
    }

    async fn invoke(&self, action: &Action<'_>, wanted: Option<&str>) -> Result<String, Refusal> {
        let (header, body) = (action.header(&self.service), action.body(&self.service));
        let answer = http::post(self.local.into(), &self.service.control, header, body).await?;
        match action.answer(&answer.body, wanted) {
            Err(Refusal::Unusable(_)) if !answer.status.is_success() => {
                Err(Refusal::code(answer.status.as_u16(), "HTTP error"))
            }
            answer => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

    fn envelope(body: &str) -> String {
        let xml = format!("<s:Envelope xmlns:s=\"s\"><s:Body>{body}</s:Body></s:Envelope>");
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{xml}", xml.len())
    }

    fn fault(code: u16) -> String {
        envelope(&format!("<s:Fault><errorCode>{code}</errorCode></s:Fault>"))
    }

    fn address(ip: &str) -> String {
        let value = format!("<NewExternalIPAddress>{ip}</NewExternalIPAddress>");
        envelope(&format!("<u:GetExternalIPAddressResponse xmlns:u=\"u\">{value}</u:GetExternalIPAddressResponse>"))
    }

    fn added() -> String {
        envelope("<u:AddPortMappingResponse xmlns:u=\"u\"/>")
    }

    /// Maps port 4000 at a gateway that gives these answers in turn: the outcome, and what it was asked.
    async fn mapped(answers: Vec<String>) -> (Result<Granted, Refusal>, Vec<String>) {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let server = listener.local_addr().unwrap();
        let service = Service {
            kind: "urn:schemas-upnp-org:service:WANIPConnection:1",
            control: Url { server, path: "/c".into() },
        };
        let igd = Igd { local: HERE, service };
        let serve = async {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = String::new();
                while !request.contains("</s:Envelope>") {
                    let mut buffer = [0; 4096];
                    let count = stream.read(&mut buffer).await.unwrap();
                    request.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
                }
                asked.push(request);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        };
        let request = Request { port: 4000, other_port: 50123, lifetime: Duration::from_secs(3600) };
        tokio::join!(igd.map(4000, request), serve)
    }

    #[tokio::test]
    async fn only_our_own_address_is_mapped() {
        let (granted, asked) = mapped(vec![address("203.0.113.4"), added()]).await;
        assert_eq!(granted.unwrap().external, "203.0.113.4:4000".parse().unwrap());
        assert!(asked[1].contains("<NewInternalClient>127.0.0.1</NewInternalClient>"), "{}", asked[1]);
        assert!(asked[1].contains("<NewLeaseDuration>3600</NewLeaseDuration>"), "{}", asked[1]);
    }

    #[tokio::test]
    async fn a_taken_port_and_a_gateway_without_lifetimes_are_lived_with() {
        let answers = vec![address("203.0.113.4"), fault(CONFLICT), fault(ENDLESS), added()];
        let (granted, asked) = mapped(answers).await;
        assert_eq!(granted.unwrap().external, "203.0.113.4:50123".parse().unwrap());
        assert!(asked[3].contains("<NewLeaseDuration>0</NewLeaseDuration>"), "{}", asked[3]);
    }

    #[tokio::test]
    async fn a_gateway_that_always_refuses_is_asked_a_few_times_only() {
        let answers = vec![address("203.0.113.4"), fault(CONFLICT), fault(CONFLICT)];
        assert_eq!(mapped(answers).await.0, Err(Refusal::code(CONFLICT, "no reason given")));
        let answers = vec![address("203.0.113.4"), fault(ENDLESS), fault(ENDLESS), fault(ENDLESS), fault(ENDLESS)];
        assert!(mapped(answers).await.0.is_err());
    }

    #[tokio::test]
    async fn a_gateway_without_an_address_outside_is_not_asked_to_map() {
        assert_eq!(mapped(vec![address("0.0.0.0")]).await.0, Err(Refusal::unusable(NO_ADDRESS)));
    }
}
