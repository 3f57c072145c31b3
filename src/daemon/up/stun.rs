//! The STUN servers of the configuration: their names into endpoints, again when that failed and when our networks
//! change.
//!
//! In: host names with ports. Out: for each what it resolves to, or why it does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::daemon::rendezvous::HostPort;
use crate::udp::Networks;

/// The port of STUN (RFC 8489, section 8).
const PORT: u16 = 3478;
/// How long a name may take to resolve.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pauses after failures; the last one repeats.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(60)];
/// Names are looked up again so often, for a server may have moved.
const FRESH: Duration = Duration::from_secs(3_600);

/// A server, and its endpoints or why there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// As it is written in the configuration.
    pub name: String,
    /// One of each family at most; empty until it was looked up.
    pub found: Result<Vec<SocketAddr>, String>,
}

/// What all servers resolve to.
pub type Resolved = Arc<Vec<Named>>;

/// Every endpoint, each once.
pub fn endpoints(resolved: &[Named]) -> Vec<SocketAddr> {
    let mut endpoints: Vec<SocketAddr> = Vec::new();
    for endpoint in resolved.iter().filter_map(|named| named.found.as_ref().ok()).flatten() {
        if !endpoints.contains(endpoint) {
            endpoints.push(*endpoint);
        }
    }
    endpoints
}

/// Resolves the servers from now on, until nobody listens.
pub fn watch(servers: Vec<HostPort>, networks: watch::Receiver<Networks>) -> watch::Receiver<Resolved> {
    let unknown = |server: &HostPort| Named { name: server.to_string(), found: Ok(Vec::new()) };
    let (sender, receiver) = watch::channel(Arc::new(servers.iter().map(unknown).collect()));
    if !servers.is_empty() {
        tokio::spawn(keep(servers, networks, sender));
    }
    receiver
}

async fn keep(servers: Vec<HostPort>, mut networks: watch::Receiver<Networks>, sender: watch::Sender<Resolved>) {
    let mut failures = 0;
    loop {
        networks.borrow_and_update();
        let mut resolved = Vec::new();
        for server in &servers {
            resolved.push(Named { name: server.to_string(), found: resolve(server).await });
        }
        let failed = resolved.iter().any(|named| named.found.is_err());
        failures = if failed { failures + 1 } else { 0 };
        tell(&sender, resolved);
        tokio::select! {
            () = sleep(pause(failures)) => {}
            changed = networks.changed() => match changed {
                Ok(()) => failures = 0,
                Err(_) => return,
            },
            () = sender.closed() => return,
        }
    }
}

fn pause(failures: usize) -> Duration {
    let last = PAUSES.len() - 1;
    let place = failures.checked_sub(1).map(|place| place.min(last));
    place.and_then(|place| PAUSES.get(place)).copied().unwrap_or(FRESH)
}

/// A name that fails now keeps what it resolved to: the server may well be there although the name server is not.
fn tell(sender: &watch::Sender<Resolved>, resolved: Vec<Named>) {
    sender.send_if_modified(|former| {
        let keep = |(named, former): (Named, &Named)| match (&named.found, &former.found) {
            (Err(_), Ok(known)) if !known.is_empty() => former.clone(),
            _ => named,
        };
        let kept: Vec<Named> = resolved.into_iter().zip(former.iter()).map(keep).collect();
        let is_new = kept != **former;
        *former = Arc::new(kept);
        is_new
    });
}

/// The first address of each family.
async fn resolve(server: &HostPort) -> Result<Vec<SocketAddr>, String> {
    let lookup = lookup_host((server.host.as_str(), server.port.unwrap_or(PORT)));
    let found = timeout(PATIENCE, lookup).await.map_err(|_| "the name server does not answer".to_owned())?;
    let found: Vec<SocketAddr> = found.map_err(|error| error.to_string())?.collect();
    let first = |v4: bool| found.iter().find(|address| address.is_ipv4() == v4).copied();
    Ok(first(true).into_iter().chain(first(false)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(texts: &[&str]) -> Vec<HostPort> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn addresses_and_names_resolve_and_what_does_not_is_told_with_the_reason() {
        let (_networks, ours) = watch::channel(Networks::default());
        let given = servers(&["127.0.0.1:7001", "[::1]", "no-such-host.invalid:1"]);
        let mut resolved = watch(given, ours);
        let is_known = |named: &Named| named.found != Ok(Vec::new());
        let all = resolved.wait_for(|all| all.iter().all(is_known)).await.unwrap().clone();
        let at = |text: &str| Ok(vec![text.parse().unwrap()]);
        assert_eq!((&all[0].found, &all[1].found), (&at("127.0.0.1:7001"), &at("[::1]:3478")));
        assert!(all[2].found.is_err(), "{:?}", all[2]);
        assert_eq!(all[2].name, "no-such-host.invalid:1");
        assert_eq!(endpoints(&all).len(), 2);
    }

    #[test]
    fn a_name_that_fails_later_keeps_its_endpoints() {
        let named = |found| vec![Named { name: "stun.example.org".into(), found }];
        let (sender, receiver) = watch::channel(Arc::new(named(Ok(Vec::new()))));
        let known = Ok(vec!["192.0.2.1:3478".parse().unwrap()]);
        tell(&sender, named(known.clone()));
        tell(&sender, named(Err("no network".into())));
        assert_eq!(receiver.borrow()[0].found, known);
    }

    #[test]
    fn failures_are_tried_again_soon_and_then_more_slowly() {
        assert_eq!([0, 1, 2, 9].map(pause).map(|pause| pause.as_secs()), [3_600, 2, 5, 60]);
    }
}
