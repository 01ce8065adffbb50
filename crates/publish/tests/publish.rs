//! `Publish` and `PublishBatch` through a real server.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use std::collections::HashSet;
use std::num::NonZeroU32;

use adapter::Delivery;
use publish::{Coverage, Dropped, MESSAGE_ID_CHARS, PublishConfig, Reach, ReportLevel};
use roomcast_proto::v1;
use support::{Recorder, Running, becomes, numbered, numbered_event, within};
use tonic::Code;

fn publish(message: v1::Message) -> v1::PublishRequest {
    v1::PublishRequest { message: Some(message), ..v1::PublishRequest::default() }
}

fn batch(messages: impl IntoIterator<Item = v1::Message>) -> v1::PublishBatchRequest {
    v1::PublishBatchRequest { messages: messages.into_iter().collect(), ..Default::default() }
}

fn limit(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).unwrap()
}

#[tokio::test]
async fn a_publish_is_handed_over_and_answered_with_an_id() {
    let recorder = Recorder::new();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let message = v1::Message {
        namespace: "chat".into(),
        rooms: vec!["r".into()],
        except: vec!["x".into()],
        volatile: true,
        ..numbered(7)
    };
    let answer = server.client.publish(publish(message)).await.unwrap().into_inner();
    assert_eq!(answer.message_id.len(), MESSAGE_ID_CHARS);
    assert_eq!(answer.reach, None);

    let [(broadcast, level)] = recorder.taken().try_into().unwrap();
    assert_eq!(level, ReportLevel::Accepted);
    assert_eq!(broadcast.namespace.as_str(), "/chat");
    assert_eq!(broadcast.delivery, Delivery::Volatile);
    assert_eq!(broadcast.targets.rooms[0].as_str(), "r");
    assert_eq!(broadcast.targets.except[0].as_str(), "x");
    assert_eq!(recorder.events(), [numbered_event(7)]);
}

#[tokio::test]
async fn arguments_and_attachments_pass_byte_for_byte() {
    let recorder = Recorder::new();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    for inner in [
        " 1.0 ,\t1e400,\n-0 ",
        r#"{"z":1,"a":2,"z":3}"#,
        "123456789012345678901234567890.10",
        r#""é \u00e9 \ud83d\ude00 😀 \/ /""#,
        "\"\u{2028}\u{7f}\"",
        "[[],{},null,true,\"\"]",
    ] {
        let arguments = format!("[{inner}]");
        server.client.publish(publish(v1::Message { arguments, ..numbered(0) })).await.unwrap();
        assert_eq!(recorder.events().pop().unwrap(), format!("[\"n\",{inner}]"));
    }
    let bytes: Vec<u8> = (0..=255).collect();
    let message = v1::Message {
        arguments: r#"[{"_placeholder":true,"num":0}]"#.into(),
        attachments: vec![bytes.clone().into()],
        ..numbered(0)
    };
    server.client.publish(publish(message)).await.unwrap();
    let (broadcast, _) = recorder.taken().pop().unwrap();
    assert_eq!(broadcast.event.attachments, [bytes]);
}

#[tokio::test]
async fn reach_is_reported_when_asked_for() {
    let reach = Reach {
        coverage: Coverage { nodes_asked: 3, nodes_answered: 2, nodes_missing: vec!["gateway-2".into()] },
        sockets_matched: 9,
        sockets_written: 3,
        sockets_dropped: Dropped { not_ready: 1, queue_full: 2, closing: 3 },
    };
    let recorder = Recorder::answering(reach);
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let request = v1::PublishRequest { report: v1::Report::Reach.into(), ..publish(numbered(0)) };
    let answer = server.client.publish(request).await.unwrap().into_inner();
    let expected = v1::Reach {
        coverage: Some(v1::Coverage {
            nodes_asked: 3,
            nodes_answered: 2,
            nodes_missing: vec!["gateway-2".into()],
            partial: true,
        }),
        sockets_matched: 9,
        sockets_written: 3,
        sockets_dropped: Some(v1::Dropped { not_ready: 1, queue_full: 2, closing: 3 }),
    };
    assert_eq!(answer.reach, Some(expected));
    assert_eq!(recorder.taken()[0].1, ReportLevel::Reach);
}

#[tokio::test]
async fn a_broken_rule_is_named_and_nothing_is_published() {
    let recorder = Recorder::new();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let rooms = |count| vec!["r".to_owned(); count];
    let of = |change: fn(&mut v1::Message)| {
        let mut message = numbered(0);
        change(&mut message);
        publish(message)
    };
    let cases = [
        (v1::PublishRequest::default(), Code::InvalidArgument, "message: is required"),
        (v1::PublishRequest { report: 9, ..publish(numbered(0)) }, Code::InvalidArgument, "report: "),
        (
            v1::PublishRequest { idempotency_key: "k".repeat(129), ..publish(numbered(0)) },
            Code::InvalidArgument,
            "idempotency_key: has 129 bytes",
        ),
        (of(|m| m.event.clear()), Code::InvalidArgument, "message.event: event name is empty"),
        (of(|m| m.event = "disconnect".into()), Code::InvalidArgument, "message.event: "),
        (of(|m| m.arguments = "[NaN]".into()), Code::InvalidArgument, "message.arguments: "),
        (of(|m| m.arguments = "{}".into()), Code::InvalidArgument, "message.arguments: "),
        (of(|m| m.arguments = "[".repeat(100_000)), Code::InvalidArgument, "message.arguments: "),
        (of(|m| m.attachments = vec!["a".into()]), Code::InvalidArgument, "message.attachments: "),
        (of(|m| m.attachments = vec!["a".into(); 11]), Code::InvalidArgument, "message.attachments: "),
        (of(|m| m.namespace = "/a,b".into()), Code::InvalidArgument, "message.namespace: "),
        (of(|m| m.rooms = vec![String::new()]), Code::InvalidArgument, "message.rooms[0]: "),
        (of(|m| m.except = vec!["x".repeat(257)]), Code::InvalidArgument, "message.except[0]: "),
        (
            publish(v1::Message { rooms: rooms(1000), except: rooms(1), ..numbered(0) }),
            Code::InvalidArgument,
            "message.rooms: has 1001",
        ),
    ];
    for (request, code, text) in cases {
        let status = server.client.publish(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{text}");
        assert!(status.message().starts_with(text), "{:?} is not {text}", status.message());
    }
    assert_eq!(recorder.taken(), []);
    server.client.publish(publish(v1::Message { rooms: rooms(1000), ..numbered(0) })).await.unwrap();
    assert_eq!(recorder.taken().len(), 1);
}

#[tokio::test]
async fn a_message_at_its_limit_passes_and_one_byte_more_does_not() {
    let mut server = Running::start(Recorder::new(), PublishConfig::default()).await;
    let sized = |bytes: usize| {
        let arguments = format!("[\"{}\"]", "x".repeat(bytes - "n[\"\"]".len()));
        publish(v1::Message { arguments, ..numbered(0) })
    };
    server.client.publish(sized(1_000_000)).await.unwrap();
    let status = server.client.publish(sized(1_000_001)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("of 1000001 bytes, at most 1000000"), "{}", status.message());
}

#[tokio::test]
async fn a_request_over_its_limit_is_refused_unread_and_the_connection_goes_on() {
    let config =
        PublishConfig { message_bytes_max: limit(50), request_bytes_max: limit(60), ..Default::default() };
    let mut server = Running::start(Recorder::new(), config).await;
    // 60 bytes: two for the field of the message, three for the event, two for the field of the arguments.
    let sized = |bytes: usize| {
        let arguments = format!("[{}]", " ".repeat(bytes - 9));
        publish(v1::Message { arguments, ..numbered(0) })
    };
    let status = server.client.publish(sized(61)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(status.message().contains("found 61 bytes, the limit is: 60 bytes"), "{}", status.message());
    let status = server.client.publish(sized(60)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{}", status.message());
    server.client.publish(publish(numbered(0))).await.unwrap();
}

#[tokio::test]
async fn a_publish_that_cannot_leave_is_unavailable() {
    let mut server = Running::start(Recorder::unavailable_from(0), PublishConfig::default()).await;
    let status = server.client.publish(publish(numbered(0))).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "Redis is away: retry"));
}

#[tokio::test]
async fn a_cancelled_publish_is_dropped() {
    let recorder = Recorder::blocked();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let call = tokio::spawn(async move { server.client.publish(publish(numbered(0))).await });
    becomes(&recorder.waiting, 1).await;
    call.abort();
    becomes(&recorder.waiting, 0).await;
    assert_eq!(recorder.taken(), []);
}

#[tokio::test]
async fn a_batch_is_published_in_order_with_an_id_each() {
    for recorder in [Recorder::new(), Recorder::ready()] {
        let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
        let request = batch((0..1000).map(numbered));
        let answer = server.client.publish_batch(request).await.unwrap().into_inner();
        let ids: HashSet<_> = answer.published.iter().map(|published| &published.message_id).collect();
        assert_eq!(ids.len(), 1000);
        assert_eq!(recorder.events(), (0..1000).map(numbered_event).collect::<Vec<_>>());
        if let Some(handed) = recorder.handed_as_one {
            let handed = handed.lock().unwrap();
            assert!(handed.len() == 16 && handed.iter().all(|messages| *messages <= 64), "{handed:?}");
        }
    }
}

#[tokio::test]
async fn one_faulty_message_refuses_the_whole_batch() {
    let recorder = Recorder::new();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let faulty = v1::Message { rooms: vec!["r".into(), String::new()], ..numbered(2) };
    let cases = [
        (batch([numbered(0), numbered(1), faulty]), "messages[2].rooms[1]: is empty"),
        (batch([]), "messages: is required"),
        (batch((0..1001).map(numbered)), "messages: has 1001 entries, at most 1000 are allowed"),
        (v1::PublishBatchRequest { report: -1, ..batch([numbered(0)]) }, "report: "),
    ];
    for (request, text) in cases {
        let status = within(server.client.publish_batch(request)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(text), "{:?} is not {text}", status.message());
    }
    assert_eq!(recorder.taken(), []);
}

#[tokio::test]
async fn a_batch_that_is_cut_short_says_how_much_was_published() {
    let recorder = Recorder::unavailable_from(2);
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let status = server.client.publish_batch(batch((0..5).map(numbered))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "messages[2]: Redis is away: retry; 2 of 5 were published");
    assert_eq!(recorder.taken().len(), 2);
}
