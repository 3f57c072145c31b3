//! A disk that is full: refused in words, nothing is lost, and it goes on where it stopped.

use super::*;
use crate::store::small_disk::SmallDisk;

fn on_a_small_disk(story: impl AsyncFnOnce(&SmallDisk, Fixture) + Send) {
    // Room beside the reserve that `begin` leaves alone.
    SmallDisk::with(72 << 10, |disk| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir_in(disk.path()).unwrap();
            story(disk, start_in(folder, Settings::default()).await).await;
        });
    });
}

#[test]
fn a_file_goes_on_once_there_is_room() {
    on_a_small_disk(async |disk, node| {
        let data: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
        node.post("/v1/files", json!({"id": "f", "name": "x", "size": data.len()})).await;
        node.put("f", 0, &data[..4_096]).await;
        disk.fill();
        assert_eq!(node.put("f", 4_096, &data[4_096..]).await["code"], "disk_full");
        let refused = node.post("/v1/files", json!({"id": "g", "name": "x", "size": 1})).await;
        assert_eq!(refused["code"], "disk_full");
        disk.free();
        let begun = node.post("/v1/files", json!({"id": "f", "name": "x", "size": data.len()})).await;
        let there = begun["data"]["offset"].as_u64().unwrap() as usize;
        assert_eq!(node.put("f", there, &data[there..]).await["status"], "ok");
        disk.fill();
        assert_eq!(node.finish("f", &data).await["code"], "disk_full");
        assert_eq!(node.received("x"), None, "what the inbox was not told of is not there");
        disk.free();
        assert_eq!(node.finish("f", &data).await["status"], "ok");
        assert_eq!(node.received("x").unwrap(), data);
        assert_eq!(node.inbox.list(Default::default()).await.unwrap().len(), 1);
    });
}

#[test]
fn what_a_full_disk_did_not_take_is_in_no_hash() {
    on_a_small_disk(async |disk, node| {
        let data = [1; 8_192];
        node.post("/v1/files", json!({"id": "f", "name": "x", "size": data.len()})).await;
        node.put("f", 0, &data[..4_096]).await;
        disk.fill();
        assert_eq!(node.put("f", 4_096, &data[4_096..]).await["code"], "disk_full");
        disk.free();
        assert_eq!(node.put("f", 4_096, &[2; 4_096]).await["status"], "ok");
        assert_eq!(node.finish("f", &data).await["code"], "wrong_hash");
    });
}
