//! The generated code in the tree is what `proto/` says.
//!
//! `PILOT_REGENERATE=1 cargo test --test generated` writes it anew; messages go to the room `wire`,
//! the gRPC service goes to the room `link` and names the messages where they are. Messages between
//! nodes travel in no service: nothing of them is generated twice. What nodes and drivers say to the services
//! (`pilot.v1`) goes to the room `services`, with the descriptors that gRPC reflection publishes.

// Functions outside #[test] are not exempt by clippy.toml; here every failure is the test's.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use tonic_prost_build::{Builder, FileDescriptorSet};

const PROTOS: [&str; 2] = ["pilot/node/v1/node.proto", "pilot/rendezvous/v1/rendezvous.proto"];
const API: [&str; 4] =
    ["pilot/v1/events.proto", "pilot/v1/inbox.proto", "pilot/v1/streams.proto", "pilot/v1/tasks.proto"];
const DESCRIPTORS: &str = "src/services/generated/pilot.v1.bin";
const API_CODE: &str = "src/services/generated";
const MESSAGES: &str = "src/wire/generated";
const SERVICES: &str = "src/link/generated";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn descriptors() -> FileDescriptorSet {
    protox::compile(PROTOS, [root().join("proto")]).unwrap()
}

fn builder(out_dir: &Path) -> Builder {
    tonic_prost_build::configure().build_transport(false).emit_rerun_if_changed(false).out_dir(out_dir)
}

fn generate_messages(out_dir: &Path) {
    // A welcome holds a secret: it is printed without it.
    builder(out_dir)
        .build_client(false)
        .build_server(false)
        .skip_debug([".pilot.rendezvous.v1.Welcome"])
        .compile_fds(descriptors())
        .unwrap();
}

fn generate_services(out_dir: &Path) {
    builder(out_dir)
        .extern_path(".pilot.node.v1", "crate::wire::introduction::messages")
        .extern_path(".pilot.rendezvous.v1", "crate::wire::rendezvous")
        .compile_fds(descriptors())
        .unwrap();
}

fn generate_api(out_dir: &Path) {
    let descriptors = protox::compile(API, [root().join("proto")]).unwrap();
    builder(out_dir).bytes(".").compile_fds(descriptors).unwrap();
}

/// The files in a folder with their contents, by name; those without code are left out.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .filter(|(name, _)| name.ends_with(".rs"))
        .map(|(name, path)| (name, fs::read_to_string(path).unwrap()))
        .filter(|(_, text)| text.lines().any(|line| !line.starts_with("//")))
        .collect();
    files.sort();
    files
}

fn write(folder: &Path, files: &[(String, String)]) {
    fs::create_dir_all(folder).unwrap();
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
}

fn check(folder: &str, generate: fn(&Path)) {
    let fresh = tempfile::tempdir().unwrap();
    generate(fresh.path());
    let fresh = files(fresh.path());
    let committed = root().join(folder);
    if std::env::var_os("PILOT_REGENERATE").is_some() {
        write(&committed, &fresh);
    }
    let names = |files: &[(String, String)]| -> Vec<String> { files.iter().map(|(name, _)| name.clone()).collect() };
    let committed = files(&committed);
    assert_eq!(names(&committed), names(&fresh), "files in {folder}");
    for ((name, old), (_, new)) in committed.iter().zip(&fresh) {
        assert!(old == new, "{folder}/{name} is not what proto/ says: PILOT_REGENERATE=1 cargo test --test generated");
    }
}

#[test]
fn messages_are_current() {
    check(MESSAGES, generate_messages);
}

#[test]
fn services_are_current() {
    check(SERVICES, generate_services);
}

#[test]
fn the_api_is_current() {
    check(API_CODE, generate_api);
}

/// What gRPC reflection publishes.
#[test]
fn descriptors_are_current() {
    let mut compiler = protox::Compiler::new([root().join("proto")]).unwrap();
    compiler.include_source_info(false).include_imports(true).open_files(API).unwrap();
    let fresh = compiler.encode_file_descriptor_set();
    let path = root().join(DESCRIPTORS);
    if std::env::var_os("PILOT_REGENERATE").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    assert!(fs::read(&path).unwrap() == fresh, "{DESCRIPTORS}: PILOT_REGENERATE=1 cargo test --test generated");
}
