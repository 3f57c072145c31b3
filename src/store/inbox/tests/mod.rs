//! The store as its users see it: what is there, once, in order, after whatever happened.

mod crash;
mod speed;

use bytes::Bytes;
use proptest::prelude::*;
use rand_core::SeedableRng;

use super::*;
use crate::identity::{Identity, NodeId, PublicKey};

fn key(seed: u64) -> PublicKey {
    Identity::generate(&mut rand_chacha::ChaCha20Rng::seed_from_u64(seed)).public_key()
}

fn delivery(sender: u64, id: &str, data: &[u8]) -> Delivery {
    Delivery {
        sender: key(sender),
        node: NodeId::from_u64(sender).unwrap(),
        id: id.to_owned(),
        kind: Kind::Text,
        data: Bytes::copy_from_slice(data),
        sent: 1,
        received: 2,
        task: None,
        is_kept: true,
    }
}

fn everything() -> Query {
    Query { limit: 1_000_000, bytes: usize::MAX, ..Query::default() }
}

impl InboxStore {
    async fn take(&self, sender: u64, id: &str, data: &[u8]) -> Result<Outcome, Fault> {
        let deliveries = vec![delivery(sender, id, data)];
        let mut outcomes = self.write(data.len(), move |batch| batch.deliver(&deliveries)).await?;
        Ok(outcomes.remove(0))
    }

    async fn ids(&self, query: Query) -> Vec<String> {
        let found = self.read(move |connection| query.run(connection)).await.unwrap();
        found.into_iter().map(|message| message.id).collect()
    }
}

fn open(folder: &std::path::Path, limits: Limits) -> InboxStore {
    InboxStore::open(folder, limits).unwrap().store
}

#[tokio::test]
async fn a_retry_is_told_from_a_new_message_also_after_clearing_and_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Limits::default());
    assert_eq!(store.take(1, "a", b"x").await, Ok(Outcome::Stored(1)));
    assert_eq!(store.take(1, "a", b"x").await, Ok(Outcome::Duplicate));
    assert_eq!(store.take(2, "a", b"x").await, Ok(Outcome::Stored(2)));
    assert_eq!(store.write(0, |batch| batch.clear(&Chosen::All)).await, Ok(2));
    drop(store);
    let store = open(folder.path(), Limits::default());
    assert_eq!(store.take(1, "a", b"x").await, Ok(Outcome::Duplicate));
    assert_eq!(store.take(1, "b", b"x").await, Ok(Outcome::Stored(3)), "places are never used again");
    assert_eq!(store.ids(everything()).await, ["b"]);
}

#[tokio::test]
async fn ids_are_forgotten_when_they_are_old_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Limits::default());
    let many: Vec<_> = (0..6_000).map(|n| delivery(1 + n % 3, &n.to_string(), b"")).collect();
    store.write(0, move |batch| batch.deliver(&many)).await.unwrap();
    let mut young = delivery(1, "young", b"");
    young.received = 100;
    store.write(0, move |batch| batch.deliver(&[young])).await.unwrap();
    let mut cursor = Some((0, String::new()));
    let mut steps = 0;
    while let Some(at) = cursor {
        cursor = store.write(0, move |batch| batch.forget_seen(50, at)).await.unwrap();
        steps += 1;
    }
    assert_eq!(steps, 2, "6,001 IDs in stretches of 5,000");
    assert_eq!(store.take(1, "young", b"").await, Ok(Outcome::Duplicate));
    assert!(matches!(store.take(1, "0", b"").await, Ok(Outcome::Stored(_))));
}

#[tokio::test]
async fn each_sender_has_its_own_share_and_clearing_gives_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { sender_messages: 2, sender_bytes: 10, messages: 4, ..Limits::default() };
    let store = open(folder.path(), limits);
    assert_eq!(store.take(1, "a", b"12345").await, Ok(Outcome::Stored(1)));
    let full = Fault::SenderQuota { messages: 1, bytes: 5 };
    assert_eq!(store.take(1, "b", b"123456").await, Ok(Outcome::Refused(full)));
    assert_eq!(store.take(1, "b", b"12345").await, Ok(Outcome::Stored(2)), "a refused ID was not used up");
    assert_eq!(store.take(1, "a", b"12345").await, Ok(Outcome::Duplicate), "a full share does not hide a retry");
    for id in ["a", "b"] {
        assert!(matches!(store.take(2, id, b"").await, Ok(Outcome::Stored(_))));
    }
    let full = Fault::InboxQuota { messages: 4, bytes: 10 };
    assert_eq!(store.take(3, "a", b"").await, Ok(Outcome::Refused(full)));
    let ids = vec!["a".to_owned()];
    assert_eq!(store.write(0, move |batch| batch.acknowledge(&ids)).await, Ok(2));
    assert_eq!(store.write(0, |batch| batch.clear(&Chosen::Read)).await, Ok(2));
    drop(store);
    let store = open(folder.path(), limits);
    assert!(matches!(store.take(1, "c", b"12345").await, Ok(Outcome::Stored(_))), "counted anew from what is there");
    assert!(matches!(store.take(1, "d", b"").await, Ok(Outcome::Refused(_))));
}

#[tokio::test]
async fn nothing_is_taken_behind_a_refused_message() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Limits { sender_bytes: 4, ..Limits::default() });
    let many = vec![delivery(1, "a", b"123"), delivery(1, "b", b"12345"), delivery(1, "c", b"1")];
    let outcomes = store.write(0, move |batch| batch.deliver(&many)).await.unwrap();
    assert!(matches!(outcomes[..], [Outcome::Stored(1), Outcome::Refused(_), Outcome::Refused(_)]), "{outcomes:?}");
    assert_eq!(store.ids(everything()).await, ["a"]);
}

#[tokio::test]
async fn messages_are_found_by_sender_type_place_id_and_state() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Limits::default());
    for (sender, id) in [(1, "a"), (2, "b"), (1, "c")] {
        store.take(sender, id, b"0123456789").await.unwrap();
    }
    let mut json = delivery(2, "d", b"{}");
    json.kind = Kind::Json;
    store.write(0, move |batch| batch.deliver(&[json])).await.unwrap();
    let ids = vec!["a".to_owned(), "b".to_owned(), "none".to_owned()];
    assert_eq!(store.write(0, move |batch| batch.acknowledge(&ids)).await, Ok(2));
    let found = |query: Query| store.ids(query);
    assert_eq!(found(Query { from: Some(key(1)), ..everything() }).await, ["a", "c"]);
    assert_eq!(found(Query { kind: Some(Kind::Json), ..everything() }).await, ["d"]);
    assert_eq!(found(Query { after: 2, ..everything() }).await, ["c", "d"]);
    assert_eq!(found(Query { unread: true, ..everything() }).await, ["c", "d"]);
    assert_eq!(found(Query { ids: vec!["b".into()], ..everything() }).await, ["b"]);
    assert_eq!(found(Query { limit: 1, ..everything() }).await, ["a"]);
    assert_eq!(found(Query { bytes: 15, ..everything() }).await, ["a", "b"]);
    assert!(found(Query { from: Some(key(9)), ..everything() }).await.is_empty());
}

#[tokio::test]
async fn a_full_disk_refuses_what_does_not_fit_and_keeps_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Limits::default());
    store.take(1, "before", b"x").await.unwrap();
    let limit =
        |pages: u32| move |batch: &mut Batch<'_>| Ok(batch.connection.pragma_update(None, "max_page_count", pages)?);
    store.write(0, limit(40)).await.unwrap();
    let large = vec![b'x'; 400_000];
    assert_eq!(store.take(1, "large", &large).await, Err(Fault::DiskFull));
    assert!(matches!(store.take(1, "small", b"x").await, Ok(Outcome::Stored(_))), "it goes on with what fits");
    store.write(0, limit(1_000_000)).await.unwrap();
    assert!(matches!(store.take(1, "large", &large).await, Ok(Outcome::Stored(_))), "a refused ID was not used up");
    assert_eq!(store.ids(everything()).await, ["before", "small", "large"]);
}

#[tokio::test]
async fn a_damaged_database_goes_aside_and_an_empty_one_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE_NAME), b"no database ".repeat(1000)).unwrap();
    let opened = InboxStore::open(folder.path(), Limits::default()).unwrap();
    assert!(opened.kept_aside.is_some_and(|path| path.exists()));
    assert_eq!(opened.store.take(1, "a", b"x").await, Ok(Outcome::Stored(1)));
}

#[tokio::test]
async fn another_program_that_writes_to_the_database_makes_no_delivery_fail() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Limits::default());
    assert_eq!(store.take(1, "a", b"x").await, Ok(Outcome::Stored(1)));
    let other = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    other.busy_timeout(std::time::Duration::ZERO).unwrap();
    let step = move |batch: &mut Batch<'_>| {
        let clear = Query::default().run(batch.connection).map(|_| other.execute("DELETE FROM message", ()));
        assert!(clear.unwrap().is_err(), "not while a delivery is under way");
        batch.deliver(&[delivery(1, "b", b"x")])
    };
    assert_eq!(store.write(1, step).await, Ok(vec![Outcome::Stored(2)]));
    assert_eq!(store.ids(everything()).await, ["a", "b"]);
}

fn outgoing(receiver: u64, id: &str) -> Outgoing {
    Outgoing {
        receiver: key(receiver),
        node: NodeId::from_u64(receiver).unwrap(),
        id: id.to_owned(),
        kind: Kind::Binary,
        data: Bytes::from_static(b"123"),
        created: 1,
        expires: 100,
    }
}

#[tokio::test]
async fn the_outbox_keeps_order_for_each_receiver_and_says_what_failed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Limits { outbox_messages: 4, ..Limits::default() });
    let mut numbers = Vec::new();
    for (receiver, id) in [(1, "b"), (2, "x"), (1, "a"), (1, "b"), (1, "c")] {
        let message = outgoing(receiver, id);
        numbers.push(store.write(0, move |batch| batch.enqueue(&message)).await.unwrap());
    }
    assert_eq!(numbers[0], numbers[3], "one ID waits once");
    let excess = store.write(0, |batch| batch.enqueue(&outgoing(3, "y"))).await;
    assert_eq!(excess, Err(Fault::OutboxQuota { messages: 4, bytes: 12 }));
    let (first, second) = (numbers[0], numbers[2]);
    store.write(0, |batch| batch.note_problem(&key(1), "away")).await.unwrap();
    store.write(0, move |batch| batch.give_up(second, "too large")).await.unwrap();
    drop(store);
    let store = open(folder.path(), Limits::default());
    let next = move |after, now| move |db: &Connection| Waiting::next(db, &key(1), after, now, 1_000);
    let found = store.read(next(0, 50)).await.unwrap();
    assert_eq!(found.iter().map(|message| &*message.id).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!((found[0].attempts, &*found[0].problem, &found[0].data[..]), (1, "away", &b"123"[..]));
    assert_eq!(store.read(next(first, 50)).await.unwrap().len(), 1);
    assert_eq!(store.read(next(0, 100)).await.unwrap().len(), 0, "what is over is not sent");
    let all = store.read(|db| Waiting::list(db, None, 10)).await.unwrap();
    assert_eq!(all.iter().filter(|message| message.is_given_up).map(|message| &*message.id).collect::<Vec<_>>(), ["a"]);
    assert_eq!(store.write(0, move |batch| batch.delivered(&[first])).await, Ok(1));
    assert_eq!(store.write(0, |batch| batch.cancel(&["x".into(), "none".into()])).await, Ok(1));
    assert_eq!(store.write(0, |batch| batch.expire(99)).await, Ok(0));
    assert_eq!(store.write(0, |batch| batch.expire(100)).await, Ok(2));
    assert_eq!(store.read(Waiting::next_end).await, Ok(None));
}

fn task(state: &str, rank: u8) -> TaskStep {
    TaskStep::Move {
        direction: Direction::In,
        peer: key(1),
        id: "t".into(),
        state: state.into(),
        rank,
        result: Bytes::new(),
        changed: 5,
    }
}

fn begun() -> TaskRecord {
    TaskRecord {
        direction: Direction::In,
        peer: key(1),
        node: NodeId::from_u64(1).unwrap(),
        id: "t".into(),
        state: "0".into(),
        rank: 0,
        task: Bytes::from_static(b"{}"),
        result: Bytes::new(),
        submitted: 1,
        deadline: 50,
        changed: 1,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn a_task_never_goes_back(ranks in prop::collection::vec(0u8..6, 1..12)) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = open(folder.path(), Limits::default());
            store.write(0, |batch| batch.step_task(&TaskStep::Begin(Box::new(begun())))).await.unwrap();
            let mut highest = 0;
            for rank in ranks {
                let moved = store.write(0, move |batch| batch.step_task(&task(&rank.to_string(), rank))).await.unwrap();
                assert_eq!(moved, rank > highest);
                highest = highest.max(rank);
                let found = store.read(|db| TaskQuery::default().run(db)).await.unwrap();
                assert_eq!((found[0].rank, found[0].state.clone()), (highest, highest.to_string()));
            }
        });
    }
}
