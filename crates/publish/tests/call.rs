//! `Call` against a dispatch whose events the test decides.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use adapter::Argument;
use bytes::Bytes;
use publish::{CallAnswer, CallEnd, CallEvent, Coverage, PublishConfig};
use roomcast_proto::v1;
use roomcast_proto::v1::call_request::Quorum;
use roomcast_proto::v1::call_response::Part;
use socketio::SocketId;
use support::{Recorder, Running, becomes, numbered, numbered_event, within};
use tonic::{Code, Status};

fn answer(socket: &str) -> CallEvent {
    CallEvent::Answer(CallAnswer {
        socket: (!socket.is_empty()).then(|| SocketId::new(socket)),
        node: "n".into(),
        arguments: Argument { json: Bytes::from_static(b"[1]"), attachments: Vec::new() },
    })
}

fn end(end: CallEnd) -> CallEvent {
    CallEvent::End(end, Coverage { nodes_asked: 2, nodes_answered: 1, nodes_missing: Vec::new() })
}

fn request(quorum: Option<Quorum>) -> v1::CallRequest {
    v1::CallRequest { message: Some(numbered(7)), timeout_ms: 0, quorum }
}

/// The sockets that answered, and the summary or the error behind them.
async fn call(
    events: Vec<CallEvent>,
    quorum: Option<Quorum>,
) -> (Vec<String>, Result<v1::CallSummary, Status>) {
    let recorder = Recorder::calling(events);
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let mut responses = server.client.call(request(quorum)).await.unwrap().into_inner();
    let mut sockets = Vec::new();
    let last = loop {
        match within(responses.message()).await {
            Ok(Some(v1::CallResponse { part: Some(Part::Answer(answer)) })) => {
                assert_eq!(answer.arguments, "[1]");
                sockets.push(answer.socket_id);
            }
            Ok(Some(v1::CallResponse { part: Some(Part::Summary(summary)) })) => {
                assert!(within(responses.message()).await.unwrap().is_none(), "the summary is the last");
                break Ok(summary);
            }
            Ok(other) => panic!("{other:?}"),
            Err(status) => break Err(status),
        }
    };
    assert_eq!(recorder.events(), [numbered_event(7)]);
    becomes(&recorder.waiting, 0).await;
    (sockets, last)
}

#[tokio::test]
async fn answers_come_as_they_arrive_and_the_summary_counts_them() {
    let events =
        vec![CallEvent::Asked(2), answer("a"), CallEvent::Asked(1), answer(""), end(CallEnd::Timeout)];
    let (sockets, summary) = call(events, None).await;
    assert_eq!(sockets, ["a", ""]);
    let summary = summary.unwrap();
    assert_eq!(summary.end(), v1::CallEnd::Timeout);
    assert_eq!((summary.sockets_asked, summary.sockets_answered), (3, 2));
    assert!(summary.coverage.unwrap().partial);
    assert_eq!(summary.message_id.len(), 26);
}

#[tokio::test]
async fn a_quorum_ends_the_call_and_gives_the_rest_up() {
    let events = || {
        let answers = ["a", "b", "c", "d"].map(answer);
        [CallEvent::Asked(4)].into_iter().chain(answers).chain([CallEvent::AllAsked]).collect::<Vec<_>>()
    };
    for (quorum, answered) in [
        (Quorum::QuorumAnswers(1), 1),
        (Quorum::QuorumAnswers(3), 3),
        // How many a share is, is known only once all have been asked.
        (Quorum::QuorumShare(0.5), 4),
    ] {
        let (_, summary) = call(events(), Some(quorum)).await;
        let summary = summary.unwrap();
        assert_eq!((summary.end(), summary.sockets_answered), (v1::CallEnd::Quorum, answered), "{quorum:?}");
    }
}

#[tokio::test]
async fn a_share_counts_from_when_all_have_been_asked() {
    let events = vec![CallEvent::Asked(3), answer("a"), CallEvent::AllAsked, answer("b"), answer("c")];
    let (sockets, summary) = call(events, Some(Quorum::QuorumShare(0.5))).await;
    assert_eq!((sockets.len(), summary.unwrap().end()), (2, v1::CallEnd::Quorum));
}

#[tokio::test]
async fn a_share_of_nobody_ends_as_all() {
    let events = vec![CallEvent::Asked(0), CallEvent::AllAsked, end(CallEnd::All)];
    let (_, summary) = call(events, Some(Quorum::QuorumShare(0.5))).await;
    assert_eq!(summary.unwrap().end(), v1::CallEnd::All);
}

#[tokio::test]
async fn answers_that_were_not_taken_in_time_are_an_error() {
    let (_, end) = call(vec![CallEvent::Asked(1), end(CallEnd::Overrun)], None).await;
    assert_eq!(end.unwrap_err().code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_caller_that_goes_gives_the_call_up() {
    let recorder = Recorder::calling(vec![CallEvent::Asked(1), answer("a")]);
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let mut responses = server.client.call(request(None)).await.unwrap().into_inner();
    within(responses.message()).await.unwrap().unwrap();
    becomes(&recorder.waiting, 1).await;
    drop(responses);
    becomes(&recorder.waiting, 0).await;
}

#[tokio::test]
async fn a_call_that_breaks_a_rule_asks_nobody() {
    let recorder = Recorder::new();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    for (request, text) in [
        (v1::CallRequest::default(), "message: is required"),
        (v1::CallRequest { timeout_ms: 60_001, ..request(None) }, "timeout_ms: is 60001 ms, at most 60000"),
        (request(Some(Quorum::QuorumAnswers(0))), "quorum_answers: is 0"),
        (request(Some(Quorum::QuorumShare(1.5))), "quorum_share: must be above 0 and at most 1"),
    ] {
        let status = server.client.call(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(text), "{:?} is not {text}", status.message());
    }
    assert_eq!(recorder.taken(), []);
}

#[tokio::test]
async fn too_many_calls_are_refused() {
    let mut server = Running::start(Recorder::unavailable_from(0), PublishConfig::default()).await;
    let status = server.client.call(request(None)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("limits.pending_calls_max"));
}
