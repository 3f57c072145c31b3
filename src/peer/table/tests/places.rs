//! Who is found.

use super::*;

#[test]
fn every_peer_is_found_and_nobody_else() {
    let entries: Vec<_> = (0..100)
        .map(|n: u32| Entry {
            tunnel: Some(testing::tunnel(&secret(1), secret(2).public(), 99 - n)),
            id: None,
            address: ip(u64::from(n) * 7919 % 1000),
            path: None,
            mtu: Mtu::UNKNOWN,
            gate: None,
        })
        .collect();
    let table = PeerTable::new(overlay(A), None, entries);
    for entry in table.entries() {
        assert_eq!(table.by_address(entry.address).unwrap().address, entry.address);
        let slot = entry.tunnel.as_ref().unwrap().slot();
        assert_eq!(table.by_slot(slot).unwrap().address, entry.address);
    }
    assert!(table.by_address(ip(1001)).is_none());
    assert!(table.by_slot(Slot::new(100).unwrap()).is_none());
    assert!(table.by_slot(Slot::MAX).is_none());
}

fn entry(number: u64) -> Entry {
    Entry { tunnel: None, id: Some(id(number)), address: ip(number), path: None, mtu: Mtu::UNKNOWN, gate: None }
}

fn slot(number: u64) -> Slot {
    Slot::new(number as u32).unwrap()
}

#[test]
fn a_change_of_one_peer_leaves_the_others_and_the_former_table_as_they_are() {
    let all: Vec<Entry> = (0..100).map(entry).collect();
    let former = PeerTable::new(overlay(A), None, all);
    let path = Some(Path::Direct(direct(7)));
    let table = former.changed([(slot(40), Some(Entry { path, ..entry(40) })), (slot(70), None)]);
    assert_eq!(table.by_address(ip(40)).unwrap().path, path);
    assert!(table.by_address(ip(70)).is_none());
    let rest = (0..100).filter(|number| ![40, 70].contains(number));
    assert!(rest.clone().all(|number| table.by_address(ip(number)).is_some_and(|entry| entry.path.is_none())));
    assert_eq!(table.entries().count(), 99);
    assert!(former.by_address(ip(40)).unwrap().path.is_none() && former.by_address(ip(70)).is_some());
}

#[test]
fn a_slot_that_is_given_to_another_peer_no_longer_finds_the_former() {
    let table = PeerTable::new(overlay(A), None, vec![entry(1), entry(2)]);
    let table = table.changed([(slot(0), Some(entry(3)))]);
    assert!(table.by_address(ip(1)).is_none());
    assert_eq!(table.by_address(ip(3)).unwrap().address, ip(3));
    // Two that trade places in one go are both found.
    let table = table.changed([(slot(0), Some(entry(2))), (slot(1), Some(entry(3)))]);
    assert_eq!([2, 3].map(|number| table.by_address(ip(number)).unwrap().address), [ip(2), ip(3)]);
}
