use std::io::ErrorKind;
use std::net::SocketAddr;

use axum::routing::{get, post};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use super::*;
use crate::control::answer;
use crate::services::directory::Roster;
use crate::services::directory::testing::member;

struct Echo;

impl Lines for Echo {
    fn serve<'a>(
        &'a self,
        caller: Caller,
        mut lines: LineReader,
        mut out: LineWriter,
    ) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>> {
        Box::pin(async move {
            while let Some(line) = lines.next().await? {
                match line {
                    Ok(line) => out.write(&line).await?,
                    Err(error) => out.write(error.code.as_bytes()).await?,
                }
                out.write(format!(" {}\n", caller.member().id).as_bytes()).await?;
                out.flush().await?;
            }
            out.shutdown().await
        })
    }
}

struct Fixture {
    address: SocketAddr,
    roster: watch::Sender<Arc<Roster>>,
    serving: JoinSet<()>,
}

async fn start(limits: Limits) -> Fixture {
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (roster, watched) = watch::channel(Arc::new(Roster::new(member(1, "fd50::1"), [member(2, "::1")])));
    let who = |Extension(caller): Extension<Caller>| async move { answer(Ok(json!(caller.member().id.to_string()))) };
    let raw = |request: axum::extract::Request| async move {
        let (response, connection) = upgrade(&mut request.into_parts().0, "raw").unwrap();
        tokio::spawn(async move {
            let mut connection = TokioIo::new(connection.await.unwrap());
            connection.write_all(b"up").await.unwrap();
            // Ends with the connection.
            let _ = connection.read_u8().await;
        });
        response
    };
    let router = Router::new().route("/who", get(who)).route("/raw", get(raw));
    let router = router.route("/change", post(|body: String| async { body }));
    let door = Door::new(router, &["pilot.v1.Events"], Arc::new(Echo), limits).await;
    let mut serving = JoinSet::new();
    serving.spawn(door.serve_overlay(vec![listener], Directory::new(watched)));
    Fixture { address, roster, serving }
}

impl Fixture {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Everything that is answered to `request` until the door closes.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    }
}

const TAIL: &str = "Host: [::1]\r\nConnection: close\r\n";

#[tokio::test]
async fn the_first_byte_tells_lines_from_http_and_both_know_the_caller() {
    let door = start(Limits::default()).await;
    let said = door.ask(&format!("GET /who HTTP/1.1\r\n{TAIL}\r\n")).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with(r#""0000.0000.0002","status":"ok"}"#), "{said}");
    assert!(said.contains("pilot-caller: 0000.0000.0002"), "{said}");
    let mut stream = door.connect().await;
    stream.write_all(b"{\"a\":1}\n\n  \n{\"b\":2}").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "{\"a\":1} 0000.0000.0002\n{\"b\":2} 0000.0000.0002\n");
}

#[tokio::test]
async fn a_line_that_is_too_long_is_refused_and_the_next_is_read() {
    let door = start(Limits { longest: 1000, ..Limits::default() }).await;
    let mut stream = door.connect().await;
    let long = format!("{{{}\n{{}}\n", "x".repeat(300_000));
    stream.write_all(long.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "too_large 0000.0000.0002\n{} 0000.0000.0002\n");
}

#[tokio::test]
async fn web_pages_forms_and_strange_paths_are_refused_in_one_shape() {
    let door = start(Limits { longest: 100, ..Limits::default() }).await;
    let json = "Content-Type: application/json\r\n";
    for (request, status) in [
        (format!("GET /who HTTP/1.1\r\nOrigin: http://evil.example\r\n{TAIL}\r\n"), 403),
        ("GET /who HTTP/1.1\r\nHost: evil.example:1002\r\nConnection: close\r\n\r\n".to_owned(), 403),
        (format!("POST /change HTTP/1.1\r\n{TAIL}Content-Length: 2\r\n\r\n{{}}"), 400),
        (format!("POST /change HTTP/1.1\r\n{TAIL}Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}"), 400),
        (format!("POST /change HTTP/1.1\r\n{TAIL}{json}Content-Length: 101\r\n\r\n{}", " ".repeat(101)), 413),
        (format!("POST /who HTTP/1.1\r\n{TAIL}{json}Content-Length: 2\r\n\r\n{{}}"), 400),
        (format!("GET /nowhere HTTP/1.1\r\n{TAIL}\r\n"), 404),
    ] {
        let said = door.ask(&request).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")) && said.contains("\"code\""), "{request}\n{said}");
    }
    let fine = format!("POST /change HTTP/1.1\r\n{TAIL}{json}Content-Length: 2\r\n\r\n{{}}");
    assert!(door.ask(&fine).await.starts_with("HTTP/1.1 200"));
    for host in ["alpha", "alpha.pilot:1002", "[fd50::1]:1002", "127.0.0.1:80"] {
        let said = door.ask(&format!("GET /who HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert!(said.starts_with("HTTP/1.1 200"), "{host}: {said}");
    }
}

#[tokio::test]
async fn who_says_nothing_or_never_ends_is_closed() {
    let door = start(Limits { patience: Duration::from_millis(200), ..Limits::default() }).await;
    assert_eq!(door.ask("").await, "");
    let unfinished = door.ask("GET /who HTTP/1.1\r\nHost: a\r\n").await;
    assert!(unfinished.is_empty() || unfinished.starts_with("HTTP/1.1 408"), "{unfinished}");
    let body = "POST /change HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let said = door.ask(&format!("{body}Content-Length: 10\r\n\r\n{{")).await;
    assert!(said.starts_with("HTTP/1.1 504"), "{said}");
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_a_place_is_free_again() {
    let door = start(Limits { per_caller: 2, ..Limits::default() }).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = door.connect().await;
        stream.write_all(b"{}\n").await.unwrap();
        assert!(stream.read_u8().await.is_ok());
        kept.push(stream);
    }
    assert!(door.connect().await.read_u8().await.is_err(), "a third is closed");
    drop(kept);
    let answered = async {
        loop {
            let mut stream = door.connect().await;
            if stream.write_all(b"{}\n").await.is_ok() && stream.read_u8().await.is_ok() {
                return;
            }
        }
    };
    timeout(Duration::from_secs(10), answered).await.expect("the places are free again");
}

#[tokio::test]
async fn a_connection_ends_with_the_trust_and_a_stranger_gets_none() {
    let door = start(Limits::default()).await;
    let mut stream = door.connect().await;
    stream.write_all(b"{}\n").await.unwrap();
    assert!(stream.read_u8().await.is_ok());
    door.roster.send_replace(Arc::new(Roster::new(member(1, "fd50::1"), [])));
    let mut rest = Vec::new();
    match timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("it ends") {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert!(door.connect().await.read_u8().await.is_err(), "nobody is served at an address of nobody");
}

#[tokio::test]
async fn a_door_that_closes_ends_every_connection_also_those_that_were_upgraded() {
    let mut door = start(Limits::default()).await;
    let mut stream = door.connect().await;
    let ask = "GET /raw HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut said = String::new();
    while !said.ends_with("\r\n\r\nup") {
        said.push(stream.read_u8().await.unwrap().into());
    }
    door.serving.shutdown().await;
    assert!(timeout(Duration::from_secs(10), stream.read_u8()).await.expect("it ends").is_err());
}

#[tokio::test]
async fn reflection_and_health_are_there() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let door = start(Limits::default()).await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", door.address)).unwrap();
    let channel = channel.connect().await.unwrap();
    let request = HealthCheckRequest { service: "pilot.v1.Events".into() };
    let health = HealthClient::new(channel).check(request).await.unwrap().into_inner();
    assert_eq!(health.status, 1, "SERVING");
}

/// The paths that `docs/services.md` lists, with their methods.
fn documented() -> Vec<(String, String)> {
    let page = include_str!("../../../docs/services.md");
    let rows = page.lines().filter(|line| line.starts_with("| `GET ") || line.starts_with("| `P"));
    let mut listed = Vec::new();
    for row in rows {
        let cell = row.split('|').nth(1).unwrap();
        let (mut method, mut stem) = (String::new(), String::new());
        for code in cell.split('`').skip(1).step_by(2) {
            let word = code.rsplit(' ').next().unwrap();
            if let Some((verb, _)) = code.split_once(' ').filter(|(verb, _)| verb.chars().all(char::is_uppercase)) {
                method = verb.to_lowercase();
            } else if !code.chars().all(|c| c.is_ascii_lowercase()) {
                continue;
            }
            let path = word.split('?').next().unwrap().replace("/ID", "/{id}");
            let path = if path.starts_with('/') { path } else { format!("{stem}/{path}") };
            stem = path.rsplit_once('/').map(|(stem, _)| stem.to_owned()).unwrap();
            listed.push((method.clone(), path));
        }
    }
    listed
}

#[test]
fn the_openapi_document_has_the_paths_of_the_page() {
    let document: serde_json::Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
    let documented = documented();
    assert!(documented.len() > 20, "{documented:?}");
    for (method, path) in documented {
        assert!(document["paths"][&path][&method].is_object(), "docs/openapi.json has no {method} {path}");
    }
}
