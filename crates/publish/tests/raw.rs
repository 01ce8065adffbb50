//! The rpcs that publish, asked by a client that does what well-behaved libraries do not.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use bytes::Bytes;
use h2::client::SendRequest;
use prost::Message as _;
use publish::PublishConfig;
use roomcast_proto::v1;
use support::{Recorder, Running, becomes, numbered, numbered_event, within};
use tokio::net::TcpStream;
use tonic::codegen::http::{HeaderMap, Request};

async fn connect(server: &Running) -> SendRequest<Bytes> {
    let io = TcpStream::connect(server.address).await.unwrap();
    let (client, connection) = h2::client::handshake(io).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    client.ready().await.unwrap()
}

/// A request's message behind its flag and length.
fn framed(flag: u8, message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag][..], &length, message].concat().into()
}

fn publish(number: u64) -> Vec<u8> {
    v1::PublishRequest { message: Some(numbered(number)), ..Default::default() }.encode_to_vec()
}

/// Calls `rpc` with these headers and frames of DATA; the answer's DATA, and its status.
async fn call(
    client: &mut SendRequest<Bytes>,
    rpc: &str,
    headers: &[(&'static str, &str)],
    data: impl IntoIterator<Item = Bytes>,
) -> (Vec<u8>, i32) {
    let uri = format!("http://localhost/roomcast.v1.Publisher/{rpc}");
    let mut request = Request::post(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (answer, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
    for data in data {
        body.send_data(data, false).unwrap();
    }
    // The server may have refused it already.
    body.send_data(Bytes::new(), true).ok();
    let answer = within(answer).await.unwrap();
    let status = |headers: &HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
    let in_head = status(answer.headers());
    let mut body = answer.into_body();
    let mut read = Vec::new();
    while let Some(data) = within(body.data()).await {
        read.extend_from_slice(&data.unwrap());
    }
    let trailers = within(body.trailers()).await.unwrap_or_default().unwrap_or_default();
    (read, in_head.or_else(|| status(&trailers)).unwrap())
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");

#[tokio::test]
async fn a_call_whose_time_is_over_is_told_so_and_its_publish_is_dropped() {
    let recorder = Recorder::blocked();
    let server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let mut client = connect(&server).await;
    let headers = [GRPC, ("grpc-timeout", "50m")];
    let (_, status) = call(&mut client, "Publish", &headers, [framed(0, &publish(1))]).await;
    assert_eq!(status, 4);
    becomes(&recorder.waiting, 0).await;
    assert_eq!(recorder.taken(), []);
}

#[tokio::test]
async fn a_message_in_pieces_is_put_together() {
    let recorder = Recorder::new();
    let server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let mut client = connect(&server).await;
    let message = framed(0, &publish(7));
    let pieces = (0..message.len()).map(|at| message.slice(at..=at));
    assert_eq!(call(&mut client, "Publish", &[GRPC], pieces).await.1, 0);
    let stream = |number| {
        let request = v1::PublishStreamRequest { message: Some(numbered(number)), ..Default::default() };
        framed(0, &request.encode_to_vec())
    };
    let messages = [stream(8), stream(9)].concat();
    // Within the first prefix, within the first message, and within the second prefix.
    let cuts = [3, 9, stream(8).len() + 2, messages.len()];
    let mut start = 0;
    let pieces = cuts.map(|end| Bytes::copy_from_slice(&messages[std::mem::replace(&mut start, end)..end]));
    let (answers, status) = call(&mut client, "PublishStream", &[GRPC], pieces).await;
    assert_eq!(status, 0);
    assert!(!answers.is_empty());
    assert_eq!(recorder.events(), [7, 8, 9].map(numbered_event));
}

#[tokio::test]
async fn what_is_no_grpc_or_is_compressed_is_refused() {
    let recorder = Recorder::new();
    let server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let mut client = connect(&server).await;
    let gzip = ("grpc-encoding", "gzip");
    for rpc in ["Publish", "PublishBatch", "PublishStream"] {
        let plain = ("content-type", "text/plain");
        let cases = [
            (vec![plain], framed(0, &publish(1)), 3),
            (vec![], framed(0, &publish(1)), 3),
            (vec![GRPC, gzip], framed(0, &publish(1)), 12),
            (vec![GRPC], framed(1, &publish(1)), 13),
            (vec![GRPC], framed(2, &publish(1)), 13),
            // Ends within a message.
            (vec![GRPC], framed(0, &publish(1)).slice(..9), 13),
        ];
        for (headers, data, expected) in cases {
            let (_, status) = call(&mut client, rpc, &headers, [data.clone()]).await;
            assert_eq!(status, expected, "{rpc} {headers:?} {data:?}");
        }
    }
    // A call without a message; a stream may have none.
    for (rpc, expected) in [("Publish", 13), ("PublishBatch", 13), ("PublishStream", 0)] {
        assert_eq!(call(&mut client, rpc, &[GRPC], []).await.1, expected, "{rpc}");
    }
    assert_eq!(recorder.taken(), []);
}
