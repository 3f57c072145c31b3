use futures_util::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::*;
use crate::services::api::streams_client::StreamsClient;
use crate::services::api::{Chunk, ListenRequest};

type Api = StreamsClient<tonic::transport::Channel>;

async fn peer(node: &Fixture) -> Api {
    reach(format!("http://{}", node.overlay)).await
}

async fn local(node: &Fixture) -> Api {
    let path = node._dir.path().join("pilotd.sock");
    reach(format!("unix://{}", path.display())).await
}

async fn reach(url: String) -> Api {
    let endpoint = tonic::transport::Endpoint::from_shared(url).unwrap();
    StreamsClient::new(endpoint.connect().await.unwrap())
}

fn bytes(data: &[u8]) -> Chunk {
    Chunk { data: data.to_vec().into(), ..Chunk::default() }
}

fn conversation(first: Chunk) -> (mpsc::Sender<Chunk>, ReceiverStream<Chunk>) {
    let (send, receive) = mpsc::channel(8);
    send.try_send(first).unwrap();
    (send, ReceiverStream::new(receive))
}

async fn said(answer: &mut Streaming<Chunk>) -> Vec<u8> {
    timeout(SOON, answer.message())
        .await
        .expect("it is answered")
        .unwrap()
        .map(|chunk| chunk.data)
        .unwrap_or_default()
        .into()
}

#[tokio::test]
async fn a_call_of_a_node_reaches_whoever_listens_and_can_be_taken_by_a_call() {
    let node = start(Settings::default()).await;
    let mut local = local(&node).await;
    let mut incoming = local.listen(ListenRequest { port: 0 }).await.unwrap().into_inner();
    let (question, asked) = conversation(bytes(b"question"));
    let mut answer = peer(&node).await.connect(asked).await.unwrap().into_inner();
    let announced = timeout(SOON, incoming.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((announced.node_id.as_str(), announced.hostname.as_str()), ("0000.0000.0002", "beta"));
    let (reply, replying) = conversation(Chunk { stream: announced.stream, ..Chunk::default() });
    let mut heard = local.take(replying).await.unwrap().into_inner();
    assert_eq!(said(&mut heard).await, b"question");
    drop(question);
    assert!(timeout(SOON, heard.message()).await.unwrap().unwrap().is_none(), "the question has ended");
    reply.send(bytes(b"answer")).await.unwrap();
    assert_eq!(said(&mut answer).await, b"answer");
    drop(reply);
    assert!(timeout(SOON, answer.message()).await.unwrap().unwrap().is_none(), "the answer has ended");
}

#[tokio::test]
async fn a_call_on_the_local_socket_reaches_the_node_that_it_names() {
    let node = start(Settings::default()).await;
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().into();
    let (question, asked) = conversation(Chunk { node: "beta".into(), port, ..bytes(b"ques") });
    question.send(bytes(b"tion")).await.unwrap();
    drop(question);
    let mut answer = local(&node).await.connect(asked).await.unwrap().into_inner();
    let (mut accepted, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    assert_eq!(everything(&mut accepted).await, b"question");
    accepted.write_all(b"answer").await.unwrap();
    assert_eq!(said(&mut answer).await, b"answer");
    accepted.cut();
    drop(accepted);
    let broken = timeout(SOON, answer.message()).await.unwrap().unwrap_err();
    assert_eq!(broken.metadata().get("pilot-code").unwrap(), "stream_broken");
}

#[tokio::test]
async fn calls_are_refused_with_the_code_of_the_refusal() {
    let node = start(Settings::default()).await;
    let mut peer = peer(&node).await;
    let (_open, asked) = conversation(bytes(b""));
    let refused = peer.connect(asked).await.unwrap_err();
    assert_eq!(refused.metadata().get("pilot-code").unwrap(), "no_listener");
    let refused = peer.listen(ListenRequest { port: 0 }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    let (_open, asked) = conversation(bytes(b""));
    assert_eq!(peer.take(asked).await.unwrap_err().code(), tonic::Code::PermissionDenied);
    let (_open, asked) = conversation(Chunk { port: 70_000, ..bytes(b"") });
    assert_eq!(peer.connect(asked).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    let nothing = tokio_stream::iter(Vec::<Chunk>::new());
    assert_eq!(peer.connect(nothing).await.unwrap_err().code(), tonic::Code::InvalidArgument);
}
