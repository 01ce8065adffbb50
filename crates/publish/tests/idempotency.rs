//! Publishes that have a name are delivered once, however often they are called.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use futures_util::future::join_all;
use publish::PublishConfig;
use roomcast_proto::v1;
use support::{Recorder, Running, becomes, numbered, numbered_event, within};
use tokio_stream::StreamExt as _;
use tonic::Code;

fn named(key: &str, number: u64) -> v1::PublishRequest {
    v1::PublishRequest {
        message: Some(numbered(number)),
        idempotency_key: key.into(),
        ..v1::PublishRequest::default()
    }
}

async fn server(recorder: &Recorder) -> Running {
    Running::start(recorder.clone(), PublishConfig::default()).await
}

#[tokio::test]
async fn a_retry_gets_the_first_answer_and_is_not_delivered() {
    let recorder = Recorder::new();
    let mut server = server(&recorder).await;
    let first = within(server.client.publish(named("k", 1))).await.unwrap().into_inner();
    let retry = within(server.client.publish(named("k", 1))).await.unwrap().into_inner();
    assert_eq!(first, retry);
    let other = within(server.client.publish(named("l", 2))).await.unwrap().into_inner();
    assert_ne!(first.message_id, other.message_id);
    assert_eq!(recorder.events(), [numbered_event(1), numbered_event(2)]);
}

#[tokio::test]
async fn retries_that_overtake_the_answer_wait_for_it() {
    let recorder = Recorder::blocked();
    let server = server(&recorder).await;
    let calls = (0..20).map(|_| {
        let mut client = server.client.clone();
        async move { client.publish(named("k", 1)).await.unwrap().into_inner().message_id }
    });
    let calls = tokio::spawn(join_all(calls));
    becomes(&recorder.begun, 1).await;
    recorder.allow(1);
    let ids = within(calls).await.unwrap();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(recorder.events().len(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_finds_its_answer_when_it_retries() {
    let recorder = Recorder::blocked();
    let mut server = server(&recorder).await;
    let mut client = server.client.clone();
    let call = tokio::spawn(async move { client.publish(named("k", 1)).await });
    becomes(&recorder.begun, 1).await;
    call.abort();
    recorder.allow(1);
    within(server.client.publish(named("k", 1))).await.unwrap();
    assert_eq!(recorder.events().len(), 1);
}

#[tokio::test]
async fn what_was_not_published_is_published_by_the_retry() {
    let recorder = Recorder::unavailable_from(0);
    let mut server = server(&recorder).await;
    for begun in 1..=2 {
        let refused = within(server.client.publish(named("k", 1))).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        becomes(&recorder.begun, begun).await;
    }
}

#[tokio::test]
async fn a_batch_is_remembered_as_a_whole() {
    let recorder = Recorder::new();
    let mut server = server(&recorder).await;
    let batch = v1::PublishBatchRequest {
        messages: vec![numbered(1), numbered(2)],
        idempotency_key: "k".into(),
        ..v1::PublishBatchRequest::default()
    };
    let first = within(server.client.publish_batch(batch.clone())).await.unwrap().into_inner();
    let retry = within(server.client.publish_batch(batch)).await.unwrap().into_inner();
    assert_eq!(first, retry);
    assert_eq!(recorder.events().len(), 2);
}

#[tokio::test]
async fn messages_of_a_stream_keep_their_order_whether_they_have_names_or_not() {
    let recorder = Recorder::new();
    let mut server = server(&recorder).await;
    let requests = (0..200_u64).map(|sequence| v1::PublishStreamRequest {
        sequence,
        message: Some(numbered(sequence)),
        idempotency_key: if sequence % 3 == 0 { format!("k{sequence}") } else { String::new() },
        ..v1::PublishStreamRequest::default()
    });
    let requests = tokio_stream::iter(requests.collect::<Vec<_>>());
    let answers = within(server.client.publish_stream(requests)).await.unwrap().into_inner();
    let sequences: Vec<u64> = within(answers.map(|answer| answer.unwrap().sequence).collect()).await;
    assert_eq!(sequences, (0..200).collect::<Vec<_>>());
    assert_eq!(recorder.events(), (0..200).map(numbered_event).collect::<Vec<_>>());
}
