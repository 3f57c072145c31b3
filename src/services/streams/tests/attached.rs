use super::*;

const PORT: u16 = 1000;

fn attached(service: Service) -> Settings {
    Settings { attach: vec![Attach { port: PORT, service }], ..Settings::default() }
}

fn shell(line: &str) -> Settings {
    attached(Service::Run { program: "sh".into(), arguments: vec!["-c".into(), line.into()], user: None })
}

async fn asked(node: &Fixture, question: &[u8]) -> Vec<u8> {
    let mut caller = node.call(PORT).await;
    caller.write_all(question).await.unwrap();
    caller.shutdown().await.unwrap();
    everything(&mut caller).await
}

#[tokio::test]
async fn each_stream_has_a_command_that_knows_the_caller() {
    let node = start(shell(r#"tr a-z A-Z; echo "$PILOT_CALLER_ID $PILOT_CALLER_NAME $PILOT_CALLER_IPV6""#)).await;
    let (one, other) = tokio::join!(asked(&node, b"one\n"), asked(&node, b"other\n"));
    assert_eq!(String::from_utf8(one).unwrap(), "ONE\n0000.0000.0002 beta ::1\n");
    assert_eq!(String::from_utf8(other).unwrap(), "OTHER\n0000.0000.0002 beta ::1\n");
}

#[tokio::test]
async fn an_answer_arrives_although_the_question_is_not_read() {
    let node = start(shell("echo answer")).await;
    let mut caller = node.call(PORT).await;
    let (mut read, mut write) = caller.split();
    let question = async {
        // More than any buffer holds: the command ends without reading it.
        write.write_all(&vec![0; 8 << 20]).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let answer = async { assert_eq!(everything(&mut read).await, b"answer\n") };
    tokio::join!(question, answer);
}

#[tokio::test]
async fn a_command_that_ends_ends_the_stream_of_a_caller_that_stays() {
    let node = start(shell("echo bye")).await;
    assert_eq!(everything(&mut node.call(PORT).await).await, b"bye\n");
}

#[tokio::test]
async fn a_command_is_killed_when_its_connection_breaks() {
    let node = start(shell("sleep 1000 & echo $!; wait")).await;
    let mut caller = node.call(PORT).await;
    let mut number = [0; 16];
    let length = timeout(SOON, caller.read(&mut number)).await.unwrap().unwrap();
    let sleeper: i32 = std::str::from_utf8(&number[..length]).unwrap().trim().parse().unwrap();
    caller.cut();
    drop(caller);
    let gone = async {
        while is_running(sleeper) {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, gone).await.expect("the command and its children are gone");
}

/// Whether a process is there and more than an entry that nobody has asked for.
fn is_running(process: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

#[tokio::test]
async fn one_process_too_many_is_not_started() {
    let node = start(Settings { processes: 1, ..shell("cat") }).await;
    let mut served = node.call(PORT).await;
    served.write_all(b"x").await.unwrap();
    assert_eq!(served.read_u8().await.unwrap(), b'x');
    assert_broken(&mut node.call(PORT).await).await;
    served.shutdown().await.unwrap();
    assert_eq!(everything(&mut served).await, b"");
}

#[tokio::test]
async fn a_command_that_cannot_run_breaks_the_stream() {
    let run = |user| Service::Run { program: "/no/such/program".into(), arguments: Vec::new(), user };
    for service in [run(None), run(Some("no-such-user".into()))] {
        let node = start(attached(service)).await;
        assert_broken(&mut node.call(PORT).await).await;
    }
}

#[tokio::test]
async fn many_streams_at_once_are_forwarded_to_a_local_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = start(attached(Service::Forward(Destination::Tcp(listener.local_addr().unwrap())))).await;
    let _echo = tokio::spawn(crate::services::echo::serve(vec![listener]));
    let callers = (0..crate::services::echo::MAX_CONNECTIONS as u8).map(|number| {
        let node = &node;
        async move {
            let question = vec![number; 100_000];
            let (mut read, mut write) = node.call(PORT).await.into_split();
            let asking = async {
                write.write_all(&question).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let ((), answer) = tokio::join!(asking, everything(&mut read));
            assert!(answer == question, "stream {number}");
        }
    });
    futures_util::future::join_all(callers).await;
}

#[tokio::test]
async fn a_stream_is_forwarded_to_a_unix_socket_and_breaks_where_nobody_listens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let node = start(attached(Service::Forward(Destination::Unix(path.clone())))).await;
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let question = everything(&mut stream).await;
        stream.write_all(&question).await.unwrap();
    });
    assert_eq!(asked(&node, b"question").await, b"question");
    serving.await.unwrap();
    assert_broken(&mut node.call(PORT).await).await;
}

#[test]
fn two_services_on_one_port_are_refused() {
    let (_roster, watched) = watch::channel(trusted());
    let mut settings = shell("cat");
    settings.attach.extend(shell("true").attach);
    let error = Streams::new(Directory::new(watched), settings, loopback(Arc::default())).err().unwrap();
    assert!(error.code == "bad_argument" && error.message.contains("1000"), "{error}");
}
