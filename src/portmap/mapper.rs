//! Keeps a mapping of each of our addresses that is behind a gateway, as addresses and gateways come and go.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::announcements::Announcements;
use super::epoch::Epoch;
use super::keeper::{Nudge, Report, keep};
use super::mapping::{Mapping, Site, Status, Tried};
use super::sites::{Local, Place, Ports, places};
use crate::udp::{Gateway, LocalAddress, Networks};

/// Patience with all gateways at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Reasons to ask again that wait for one keeper; more say nothing new.
const NUDGES: usize = 4;

/// Reports that wait.
const REPORTS: usize = 16;

/// The running port mappings.
pub struct PortMapper {
    mappings: watch::Receiver<Vec<Mapping>>,
    status: watch::Receiver<Status>,
    refresh: Arc<Notify>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Begins to keep `ports` mapped. Nonces made of `secret` prove to gateways that a mapping is ours: where it is the
/// same at each start, what a crash left behind is taken over. Needs a tokio runtime.
pub fn start(
    ports: Ports,
    secret: [u8; 32],
    networks: watch::Receiver<Networks>,
    gateways: watch::Receiver<Vec<Gateway>>,
) -> PortMapper {
    let (mappings_out, mappings) = watch::channel(Vec::new());
    let (status_out, status) = watch::channel(Status::default());
    let (stop, stopped) = oneshot::channel();
    let refresh = Arc::new(Notify::new());
    let (reports_in, reports) = mpsc::channel(REPORTS);
    let mapper = Mapper {
        ports,
        secret,
        kept: BTreeMap::new(),
        tasks: JoinSet::new(),
        reports: reports_in,
        mappings: mappings_out,
        status: status_out,
    };
    let inputs = Inputs { networks, gateways, reports, refresh: refresh.clone() };
    let task = tokio::spawn(mapper.run(inputs, stopped));
    PortMapper { mappings, status, refresh, stop, task }
}

impl PortMapper {
    /// The mappings that hold, and each change of them.
    pub fn mappings(&self) -> watch::Receiver<Vec<Mapping>> {
        self.mappings.clone()
    }

    /// What people are told.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Asks all gateways again soon: for evidence from elsewhere that the network or the gateway is another one, such
    /// as a changed reflexive address.
    pub fn refresh(&self) {
        self.refresh.notify_one();
    }

    /// Removes all mappings, within a second.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::debug!(%error, "port mappings were not removed");
        }
    }
}

struct Inputs {
    networks: watch::Receiver<Networks>,
    gateways: watch::Receiver<Vec<Gateway>>,
    reports: mpsc::Receiver<Report>,
    refresh: Arc<Notify>,
}

/// A keeper at work; it stops when this is dropped.
struct Kept {
    nudges: mpsc::Sender<Nudge>,
    mapping: Option<Mapping>,
    tried: Vec<Tried>,
    _stop: oneshot::Sender<()>,
}

impl Kept {
    /// A full queue has reasons enough in it.
    fn nudge(&self, nudge: Nudge) {
        let _ = self.nudges.try_send(nudge);
    }
}

struct Mapper {
    ports: Ports,
    secret: [u8; 32],
    kept: BTreeMap<Place, Kept>,
    tasks: JoinSet<()>,
    reports: mpsc::Sender<Report>,
    mappings: watch::Sender<Vec<Mapping>>,
    status: watch::Sender<Status>,
}

impl Mapper {
    async fn run(mut self, mut inputs: Inputs, mut stopped: oneshot::Receiver<()>) {
        let announcements = Announcements::open();
        self.update(&mut inputs);
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                Ok(()) = inputs.networks.changed() => self.update(&mut inputs),
                Ok(()) = inputs.gateways.changed() => {
                    self.update(&mut inputs);
                    self.nudge(Nudge::Refresh);
                }
                Some(report) = inputs.reports.recv() => self.reported(report),
                (from, epoch) = announcements.next() => self.announced(from, epoch),
                () = inputs.refresh.notified() => self.nudge(Nudge::Refresh),
                Some(_) = self.tasks.join_next() => {}
            }
        }
        self.kept.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            tracing::debug!("a gateway does not answer: its mapping ends by itself");
        }
    }

    /// Stops keepers whose address or gateway is gone, and starts those for new ones.
    fn update(&mut self, inputs: &mut Inputs) {
        let locals: Vec<Local> = inputs.networks.borrow_and_update().addresses.iter().filter_map(local).collect();
        let wanted = places(&locals, &inputs.gateways.borrow_and_update(), self.ports);
        self.kept.retain(|place, _| wanted.contains(place));
        for place in wanted {
            if !self.kept.contains_key(&place) {
                let kept = self.keep(place);
                self.kept.insert(place, kept);
            }
        }
        self.publish();
    }

    fn keep(&mut self, place: Place) -> Kept {
        let (nudges, nudged) = mpsc::channel(NUDGES);
        let (stop, stopped) = oneshot::channel();
        self.tasks.spawn(keep(place, self.nonce(&place), nudged, stopped, self.reports.clone()));
        Kept { nudges, mapping: None, tried: Vec::new(), _stop: stop }
    }

    /// Another one for each place: nobody can tell by it that we were elsewhere before.
    fn nonce(&self, place: &Place) -> [u8; 12] {
        let text = format!("{} {}", place.internal, place.gateway);
        let hash = blake3::keyed_hash(&self.secret, text.as_bytes());
        hash.as_bytes().first_chunk().copied().unwrap_or_default()
    }

    fn nudge(&self, nudge: Nudge) {
        self.kept.values().for_each(|kept| kept.nudge(nudge));
    }

    fn announced(&self, from: IpAddr, epoch: Epoch) {
        let theirs = self.kept.iter().filter(|(place, _)| place.gateway.ip() == from);
        theirs.for_each(|(_, kept)| kept.nudge(Nudge::Announced(epoch)));
    }

    /// A report of a keeper that was stopped meanwhile finds nobody.
    fn reported(&mut self, report: Report) {
        let Some(kept) = self.kept.get_mut(&report.place) else { return };
        log(&report, kept.mapping);
        kept.mapping = report.mapping;
        kept.tried = report.tried;
        self.publish();
    }

    fn publish(&self) {
        let mappings: Vec<Mapping> = self.kept.values().filter_map(|kept| kept.mapping).collect();
        let gateways: Vec<Site> = self.kept.iter().map(site).collect();
        self.mappings.send_if_modified(|before| replace(before, mappings));
        self.status.send_if_modified(|before| replace(before, Status { gateways }));
    }
}

fn replace<T: PartialEq>(before: &mut T, now: T) -> bool {
    let changed = *before != now;
    *before = now;
    changed
}

fn local(address: &LocalAddress) -> Option<Local> {
    let interface = nix::net::if_::if_nametoindex(address.interface.as_str()).ok()?;
    Some(Local { ip: address.ip, interface })
}

fn site((place, kept): (&Place, &Kept)) -> Site {
    Site {
        gateway: place.gateway.ip(),
        local: place.internal.ip(),
        external: kept.mapping.map(|mapping| mapping.external),
        public: kept.mapping.map(|mapping| mapping.is_public()),
        protocol: kept.mapping.map(|mapping| mapping.protocol),
        tried: kept.tried.clone(),
    }
}

fn log(report: &Report, before: Option<Mapping>) {
    let external = |mapping: Option<Mapping>| mapping.map(|mapping| mapping.external);
    let gateway = report.place.gateway.ip();
    match report.mapping {
        Some(now) if external(before) != Some(now.external) => {
            tracing::info!("{gateway} maps {} to {} ({})", now.external, now.internal, now.protocol);
        }
        None if before.is_some() => tracing::info!("{gateway} no longer maps a port to {}", report.place.internal),
        _ => {}
    }
}
