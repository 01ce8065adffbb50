//! Calls whose time is over.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use prost::Message as _;
use publish::PublishConfig;
use roomcast_proto::v1;
use support::{Recorder, Running, becomes, numbered, numbered_event, within};
use tokio::net::TcpStream;
use tonic::codegen::http;

/// As `grpc-status` has it.
const DEADLINE_EXCEEDED: &str = "4";

fn publish(number: u64) -> v1::PublishRequest {
    v1::PublishRequest { message: Some(numbered(number)), ..v1::PublishRequest::default() }
}

/// `grpc-status` of a publish that may take 30 ms, by a client that leaves it to the server to say when they are over.
async fn status_in_time(server: &Running, request: &v1::PublishRequest) -> String {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let head = http::Request::post(format!("http://{}/roomcast.v1.Publisher/Publish", server.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "30m");
    let (response, mut body) = client.send_request(head.body(()).unwrap(), false).unwrap();
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    body.send_data([&[0], &length[..], &message].concat().into(), true).unwrap();
    let response = within(response).await.unwrap();
    // An answer without a message has its status in the head.
    let status = response.headers()["grpc-status"].to_str().unwrap().to_owned();
    connection.abort();
    status
}

#[tokio::test]
async fn a_call_whose_time_is_over_ends_as_such_and_is_given_up() {
    let recorder = Recorder::blocked();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    for number in 0..20 {
        assert_eq!(status_in_time(&server, &publish(number)).await, DEADLINE_EXCEEDED);
    }
    becomes(&recorder.waiting, 0).await;
    assert_eq!(recorder.taken(), []);
    recorder.allow(1);
    within(server.client.publish(publish(20))).await.unwrap();
    assert_eq!(recorder.events(), [numbered_event(20)]);
}

#[tokio::test]
async fn a_named_publish_whose_caller_runs_out_of_time_is_answered_when_it_is_tried_again() {
    let recorder = Recorder::blocked();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let named = || v1::PublishRequest { idempotency_key: "k".into(), ..publish(1) };
    assert_eq!(status_in_time(&server, &named()).await, DEADLINE_EXCEEDED);
    recorder.allow(1);
    within(server.client.publish(named())).await.unwrap();
    assert_eq!(recorder.events(), [numbered_event(1)]);
}
