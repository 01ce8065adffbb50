//! `PublishStream` through a real server: order, flow control, faults, cancellation, shutdown.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use std::collections::HashSet;
use std::num::NonZeroU32;

use publish::PublishConfig;
use roomcast_proto::v1;
use roomcast_proto::v1::publish_stream_response::Outcome;
use support::{Recorder, Running, becomes, numbered, numbered_event, within};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

fn request(sequence: u64) -> v1::PublishStreamRequest {
    v1::PublishStreamRequest { sequence, message: Some(numbered(sequence)), ..Default::default() }
}

/// An open stream: where requests go in, and where answers come out.
async fn open(
    server: &mut Running,
) -> (mpsc::Sender<v1::PublishStreamRequest>, Streaming<v1::PublishStreamResponse>) {
    let (requests, stream) = mpsc::channel(16);
    let answers = server.client.publish_stream(ReceiverStream::new(stream)).await.unwrap().into_inner();
    (requests, answers)
}

/// Sends the numbered requests `from..to` for as long as the server takes them.
fn send_all(requests: mpsc::Sender<v1::PublishStreamRequest>, numbers: std::ops::Range<u64>) {
    tokio::spawn(async move {
        for sequence in numbers {
            if requests.send(request(sequence)).await.is_err() {
                return;
            }
        }
    });
}

fn window(messages: u32) -> PublishConfig {
    PublishConfig { stream_messages_max: NonZeroU32::new(messages).unwrap(), ..PublishConfig::default() }
}

/// Lets everything that is able to go on do so: client and server share one thread, and what one writes to loopback
/// the other can read at once, so that nothing but these turns is needed.
async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn ten_thousand_messages_are_published_and_answered_in_order() {
    let recorder = Recorder::new();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let (requests, mut answers) = open(&mut server).await;
    send_all(requests, 0..10_000);
    for sequence in 0..10_000 {
        let answer = within(answers.message()).await.unwrap().unwrap();
        assert_eq!(answer.sequence, sequence);
        assert!(matches!(answer.outcome, Some(Outcome::Published(_))));
    }
    assert_eq!(within(answers.message()).await.unwrap(), None);
    assert_eq!(recorder.events(), (0..10_000).map(numbered_event).collect::<Vec<_>>());
}

#[tokio::test]
async fn messages_that_are_there_together_are_handed_over_as_one_and_answered_each_in_its_place() {
    let recorder = Recorder::ready();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let faulty = v1::PublishStreamRequest { sequence: 3, message: None, ..Default::default() };
    let named = v1::PublishStreamRequest { idempotency_key: "k".into(), ..request(6) };
    let reported = v1::PublishStreamRequest { report: v1::Report::Reach.into(), ..request(8) };
    let mut all: Vec<_> = (0..200).map(request).collect();
    for special in [faulty, named, reported] {
        let place = usize::try_from(special.sequence).unwrap();
        all[place] = special;
    }
    let sent = tokio_stream::iter(all);
    let mut answers = within(server.client.publish_stream(sent)).await.unwrap().into_inner();
    let mut ids = HashSet::new();
    for sequence in 0..200 {
        let answer = within(answers.message()).await.unwrap().unwrap();
        assert_eq!(answer.sequence, sequence);
        match answer.outcome.unwrap() {
            Outcome::Published(published) => assert!(ids.insert(published.message_id)),
            Outcome::Error(error) => assert_eq!((sequence, error.code), (3, 3)),
        }
    }
    assert_eq!(within(answers.message()).await.unwrap(), None);
    assert_eq!(ids.len(), 199);
    let expected: Vec<_> = (0..200).filter(|number| *number != 3).map(numbered_event).collect();
    assert_eq!(recorder.events(), expected);
    let handed = recorder.handed_as_one.unwrap().lock().unwrap().clone();
    assert!(handed.iter().any(|messages| *messages > 1), "{handed:?}");
    assert!(handed.iter().all(|messages| *messages <= 64), "{handed:?}");
}

#[tokio::test]
async fn a_window_holds_what_is_handed_over_as_one_too() {
    let recorder = Recorder::ready();
    let mut server = Running::start(recorder.clone(), window(4)).await;
    let (requests, mut answers) = open(&mut server).await;
    send_all(requests, 0..100);
    for sequence in 0..100 {
        assert_eq!(within(answers.message()).await.unwrap().unwrap().sequence, sequence);
    }
    let handed = recorder.handed_as_one.unwrap().lock().unwrap().clone();
    assert!(handed.iter().all(|messages| *messages <= 4), "{handed:?}");
}

#[tokio::test]
async fn answers_keep_their_order_when_later_publishes_end_first() {
    let recorder = Recorder::holding(1);
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let (requests, mut answers) = open(&mut server).await;
    send_all(requests, 0..5);
    becomes(&recorder.begun, 5).await;
    becomes(&recorder.waiting, 1).await;
    recorder.allow(1);
    for sequence in 0..5 {
        assert_eq!(within(answers.message()).await.unwrap().unwrap().sequence, sequence);
    }
}

#[tokio::test]
async fn a_faulty_message_is_answered_in_its_place_and_the_stream_goes_on() {
    let recorder = Recorder::unavailable_from(2);
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let (requests, mut answers) = open(&mut server).await;
    let faulty = v1::PublishStreamRequest { sequence: 5, message: None, ..Default::default() };
    for request in [request(7), faulty, request(7), request(1)] {
        requests.send(request).await.unwrap();
    }
    drop(requests);
    let mut seen = Vec::new();
    while let Some(answer) = within(answers.message()).await.unwrap() {
        let error = match answer.outcome.unwrap() {
            Outcome::Published(_) => None,
            Outcome::Error(error) => Some((error.code, error.message)),
        };
        seen.push((answer.sequence, error));
    }
    let required = Some((3, "message: is required".to_owned()));
    let away = Some((14, "Redis is away: retry".to_owned()));
    assert_eq!(seen, [(7, None), (5, required), (7, None), (1, away)]);
    assert_eq!(recorder.events(), [numbered_event(7), numbered_event(7)]);
}

#[tokio::test]
async fn a_slow_dispatch_holds_the_sender_at_the_window() {
    let recorder = Recorder::blocked();
    let mut server = Running::start(recorder.clone(), window(8)).await;
    let (requests, mut answers) = open(&mut server).await;
    send_all(requests, 0..100);
    becomes(&recorder.begun, 8).await;
    settle().await;
    assert_eq!(*recorder.begun.borrow(), 8, "the window is full");

    // Each one that goes through makes room for one more.
    recorder.allow(3);
    for sequence in 0..3 {
        assert_eq!(within(answers.message()).await.unwrap().unwrap().sequence, sequence);
    }
    becomes(&recorder.begun, 11).await;
    settle().await;
    assert_eq!(*recorder.begun.borrow(), 11, "the window is full again");
    recorder.allow(97);
    for sequence in 3..100 {
        assert_eq!(within(answers.message()).await.unwrap().unwrap().sequence, sequence);
    }
}

#[tokio::test]
async fn bytes_on_their_way_hold_the_sender_too() {
    let recorder = Recorder::blocked();
    let config = PublishConfig { stream_bytes_max: NonZeroU32::new(7).unwrap(), ..PublishConfig::default() };
    let mut server = Running::start(recorder.clone(), config).await;
    let (requests, mut answers) = open(&mut server).await;
    // Arguments of three bytes: `[0]`. The third message crosses the limit and is still read.
    send_all(requests, 0..9);
    becomes(&recorder.begun, 3).await;
    settle().await;
    assert_eq!(*recorder.begun.borrow(), 3);
    recorder.allow(9);
    for sequence in 0..9 {
        assert_eq!(within(answers.message()).await.unwrap().unwrap().sequence, sequence);
    }
}

#[tokio::test]
async fn a_caller_that_takes_no_answers_is_not_read_on_and_holds_nothing() {
    let recorder = Recorder::new();
    let mut server = Running::start(recorder.clone(), window(4)).await;
    let (requests, mut answers) = open(&mut server).await;
    send_all(requests, 0..1_000_000);
    // HTTP/2 buffers some answers; the sender stops all the same.
    let mut published = 0;
    loop {
        settle().await;
        let now = *recorder.begun.borrow();
        if now > 0 && now == published {
            break;
        }
        published = now;
    }
    assert!(published < 1_000_000);
    assert_eq!(*recorder.waiting.borrow(), 0, "nothing keeps a place that others wait for");
    assert_eq!(within(answers.message()).await.unwrap().unwrap().sequence, 0);
}

#[tokio::test]
async fn a_caller_that_goes_takes_what_is_on_its_way_with_it() {
    // The window full, the window with room left, and nothing more to read.
    for (sent, half_closed) in [(8, false), (3, false), (3, true)] {
        let recorder = Recorder::blocked();
        let mut server = Running::start(recorder.clone(), window(8)).await;
        let (requests, answers) = open(&mut server).await;
        for sequence in 0..sent {
            requests.send(request(sequence)).await.unwrap();
        }
        becomes(&recorder.waiting, usize::try_from(sent).unwrap()).await;
        let requests = (!half_closed).then_some(requests);
        settle().await;
        // The caller's library ends a call when both halves are dropped.
        drop((answers, requests));
        becomes(&recorder.waiting, 0).await;
        assert_eq!(recorder.taken(), []);
    }
}

#[tokio::test]
async fn half_closed_streams_get_all_their_answers() {
    let recorder = Recorder::blocked();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let (requests, mut answers) = open(&mut server).await;
    requests.send(request(1)).await.unwrap();
    drop(requests);
    becomes(&recorder.waiting, 1).await;
    recorder.allow(1);
    assert_eq!(within(answers.message()).await.unwrap().unwrap().sequence, 1);
    assert_eq!(within(answers.message()).await.unwrap(), None);
}

#[tokio::test]
async fn a_request_over_its_limit_ends_the_stream_behind_the_answers_before_it() {
    let config = PublishConfig {
        message_bytes_max: NonZeroU32::new(30).unwrap(),
        request_bytes_max: NonZeroU32::new(30).unwrap(),
        ..PublishConfig::default()
    };
    let mut server = Running::start(Recorder::new(), config).await;
    let (requests, mut answers) = open(&mut server).await;
    let mut large = request(2);
    large.message.as_mut().unwrap().event = "x".repeat(30);
    requests.send(request(1)).await.unwrap();
    requests.send(large).await.unwrap();
    assert_eq!(within(answers.message()).await.unwrap().unwrap().sequence, 1);
    assert_eq!(within(answers.message()).await.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test]
async fn shutdown_answers_what_was_read_and_ends_the_stream() {
    let recorder = Recorder::blocked();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let (requests, mut answers) = open(&mut server).await;
    requests.send(request(1)).await.unwrap();
    becomes(&recorder.waiting, 1).await;
    let server = server.stop();
    settle().await;
    assert!(!server.is_finished(), "a message is still on its way");
    recorder.allow(1);
    assert_eq!(within(answers.message()).await.unwrap().unwrap().sequence, 1);
    assert_eq!(within(answers.message()).await.unwrap_err().code(), Code::Unavailable);
    drop(requests);
    within(server).await.unwrap().unwrap();
}
