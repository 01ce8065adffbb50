//! More than there is room for: clients that stall, a publisher without a pause, thousands at once. Whoever is not
//! concerned goes on, memory is bounded, and what is lost is counted.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use roomcast_proto::v1::{
    PublishStreamRequest, publish_stream_response::Outcome, publisher_client::PublisherClient,
};
use tokio::{runtime::Builder, sync::mpsc};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use crate::harness::{Gateway, Request, WEBSOCKET, connect, deaf, masked, message};

/// How long memory may take to come back: shards give back their tables every 5 s, the allocator what has been free for 10 s.
const SETTLING: Duration = Duration::from_secs(60);
/// Bytes of one event that fills what the system keeps for a client that does not read.
const LARGE: usize = 500_000;

#[test]
fn a_stalled_reader_loses_volatile_events_first_and_its_connection_then() {
    let mut gateway = Gateway::dev(&["limits.outbox_bytes=1000000"]);
    let mut publisher = gateway.publisher();
    let mut reader = gateway.joined();
    let _stalled = deaf(&gateway);
    let payload = "x".repeat(LARGE);
    let mut publish = |number: u32, volatile: bool| {
        let mut event = message(&[], "e", &format!("[{number},\"{payload}\"]"));
        event.volatile = volatile;
        let reach = publisher.publish(event);
        // Who reads gets each event, whoever else does not.
        assert!(reader.text() == format!("42[\"e\",{number},\"{payload}\"]"), "event {number}");
        reach.sockets_dropped.unwrap_or_default()
    };
    let stalled = (0..60).any(|number| publish(number, true).not_ready == 1);
    assert!(stalled, "sixty events fill no socket");
    for number in 60..70 {
        assert_eq!(publish(number, true).not_ready, 1, "event {number}");
    }
    gateway.expect_metric("roomcast_volatile_dropped_total", &[], 11.0);
    gateway.expect_metric("roomcast_slow_clients_closed_total", &[], 0.0);
    // What is not volatile waits for it, up to the limit: one event does, and a third is too much.
    for number in 70..73 {
        publish(number, false);
    }
    gateway.expect_metric("roomcast_slow_clients_closed_total", &[], 1.0);
    let line = gateway.log_line(|line| line["kind"] == "slow_client_closed");
    assert!(line["queued_bytes"].as_u64().unwrap() <= 1_100_000, "{line}");
    gateway.expect_metric("roomcast_connections", &[], 1.0);
    gateway.assert_unharmed();
}

/// What became of a stream of messages that were published as fast as they were taken.
struct Flood {
    published: u64,
    /// Messages taken and not answered yet, at most.
    ahead: u64,
}

/// Publishes `count` messages on one stream without a pause.
fn flood(gateway: &Gateway, count: u64, payload: &str) -> Flood {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = PublisherClient::connect(format!("http://{}", gateway.grpc)).await.unwrap();
        let (queue, requests) = mpsc::channel(1);
        let taken = Arc::new(AtomicU64::new(0));
        let counted = taken.clone();
        let requests = ReceiverStream::new(requests).map(move |request| {
            counted.fetch_add(1, Ordering::Relaxed);
            request
        });
        let payload = payload.to_owned();
        tokio::spawn(async move {
            for number in 0..count {
                let message = message(&[], "n", &format!("[{number},\"{payload}\"]"));
                let request = PublishStreamRequest { message: Some(message), ..Default::default() };
                queue.send(request).await.unwrap();
            }
        });
        let mut answers = client.publish_stream(requests).await.unwrap().into_inner();
        let mut flood = Flood { published: 0, ahead: 0 };
        while let Some(answer) = answers.message().await.unwrap() {
            assert!(matches!(answer.outcome, Some(Outcome::Published(_))), "{answer:?}");
            flood.ahead = flood.ahead.max(taken.load(Ordering::Relaxed) - flood.published);
            flood.published += 1;
        }
        flood
    })
}

#[test]
fn a_publisher_faster_than_the_sockets_waits_and_nothing_is_lost_silently() {
    const MESSAGES: u64 = 6000;
    let mut gateway = Gateway::dev(&["limits.outbox_bytes=8000000"]);
    let payload = "x".repeat(16_000);
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let mut client = gateway.joined();
            let tail = format!(",\"{payload}\"]");
            // How many events came before the end, each in its turn.
            thread::spawn(move || {
                (0..MESSAGES)
                    .take_while(|number| match client.try_text() {
                        Some(text) => {
                            let rest = text.strip_prefix(&format!("42[\"n\",{number}"));
                            assert!(rest == Some(&*tail), "{number}: {:?}", text.get(..30));
                            true
                        }
                        None => false,
                    })
                    .count() as u64
            })
        })
        .collect();
    let before = gateway.resident_bytes();
    let flood = flood(&gateway, MESSAGES, &payload);
    assert_eq!(flood.published, MESSAGES);
    let complete = readers.into_iter().map(|reader| reader.join().unwrap()).filter(|seen| *seen == MESSAGES);
    let closed = 8 - complete.count();
    gateway.expect_metric("roomcast_slow_clients_closed_total", &[], closed as f64);
    let grown = gateway.peak_resident_bytes().saturating_sub(before);
    println!("{closed} closed, {} ahead, {grown} bytes more", flood.ahead);
    // Of 96 MB: what waits for the shard, what waits for readers, and what the publisher's connection holds.
    assert!(grown < 64_000_000, "{grown} bytes more");
    assert!(flood.ahead < MESSAGES / 2, "{} messages ahead of their answers", flood.ahead);
    gateway.assert_unharmed();
}

/// Connections whose WebSocket has joined `/`, all opened before the first of them is answered.
fn crowd(gateway: &Gateway, count: usize) -> Vec<TcpStream> {
    let request = Request::upgrade(WEBSOCKET).bytes();
    let mut crowd: Vec<_> = (0..count)
        .map(|_| {
            let mut stream = connect(gateway.client);
            stream.write_all(&request).unwrap();
            stream
        })
        .collect();
    for stream in &mut crowd {
        read_until(stream, b"pingTimeout");
        stream.write_all(&masked(0x81, b"40")).unwrap();
    }
    crowd.iter_mut().for_each(|stream| read_until(stream, b"40{\"sid\""));
    crowd
}

fn read_until(stream: &mut TcpStream, wanted: &[u8]) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 1024]);
    while !bytes.windows(wanted.len()).any(|window| window == wanted) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "refused: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..count]);
    }
}

#[test]
fn none_of_15_000_at_once_is_refused_and_their_memory_comes_back() {
    const CROWD: usize = 15_000;
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let mut gateway = Gateway::dev(&["limits.connections=15100"]);
    // Some come before and stay. A small wave first: what it needed once is no loss.
    drop(crowd(&gateway, 50));
    let stay = crowd(&gateway, 50);
    gateway.expect_metric("roomcast_connections", &[], 50.0);
    let before = gateway.anonymous_bytes();

    let over = Arc::new(AtomicBool::new(false));
    let asking = {
        let (mut client, over) = (gateway.joined(), over.clone());
        thread::spawn(move || {
            let mut asked = 0;
            while !over.load(Ordering::Relaxed) {
                asked += 1;
                assert_eq!(client.ask(asked, "[\"a\"]"), r#"[{"status":"ok"}]"#);
            }
            asked
        })
    };
    let crowd = crowd(&gateway, CROWD);
    over.store(true, Ordering::Relaxed);
    assert!(asking.join().unwrap() > 0);
    gateway.expect_metric("roomcast_requests_refused_total", &[], 0.0);
    gateway.expect_metric("roomcast_connections", &[], (CROWD + stay.len()) as f64);
    let full = gateway.anonymous_bytes();
    assert!(
        full > 3 * before,
        "{before} bytes before and {full} with the crowd: it needs nothing that could come back"
    );

    drop(crowd);
    gateway.expect_metric("roomcast_connections", &[], stay.len() as f64);
    let bound = before + before / 10;
    let deadline = Instant::now() + SETTLING;
    let mut after = gateway.anonymous_bytes();
    while after > bound {
        assert!(Instant::now() < deadline, "{before} bytes before, {full} with the crowd, {after} after it");
        thread::sleep(Duration::from_millis(100));
        after = gateway.anonymous_bytes();
    }
    println!("{before} bytes before, {full} with the crowd, {after} after it");
    gateway.assert_unharmed();
}
