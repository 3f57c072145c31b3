//! `kill -9` in the middle of `finish`: asked again, the file is there once and whole, and the inbox tells of it once.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;

/// The folder of the child; it also says that this process is the child.
const FOLDER: &str = "PILOT_FINISH_FOLDER";
/// How often `finish` is cut off.
const ROUNDS: u32 = 12;

fn data() -> Vec<u8> {
    (0..4u32 << 20).map(|number| (number >> 8) as u8).collect()
}

fn open(folder: &Path) -> (Files, watch::Sender<Arc<Roster>>) {
    let (roster, watched) = watch::channel(Arc::new(Roster::new(member(2, "fd50::2"), [member(1, "::1")])));
    let dial: crate::services::inbox::Dial =
        Arc::new(|_, _| Box::pin(async { Err(std::io::ErrorKind::NetworkUnreachable.into()) }));
    let inbox = Inbox::open(Default::default(), folder, Directory::new(watched), dial).unwrap();
    (Files::new(Settings::default(), folder, inbox), roster)
}

async fn finish(files: &Files) -> ReceivedFile {
    files.finish(&member(1, "::1"), "f", blake3::hash(&data()).to_hex().as_str()).await.unwrap()
}

/// Not a test: the process that is killed.
#[tokio::test]
#[ignore = "the child process of the next test"]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let (files, _roster) = open(folder.as_ref());
    let say = |text: &str| nix::unistd::write(std::io::stdout(), format!("\n{text}\n").as_bytes()).unwrap();
    say("it begins");
    finish(&files).await;
    say("it is finished");
}

/// A child that finishes the file in `folder`, and what it says from the moment at which it begins.
fn begin(folder: &Path) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "services::files::tests::crash::child"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "it begins"));
    (child, lines)
}

/// A folder with a file of which only the end is missing.
async fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (files, _roster) = open(folder.path());
    let sender = member(1, "::1");
    files.begin(&sender, "f", "x", data().len() as u64).await.unwrap();
    std::fs::write(files.partial(&sender, "f").data, data()).unwrap();
    folder
}

async fn check(folder: &Path) {
    let (files, _roster) = open(folder);
    let file = finish(&files).await;
    assert!(std::fs::read(&file.path).unwrap() == data());
    let names =
        |folder: &Path| -> Vec<_> { std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect() };
    assert_eq!(names(&folder.join("received/0000.0000.0001")), std::slice::from_ref(&file.path));
    let pieces = names(&folder.join("received/.partial/0000.0000.0001"));
    assert!(pieces.is_empty(), "{pieces:?}");
    let messages = files.inbox.list(Default::default()).await.unwrap();
    let told: Vec<Value> = messages.iter().map(|message| serde_json::from_slice(&message.data).unwrap()).collect();
    assert_eq!(
        told.iter().map(|told| told["path"].as_str().unwrap()).collect::<Vec<_>>(),
        [file.path.to_str().unwrap()]
    );
}

#[tokio::test]
async fn pieces_that_a_crash_left_behind_go_when_asked_again() {
    let folder = prepared().await;
    let kept = tempfile::tempdir().unwrap();
    let pieces = folder.path().join("received/.partial/0000.0000.0001");
    let copy = |from: &Path, to: &Path| {
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    copy(&pieces, kept.path());
    finish(&open(folder.path()).0).await;
    copy(kept.path(), &pieces);
    check(folder.path()).await;
}

#[tokio::test]
async fn a_file_that_was_cut_off_while_it_was_finished_is_there_once() {
    let whole = prepared().await;
    let (mut child, mut lines) = begin(whole.path());
    let begun = Instant::now();
    assert!(lines.any(|line| line == "it is finished"));
    let duration = begun.elapsed();
    child.wait().unwrap();
    check(whole.path()).await;
    for round in 0..ROUNDS {
        let folder = prepared().await;
        let (mut child, _lines) = begin(folder.path());
        // Not to wait for something: the moment at which it is killed.
        std::thread::sleep(duration * round / ROUNDS);
        child.kill().unwrap();
        child.wait().unwrap();
        check(folder.path()).await;
    }
}
