//! The state folder by what survives.

use super::*;
use crate::identity::{NodeId, PublicKey, TunnelCertificate};
use crate::peer::record::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use std::io;
use std::time::Duration;
use zeroize::Zeroizing;

fn identity(seed: u64) -> Identity {
    Identity::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

fn key(seed: u64) -> PublicKey {
    identity(seed).public_key()
}

fn peer(seed: u64) -> PeerRecord {
    let secret = TunnelSecret::generate(&mut ChaCha20Rng::seed_from_u64(seed));
    PeerRecord {
        key: key(seed),
        id: NodeId::from_u64(0xffff_ffff_ffff - seed).unwrap(),
        hostname: Some(format!("worker-{seed}").parse().unwrap()),
        since_unix_ms: 1_800_000_000_000,
        via: Via::Invite,
        tunnel: Some(TunnelCertificate::issue(&identity(seed), &secret, u64::MAX)),
        initiation_floor: [7; 12],
        grant: "inbox,tcp:8000-8100".parse().unwrap(),
        expires_unix_ms: Some(1_900_000_000_000),
    }
}

fn bare_peer(seed: u64) -> PeerRecord {
    let grant = Default::default();
    PeerRecord { hostname: None, via: Via::Key, tunnel: None, grant, expires_unix_ms: None, ..peer(seed) }
}

fn pending(seed: u64) -> PendingRecord {
    PendingRecord {
        key: key(seed),
        id: NodeId::from_u64(seed).unwrap(),
        hostname: None,
        reason: "naïve \u{0}'; DROP TABLE peer; --".to_owned(),
        at_unix_ms: u64::MAX,
        nonce: [9; 16],
    }
}

fn requests() -> Vec<RequestRecord> {
    let targets = [key(5).to_string(), "a1b2.c3d4.e5f6".to_owned(), "worker".to_owned()];
    let request = |(n, target): (u8, &String)| RequestRecord {
        nonce: [n; 16],
        target: target.parse().unwrap(),
        reason: String::new(),
        at_unix_ms: 1,
        terms: [terms(), Terms::default()][usize::from(n % 2)].clone(),
    };
    (0..).zip(&targets).map(request).collect()
}

fn invite() -> InviteRecord {
    let secret = Zeroizing::new([3; 16]);
    let admitted = vec![[1; 32], [2; 32]];
    InviteRecord { secret, expires: 1_800_000_000, uses_left: u32::MAX, admitted, terms: terms() }
}

fn terms() -> Terms {
    Terms { grant: "inbox,tcp:22".parse().ok(), lifetime: Some(Duration::from_millis(3_600_500)) }
}

fn everything() -> Vec<Change> {
    let mut changes = vec![
        Change::PutPeer(peer(1)),
        Change::PutPeer(bare_peer(2)),
        Change::PutPending(pending(3)),
        Change::PutInvite(invite()),
        Change::SetHostname(Some("me".parse().unwrap())),
        Change::SetRendezvous(Some(format!("pilot://{}@[2001:db8::1]:9000", key(8)).parse().unwrap())),
    ];
    changes.extend(requests().into_iter().map(Change::PutRequest));
    changes
}

fn apply(folder: &Path, changes: &[Change]) {
    let (store, _) = Store::open(folder).unwrap();
    for change in changes {
        store.apply(change).unwrap();
    }
}

fn records(folder: &Path) -> Records {
    Store::open(folder).unwrap().1.records
}

#[test]
fn everything_survives_a_restart_and_applying_twice_is_as_once() {
    let folder = tempfile::tempdir().unwrap();
    apply(folder.path(), &everything());
    apply(folder.path(), &everything());
    let read = records(folder.path());
    let mut peers = vec![peer(1), bare_peer(2)];
    peers.sort_by_key(|peer| peer.key);
    assert_eq!(read.peers, peers);
    assert_eq!(read.pending, [pending(3)]);
    assert_eq!(read.requests, requests());
    assert_eq!(read.invites, [invite()]);
    assert_eq!(read.hostname.unwrap().as_str(), "me");
    assert!(read.rendezvous.unwrap().to_string().contains("2001:db8::1"));
}

/// Takes from the database what the formats after this one brought.
fn downgrade(folder: &Path, format: usize) {
    let steps = [
        "ALTER TABLE peer DROP COLUMN may_open; ALTER TABLE peer DROP COLUMN expires_unix_ms;",
        "ALTER TABLE request DROP COLUMN may_open; ALTER TABLE request DROP COLUMN lifetime_ms;
         ALTER TABLE invite DROP COLUMN may_open; ALTER TABLE invite DROP COLUMN lifetime_ms;
         ALTER TABLE invite DROP COLUMN admitted;",
    ];
    let database = Connection::open(folder.join("state.db")).unwrap();
    for step in &steps[format - 1..] {
        database.execute_batch(step).unwrap();
    }
    database.pragma_update(None, "user_version", format as u32).unwrap();
}

#[test]
fn trust_of_before_there_were_grants_is_trust_with_everything() {
    let folder = tempfile::tempdir().unwrap();
    apply(folder.path(), &[Change::PutPeer(peer(1))]);
    downgrade(folder.path(), 1);
    let expected = PeerRecord { grant: crate::peer::Grant::All, expires_unix_ms: None, ..peer(1) };
    assert_eq!(records(folder.path()).peers, [expected]);
    apply(folder.path(), &[Change::PutPeer(peer(1))]);
    assert_eq!(records(folder.path()).peers, [peer(1)]);
}

#[test]
fn requests_and_invites_of_before_they_had_terms_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    apply(folder.path(), &everything());
    downgrade(folder.path(), 2);
    let read = records(folder.path());
    let without = |request| RequestRecord { terms: Terms::default(), ..request };
    assert_eq!(read.requests, requests().into_iter().map(without).collect::<Vec<_>>());
    assert_eq!(read.invites, [InviteRecord { terms: Terms::default(), admitted: Vec::new(), ..invite() }]);
    assert!(read.peers.contains(&peer(1)));
    apply(folder.path(), &everything());
    let read = records(folder.path());
    assert_eq!((read.requests, read.invites), (requests(), vec![invite()]));
}

#[test]
fn what_is_removed_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    apply(folder.path(), &everything());
    let mut removals = vec![
        Change::RemovePeer(key(1)),
        Change::RemovePeer(key(2)),
        Change::RemovePending(key(3)),
        Change::RemoveInvite(invite()),
        Change::SetHostname(None),
        Change::SetRendezvous(None),
    ];
    removals.extend(requests().iter().map(|request| Change::RemoveRequest(request.nonce)));
    apply(folder.path(), &removals);
    assert_eq!(records(folder.path()), Records::default());
}

#[test]
fn the_initiation_floor_rises_and_makes_no_peer() {
    let folder = tempfile::tempdir().unwrap();
    let floor = |seed, floor| Change::SetFloor { key: key(seed), floor };
    apply(folder.path(), &[Change::PutPeer(peer(1)), floor(1, [8; 12]), floor(2, [8; 12])]);
    assert_eq!(records(folder.path()).peers, [PeerRecord { initiation_floor: [8; 12], ..peer(1) }]);
}

#[test]
fn the_identity_outlives_a_damaged_database_which_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    apply(folder.path(), &everything());
    let (_, before) = Store::open(folder.path()).unwrap();
    fs::write(folder.path().join("state.db"), "damaged".repeat(2000)).unwrap();
    let (_, after) = Store::open(folder.path()).unwrap();
    assert_eq!(after.identity.public_key(), before.identity.public_key());
    assert_eq!(after.records, Records::default());
    assert_eq!(fs::read_to_string(after.kept_aside.unwrap()).unwrap(), "damaged".repeat(2000));
}

#[test]
fn a_row_that_makes_no_sense_is_damage_too() {
    let folder = tempfile::tempdir().unwrap();
    apply(folder.path(), &everything());
    let database = Connection::open(folder.path().join("state.db")).unwrap();
    database.execute("UPDATE peer SET via = 'magic'", ()).unwrap();
    drop(database);
    let (_, state) = Store::open(folder.path()).unwrap();
    assert_eq!(state.records, Records::default());
    assert!(state.kept_aside.unwrap().exists());
}

#[test]
fn a_second_pilotd_and_a_folder_open_to_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Store::open(folder.path()).unwrap();
    let second = Store::open(folder.path()).err().unwrap();
    assert!(matches!(second, StoreError::Lock(LockError::Taken { .. })), "{second}");
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    let error = Store::open(&shared).err().unwrap();
    assert!(matches!(error, StoreError::Writable { .. }), "{error}");
    assert_eq!(fs::read_dir(&shared).unwrap().count(), 0);
}

#[test]
fn nothing_in_the_folder_is_readable_by_others() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("deep/state");
    let (store, _) = Store::open(&state).unwrap();
    store.apply(&Change::PutPeer(peer(1))).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    let entries: io::Result<Vec<_>> = fs::read_dir(&state).unwrap().collect();
    for entry in entries.unwrap() {
        assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.path());
    }
}

#[test]
fn a_full_disk_is_an_error_that_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    store.apply(&Change::PutPeer(peer(1))).unwrap();
    store.connection.pragma_update(None, "max_page_count", 1).unwrap();
    let mut large = pending(2);
    large.reason = "x".repeat(1 << 20);
    let error = store.apply(&Change::PutPending(large)).unwrap_err().to_string();
    assert!(error.contains("the disk is full") && error.contains("state.db"), "{error}");
    drop(store);
    assert_eq!(records(folder.path()), Records { peers: vec![peer(1)], ..Records::default() });
}
