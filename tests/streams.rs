//! `pilotctl connect`, `listen`, `send` and `recv` as programs, against a node whose overlay is the loopback.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pilot::control::{Backend, Error, Request, router};
use pilot::identity::{Identity, NodeId};
use pilot::services::directory::{Caller, Directory, Member, Roster};
use pilot::services::door::{Door, Limits, LineReader, LineWriter, Lines};
use pilot::services::streams::{Listen, Settings, Streams};
use serde_json::{Value, json};
use tokio::sync::watch;

const SOON: Duration = Duration::from_secs(20);

/// Knows one node, `beta`, at `::1`.
#[derive(Clone)]
struct OnePeer;

impl Backend for OnePeer {
    async fn call(&self, request: Request) -> Result<Value, Error> {
        match request {
            Request::Find { target } if target == "beta" => Ok(json!({
                "node_id": "0000.0000.0002", "hostname": "beta", "ipv6": "::1", "public_key": null, "trusted": true,
                "path": "direct", "endpoint": null, "rtt_ms": null, "tx_bytes": 0, "rx_bytes": 0,
                "last_handshake_secs": null,
            })),
            Request::Info => Ok(json!({
                "node_id": "0000.0000.0001", "address": "0:0000.0000.0001", "ipv6": "::1", "hostname": "alpha",
                "network": 0, "public_key": "", "tunnel_key": "", "uptime_secs": 0, "interface": "pilot0",
                "listen_port": 0, "version": "", "rendezvous_servers": [], "rendezvous": {
                    "url": "", "state": "connected", "since_secs": 0, "reason": null, "embedded": false,
                },
            })),
            _ => Err(Error::new("not_found", "no trusted node is called so").hint("look at peers")),
        }
    }
}

struct NoLines;

impl Lines for NoLines {
    fn serve<'a>(
        &'a self,
        _caller: Caller,
        _lines: LineReader,
        _out: LineWriter,
    ) -> Pin<Box<dyn Future<Output = std::io::Result<()>> + Send + 'a>> {
        Box::pin(async { Ok(()) })
    }
}

struct Node {
    dir: tempfile::TempDir,
    opened: Arc<Mutex<HashMap<u16, SocketAddr>>>,
    _runtime: tokio::runtime::Runtime,
}

fn member(number: u8, address: &str) -> Member {
    let key = Identity::generate(&mut rand_core::OsRng).public_key();
    let hostname = Some("beta".parse().unwrap());
    Member {
        id: NodeId::from_bytes([0, 0, 0, 0, 0, number]),
        key,
        hostname,
        address: address.parse().unwrap(),
        is_online: true,
    }
}

impl Node {
    fn start() -> Node {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let opened: Arc<Mutex<HashMap<u16, SocketAddr>>> = Arc::default();
        let ports = opened.clone();
        let listen: Listen = Box::new(move |port| {
            let listener = TcpListener::bind("[::1]:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            ports.lock().unwrap().insert(port, listener.local_addr().unwrap());
            Ok(vec![tokio::net::TcpListener::from_std(listener).unwrap()])
        });
        runtime.block_on(async {
            let (roster, watched) = watch::channel(Arc::new(Roster::new(member(1, "fd50::1"), [member(2, "::1")])));
            let directory = Directory::new(watched);
            let streams = Streams::new(directory.clone(), Settings::default(), listen).unwrap();
            let paths = router(OnePeer).merge(streams.router());
            let door = Door::new(paths, &[], Arc::new(NoLines), Limits::default()).await;
            let listener = tokio::net::UnixListener::bind(dir.path().join("s")).unwrap();
            tokio::spawn(async move {
                door.serve_local(listener, directory).await;
                drop(roster);
            });
        });
        Node { dir, opened, _runtime: runtime }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    fn pilotctl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilotctl"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.arg("--socket").arg(self.socket()).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        finished(self.pilotctl(arguments), input)
    }

    /// Connects as `beta`, as soon as the port is open.
    fn call(&self, port: u16) -> TcpStream {
        let started = Instant::now();
        loop {
            let address = self.opened.lock().unwrap().get(&port).copied();
            if let Some(address) = address {
                return TcpStream::connect(address).unwrap();
            }
            assert!(started.elapsed() < SOON, "port {port} was not opened");
            std::thread::yield_now();
        }
    }
}

fn finished(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = ended(child);
    writing.join().unwrap();
    output
}

/// What a program printed and how it ended; killed, and the test with it, when it does not end soon.
fn ended(child: Child) -> Output {
    let id = nix::unistd::Pid::from_raw(child.id() as i32);
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let watching = std::thread::spawn(move || {
        let is_late = is_done.recv_timeout(SOON).is_err();
        if is_late {
            nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        is_late
    });
    let output = child.wait_with_output().unwrap();
    assert!(done.send(()).is_ok());
    assert!(!watching.join().unwrap(), "pilotctl stalled");
    output
}

/// A server on the loopback that does `serve` with its one connection; gives the port and what `serve` gave.
fn server<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (String, std::thread::JoinHandle<T>) {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    (port, std::thread::spawn(move || serve(listener.accept().unwrap().0)))
}

fn everything(mut stream: &TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    received
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn connect_carries_any_bytes_both_ways_and_ends_with_both_sides() {
    let node = Node::start();
    let bytes: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
    let (port, serving) = server(|mut stream| {
        let question = everything(&stream);
        stream.write_all(&question).unwrap();
    });
    let output = node.run(&["connect", "beta", &port], &bytes);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(output.stdout == bytes);
    serving.join().unwrap();
}

#[test]
fn connect_ends_with_0_when_the_peer_takes_all_and_never_answers() {
    let node = Node::start();
    let (port, serving) = server(|stream| everything(&stream));
    let output = node.run(&["connect", "beta", &port], b"{\"task\":\"vector_search\"}\n");
    assert!(output.status.success() && output.stdout.is_empty(), "{}", stderr(&output));
    assert_eq!(serving.join().unwrap(), b"{\"task\":\"vector_search\"}\n");
}

#[test]
fn connect_without_anybody_to_read_its_output_still_delivers() {
    let node = Node::start();
    let (port, serving) = server(|mut stream| {
        // More than a pipe holds: printing it fails.
        stream.write_all(&vec![b'x'; 1 << 20]).unwrap();
        everything(&stream).len()
    });
    let mut child = node.pilotctl(&["connect", "beta", &port]).stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&vec![0; 300_000]).unwrap();
    drop(stdin);
    let output = ended(child);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(serving.join().unwrap(), 300_000);
}

#[test]
fn connect_to_this_node_itself_is_fine() {
    let node = Node::start();
    let (port, serving) = server(|stream| everything(&stream));
    assert!(node.run(&["connect", "alpha", &port], b"x").status.success());
    assert_eq!(serving.join().unwrap(), b"x");
}

#[test]
fn connect_says_why_it_could_not() {
    let node = Node::start();
    let refused = TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap().port().to_string();
    for (arguments, code, exit) in [
        (["--json", "connect", "beta", &refused], "no_listener", 7),
        (["--json", "connect", "stranger", "1000"], "not_found", 6),
        (["--json", "connect", "beta", "0"], "invalid_request", 2),
    ] {
        let output = node.run(&arguments, b"x");
        assert_eq!(output.status.code(), Some(exit), "{arguments:?} {}", stdout(&output));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["code"], code);
        assert!(!answer["hint"].as_str().unwrap().is_empty());
    }
}

#[test]
fn connect_tells_a_stream_that_broke_from_one_that_ended() {
    let node = Node::start();
    let (port, serving) = server(|stream| {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let output = node.run(&["--json", "connect", "beta", &port], b"x");
    serving.join().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((answer["code"].as_str(), output.status.code()), (Some("stream_broken"), Some(1)));
}

#[test]
fn connect_with_json_gives_what_came_back_in_one_object() {
    let node = Node::start();
    let (port, serving) =
        server(|mut stream| stream.write_all(b"answer").and_then(|()| stream.read_to_end(&mut vec![])));
    let output = node.run(&["--json", "connect", "beta", &port], b"quest");
    serving.join().unwrap().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let data = &answer["data"];
    assert_eq!((&data["sent"], &data["bytes"], &data["data"]), (&json!(5), &json!(6), &json!("answer")));
}

#[test]
fn listen_prints_one_stream_after_the_other_while_its_input_stays_open() {
    let node = Node::start();
    let mut child = node.pilotctl(&["listen", "--count", "2"]).stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    for text in ["first\n", "second\n"] {
        let mut caller = node.call(1000);
        caller.write_all(text.as_bytes()).unwrap();
        caller.shutdown(Shutdown::Write).unwrap();
        assert_eq!(everything(&caller), b"", "the caller sees the end");
    }
    let output = ended(child);
    drop(stdin);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output), "first\nsecond\n");
}

#[test]
fn listen_answers_with_its_input() {
    let node = Node::start();
    let listening = node.pilotctl(&["listen", "1000", "--count", "1"]);
    let answering = std::thread::spawn(move || finished(listening, b"answer"));
    let caller = node.call(1000);
    assert_eq!(everything(&caller), b"answer");
    drop(caller);
    assert!(answering.join().unwrap().status.success());
}

#[test]
fn listen_runs_a_command_for_each_stream_at_once() {
    let node = Node::start();
    let line = "read line; echo \"$line for $PILOT_CALLER_ID $PILOT_CALLER_NAME $PILOT_CALLER_IPV6\"";
    let child =
        node.pilotctl(&["listen", "1000", "--count", "2", "--exec", line]).stdin(Stdio::null()).spawn().unwrap();
    let mut callers = [node.call(1000), node.call(1000)];
    // The second is answered first: neither waits for the other.
    for (number, caller) in callers.iter_mut().enumerate().rev() {
        writeln!(caller, "{number}").unwrap();
        assert_eq!(String::from_utf8(everything(caller)).unwrap(), format!("{number} for 0000.0000.0002 beta ::1\n"));
    }
    drop(callers);
    assert!(ended(child).status.success());
}

#[test]
fn listen_runs_the_command_behind_two_hyphens() {
    let node = Node::start();
    let arguments = ["listen", "--count", "1", "--", "tr", "a-z", "A-Z"];
    let child = node.pilotctl(&arguments).stdin(Stdio::null()).spawn().unwrap();
    let mut caller = node.call(1000);
    caller.write_all(b"loud\0").unwrap();
    caller.shutdown(Shutdown::Write).unwrap();
    assert_eq!(everything(&caller), b"LOUD\0");
    assert!(ended(child).status.success());
}

#[test]
fn listen_and_recv_give_up_in_time() {
    let node = Node::start();
    for verb in ["listen", "recv"] {
        let output = node.run(&["--json", verb, "1000", "--timeout", "200ms"], b"");
        assert_eq!(output.status.code(), Some(4), "{verb}: {}", stdout(&output));
    }
}

#[test]
fn send_and_recv_carry_a_file_and_say_how_much() {
    let node = Node::start();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 253) as u8).collect();
    let file = node.dir.path().join("file");
    std::fs::write(&file, &bytes).unwrap();
    let receiving = node.pilotctl(&["recv"]).stdin(Stdio::null()).spawn().unwrap();
    let receiving = std::thread::spawn(move || ended(receiving));
    let started = Instant::now();
    let port = loop {
        if let Some(address) = node.opened.lock().unwrap().get(&1000) {
            break address.port().to_string();
        }
        assert!(started.elapsed() < SOON);
        std::thread::yield_now();
    };
    let sent = node.run(&["--json", "send", "beta", &port, "--file", file.to_str().unwrap()], b"");
    let answer: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!(answer["data"]["sent"], 3_000_000);
    let received = receiving.join().unwrap();
    assert!(received.status.success() && received.stdout == bytes);
}

#[test]
fn recv_with_json_prints_one_object_a_stream() {
    let node = Node::start();
    let receiving = node.pilotctl(&["--json", "recv", "--count", "2"]).stdin(Stdio::null()).spawn().unwrap();
    for bytes in [&b"text"[..], &[0xff, 0]] {
        let mut caller = node.call(1000);
        caller.write_all(bytes).unwrap();
        caller.shutdown(Shutdown::Write).unwrap();
        everything(&caller);
    }
    let output = ended(receiving);
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["data"], &lines[0]["node_id"]), (&json!("text"), &json!("0000.0000.0002")));
    assert_eq!((&lines[1]["data_base64"], &lines[1]["bytes"]), (&json!("/wA="), &json!(2)));
}

#[test]
fn recv_and_listen_do_not_take_a_broken_stream_for_a_whole_one() {
    let node = Node::start();
    for arguments in [&["recv"][..], &["listen", "--count", "1"]] {
        let mut child = node.pilotctl(arguments).stdin(Stdio::null()).spawn().unwrap();
        let mut caller = node.call(1000);
        caller.write_all(b"half").unwrap();
        let mut printed = [0; 4];
        child.stdout.as_mut().unwrap().read_exact(&mut printed).unwrap();
        socket2::SockRef::from(&caller).set_linger(Some(Duration::ZERO)).unwrap();
        drop(caller);
        let output = ended(child);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains("the stream broke"), "{}", stderr(&output));
        node.opened.lock().unwrap().remove(&1000);
    }
}
