//! Limits of the publish API: at each, and one over.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use std::num::NonZeroU32;

use publish::PublishConfig;
use roomcast_proto::v1;
use support::{Recorder, Running, becomes, numbered, within};
use tonic::Code;

fn limit(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).unwrap()
}

fn publish(message: v1::Message) -> v1::PublishRequest {
    v1::PublishRequest { message: Some(message), ..v1::PublishRequest::default() }
}

#[tokio::test]
async fn each_part_of_a_message_passes_at_its_limit_and_one_over_is_refused_by_name() {
    let config = PublishConfig {
        rooms_per_message_max: limit(3),
        room_bytes_max: limit(5),
        namespace_bytes_max: limit(6),
        attachments_max: 2,
        ..PublishConfig::default()
    };
    let recorder = Recorder::new();
    let mut server = Running::start(recorder.clone(), config).await;
    let rooms = |count: usize| vec!["r".to_owned(); count];
    let attached = |count: usize| {
        let places: Vec<_> =
            (0..count).map(|num| format!(r#"{{"_placeholder":true,"num":{num}}}"#)).collect();
        let attachments = vec!["a".into(); count];
        v1::Message { arguments: format!("[{}]", places.join(",")), attachments, ..numbered(0) }
    };
    let rows = [
        (
            v1::Message { rooms: rooms(2), except: rooms(1), ..numbered(0) },
            v1::Message { rooms: rooms(2), except: rooms(2), ..numbered(0) },
            "message.rooms: ",
        ),
        // The euro sign is three bytes.
        (
            v1::Message { rooms: vec!["ab€".into()], ..numbered(0) },
            v1::Message { rooms: vec!["abc€".into()], ..numbered(0) },
            "message.rooms[0]: ",
        ),
        (
            v1::Message { namespace: "/ab€".into(), ..numbered(0) },
            v1::Message { namespace: "/abc€".into(), ..numbered(0) },
            "message.namespace: ",
        ),
        (attached(2), attached(3), "message.attachments: "),
    ];
    let count = rows.len();
    for (at_limit, over, field) in rows {
        server.client.publish(publish(at_limit)).await.unwrap();
        let status = server.client.publish(publish(over)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert!(status.message().starts_with(field), "{:?} is not {field}", status.message());
    }
    assert_eq!(recorder.taken().len(), count);
}

#[tokio::test]
async fn one_batch_has_its_limit_of_messages_and_one_more_is_refused() {
    let config = PublishConfig { batch_messages_max: limit(2), ..PublishConfig::default() };
    let recorder = Recorder::new();
    let mut server = Running::start(recorder.clone(), config).await;
    let batch = |count| v1::PublishBatchRequest {
        messages: (0..count).map(numbered).collect(),
        ..Default::default()
    };
    server.client.publish_batch(batch(2)).await.unwrap();
    let status = server.client.publish_batch(batch(3)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(recorder.taken().len(), 2);
}

#[tokio::test]
async fn one_connection_has_its_limit_of_calls_and_the_next_waits_for_one_to_end() {
    let config = PublishConfig { calls_per_connection_max: limit(2), ..PublishConfig::default() };
    let recorder = Recorder::blocked();
    let mut server = Running::start(recorder.clone(), config).await;
    // The caller learns the limit with the server's first word: a call that is refused at once brings it.
    server.client.publish(v1::PublishRequest::default()).await.unwrap_err();
    let calls: Vec<_> = (0..3)
        .map(|number| {
            let mut client = server.client.clone();
            tokio::spawn(async move { client.publish(publish(numbered(number))).await.map(drop) })
        })
        .collect();
    becomes(&recorder.waiting, 2).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*recorder.begun.borrow(), 2);
    recorder.allow(1);
    becomes(&recorder.begun, 3).await;
    recorder.allow(2);
    for call in calls {
        within(call).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn rooms_to_join_or_leave_have_the_limit_of_those_of_a_message() {
    let recorder = Recorder::new();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let targets = Some(v1::Targets::default());
    let of = |count: usize| (0..count).map(|number| format!("r{number}")).collect::<Vec<_>>();
    let join = |count| v1::JoinRoomsRequest { targets: targets.clone(), rooms: of(count), report: 0 };
    let leave = |count| v1::LeaveRoomsRequest { targets: targets.clone(), rooms: of(count), report: 0 };
    let text = "rooms: has 1001 entries, at most 1000 are allowed";
    assert_eq!(within(server.client.join_rooms(join(1001))).await.unwrap_err().message(), text);
    assert_eq!(within(server.client.leave_rooms(leave(1001))).await.unwrap_err().message(), text);
    let many = v1::Targets { rooms: of(1000), except: of(1), ..v1::Targets::default() };
    let count = v1::CountSocketsRequest { targets: Some(many), timeout_ms: 0 };
    let status = within(server.client.count_sockets(count)).await.unwrap_err();
    assert!(status.message().starts_with("targets.rooms: has 1001 rooms together with except"), "{status}");
    assert_eq!(recorder.operated.lock().unwrap().len(), 0);
    within(server.client.join_rooms(join(1000))).await.unwrap();
    within(server.client.leave_rooms(leave(1000))).await.unwrap();
    assert_eq!(recorder.operated.lock().unwrap().len(), 2);
}
