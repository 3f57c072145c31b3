//! One mapping: obtained by the first protocol that works, renewed by the same, removed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use futures_util::future::{MaybeDone, maybe_done};
use rand_core::{OsRng, RngCore};

use super::ask::{ask, open};
use super::epoch::Epoch;
use super::igd::{self, Igd};
use super::mapping::{Mapping, Protocol, Tried};
use super::refusal::{NO_ADDRESS, Refusal};
use super::schedule::LIFETIME;
use super::sites::Place;
use super::url::Url;
use super::{natpmp, pcp};

/// A mapping that a gateway gave us, and what it takes to renew and remove it.
#[derive(Clone, Debug)]
pub struct Lease {
    /// What was given.
    pub mapping: Mapping,
    /// How long it was given for.
    pub lifetime: Duration,
    /// The gateway's clock, where the protocol has one.
    pub epoch: Option<Epoch>,
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    Pcp([u8; 12]),
    NatPmp,
    Upnp(Box<Igd>),
}

/// Asks the gateway by all protocols. What is only a question is asked at once; mappings are made by one alone.
pub async fn obtain(place: &Place, nonce: [u8; 12]) -> (Option<Lease>, Vec<Tried>) {
    let mut tried = Vec::new();
    let address = pin!(maybe_done(natpmp_address(place)));
    let description = pin!(maybe_done(upnp_search(place)));
    let (mut address, mut description) = (address, description);
    let questions = async { tokio::join!(address.as_mut(), description.as_mut()) };
    let granted = meanwhile(pcp(place, nonce, None), questions).await;
    if let Some(lease) = note(&mut tried, Protocol::Pcp, granted) {
        return (Some(lease), tried);
    }
    if place.internal.is_ipv6() {
        return (None, tried);
    }
    let granted = meanwhile(natpmp_first(place, address), description.as_mut()).await;
    if let Some(lease) = note(&mut tried, Protocol::NatPmp, granted) {
        return (Some(lease), tried);
    }
    let granted = upnp_first(place, description).await;
    let lease = note(&mut tried, Protocol::Upnp, granted);
    (lease, tried)
}

/// Awaits `first` alone, and lets `other` go on until then.
async fn meanwhile<T>(first: impl Future<Output = T>, other: impl Future) -> T {
    let mut first = pin!(first);
    tokio::select! {
        done = &mut first => done,
        _ = other => first.await,
    }
}

/// A question that was begun before.
type Begun<'a, F> = Pin<&'a mut MaybeDone<F>>;

async fn natpmp_first(
    place: &Place,
    mut address: Begun<'_, impl Future<Output = Result<natpmp::Address, Refusal>>>,
) -> Result<Lease, Refusal> {
    address.as_mut().await;
    let told = address.take_output().unwrap_or(Err(Refusal::Silent))?;
    natpmp(place, told.ip, place.internal.port()).await
}

async fn upnp_first(
    place: &Place,
    mut description: Begun<'_, impl Future<Output = Result<(Url, Ipv4Addr), Refusal>>>,
) -> Result<Lease, Refusal> {
    description.as_mut().await;
    let (url, gateway) = description.take_output().unwrap_or(Err(Refusal::Silent))?;
    let (igd, granted) = igd::obtain(&url, gateway, place.internal, upnp_request(place.internal.port())).await?;
    upnp(place, igd, granted)
}

fn note(tried: &mut Vec<Tried>, protocol: Protocol, result: Result<Lease, Refusal>) -> Option<Lease> {
    let outcome = match &result {
        Ok(lease) => format!("mapped {}", lease.mapping.external),
        Err(refusal) => refusal.to_string(),
    };
    tried.push(Tried { protocol, outcome });
    result.ok()
}

impl Lease {
    /// Asks for the same again, by the same protocol.
    pub async fn renew(&self, place: &Place) -> Result<Lease, Refusal> {
        let external = self.mapping.external;
        match &self.how {
            How::Pcp(nonce) => pcp(place, *nonce, Some(external)).await,
            How::NatPmp => {
                let address = natpmp_address(place).await?;
                natpmp(place, address.ip, external.port()).await
            }
            How::Upnp(igd) => {
                let granted = igd.map(place.internal.port(), upnp_request(external.port())).await?;
                upnp(place, Igd::clone(igd), granted)
            }
        }
    }

    /// Gives the port back.
    pub async fn remove(&self, place: &Place) -> Result<(), Refusal> {
        match &self.how {
            How::Pcp(nonce) => {
                let request = pcp_request(place, *nonce, Duration::ZERO, None);
                let socket = open(place.internal.ip(), place.gateway).await?;
                ask(&socket, &request.encode(), |bytes| request.decode(bytes)).await?.map(drop)
            }
            How::NatPmp => {
                let internal = place.internal.port();
                let request = natpmp::MapRequest { internal, suggested: 0, lifetime: Duration::ZERO };
                let socket = open(place.internal.ip(), place.gateway).await?;
                ask(&socket, &request.encode(), |bytes| request.decode(bytes)).await?.map(drop)
            }
            How::Upnp(igd) => igd.remove(self.mapping.external.port()).await,
        }
    }
}

/// Asks by PCP; with what was held before, to renew it.
async fn pcp(place: &Place, nonce: [u8; 12], held: Option<SocketAddr>) -> Result<Lease, Refusal> {
    let suggested = held.unwrap_or_else(|| any_address(place.internal));
    let request = pcp_request(place, nonce, LIFETIME, Some(suggested));
    let socket = open(place.internal.ip(), place.gateway).await?;
    let granted = ask(&socket, &request.encode(), |bytes| request.decode(bytes)).await??;
    lease(place, granted.external, granted.lifetime, Some(granted.epoch), How::Pcp(nonce))
}

fn pcp_request(place: &Place, nonce: [u8; 12], lifetime: Duration, suggested: Option<SocketAddr>) -> pcp::MapRequest {
    pcp::MapRequest { internal: place.internal, nonce, lifetime, suggested }
}

/// Any external address, but preferably our own port: it is the one that a well-behaved NAT shows anyway.
fn any_address(internal: SocketAddr) -> SocketAddr {
    let any = match internal.ip() {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    };
    SocketAddr::new(any, internal.port())
}

async fn natpmp_address(place: &Place) -> Result<natpmp::Address, Refusal> {
    if place.internal.is_ipv6() {
        return Err(Refusal::Version);
    }
    let socket = open(place.internal.ip(), place.gateway).await?;
    let address = ask(&socket, &natpmp::ADDRESS_REQUEST, natpmp::address).await??;
    if address.ip.is_unspecified() { Err(Refusal::unusable(NO_ADDRESS)) } else { Ok(address) }
}

async fn natpmp(place: &Place, outside: Ipv4Addr, suggested: u16) -> Result<Lease, Refusal> {
    let request = natpmp::MapRequest { internal: place.internal.port(), suggested, lifetime: LIFETIME };
    let socket = open(place.internal.ip(), place.gateway).await?;
    let granted = ask(&socket, &request.encode(), |bytes| request.decode(bytes)).await??;
    let external = SocketAddr::new(outside.into(), granted.port);
    lease(place, external, granted.lifetime, Some(granted.epoch), How::NatPmp)
}

async fn upnp_search(place: &Place) -> Result<(Url, Ipv4Addr), Refusal> {
    match (place.internal.ip(), place.gateway.ip()) {
        (IpAddr::V4(local), IpAddr::V4(gateway)) => Ok((igd::search(local, gateway).await?, gateway)),
        _ => Err(Refusal::Version),
    }
}

fn upnp_request(port: u16) -> igd::Request {
    // From the dynamic range of RFC 6335, so that no known service is hidden.
    let random = 49152 + (OsRng.next_u32() % 16384) as u16;
    igd::Request { port, other_port: random, lifetime: LIFETIME }
}

fn upnp(place: &Place, igd: Igd, granted: igd::Granted) -> Result<Lease, Refusal> {
    lease(place, granted.external, granted.lifetime, None, How::Upnp(Box::new(igd)))
}

fn lease(
    place: &Place,
    external: SocketAddr,
    lifetime: Duration,
    epoch: Option<u32>,
    how: How,
) -> Result<Lease, Refusal> {
    if !is_endpoint(external) || external.is_ipv4() != place.internal.is_ipv4() {
        return Err(Refusal::unusable(format!("{external} is no address outside")));
    }
    if lifetime.is_zero() {
        return Err(Refusal::unusable("the mapping ends at once"));
    }
    let heard = Instant::now();
    let protocol = match how {
        How::Pcp(_) => Protocol::Pcp,
        How::NatPmp => Protocol::NatPmp,
        How::Upnp(_) => Protocol::Upnp,
    };
    let mapping = Mapping { internal: place.internal, external, protocol, expires: heard + lifetime };
    Ok(Lease { mapping, lifetime, epoch: epoch.map(|seconds| Epoch { seconds, heard }), how })
}

/// Whether anybody can be there at all.
fn is_endpoint(endpoint: SocketAddr) -> bool {
    let ip = endpoint.ip();
    let special = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    endpoint.port() != 0 && !special && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(external: &str, lifetime: u64) -> Result<Lease, Refusal> {
        let place =
            Place { internal: "192.168.1.2:4000".parse().unwrap(), gateway: "192.168.1.1:5351".parse().unwrap() };
        lease(&place, external.parse().unwrap(), Duration::from_secs(lifetime), None, How::NatPmp)
    }

    #[test]
    fn an_address_that_nobody_can_have_is_refused() {
        for external in [
            "0.0.0.0:4000",
            "127.0.0.1:4000",
            "224.0.0.1:4000",
            "255.255.255.255:1",
            "203.0.113.1:0",
            "[2001:db8::1]:1",
        ] {
            assert!(given(external, 60).is_err(), "{external}");
        }
        assert!(given("203.0.113.1:4000", 0).is_err());
    }

    #[test]
    fn an_address_behind_a_second_nat_is_kept_and_flagged() {
        assert!(given("203.0.113.1:4000", 60).unwrap().mapping.is_public());
        assert!(!given("100.64.0.9:4000", 60).unwrap().mapping.is_public());
    }
}
