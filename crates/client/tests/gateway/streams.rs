//! Many messages at once: their order, their number, and who waits.

use std::time::Duration;

use crate::support::{Gateway, PATIENCE, Socket, client, within};
use futures_util::future::join_all;
use roomcast_client::{Client, Error, Message};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

fn number(n: u64) -> Message {
    Message::new("n", &n).unwrap()
}

#[tokio::test]
async fn a_stream_keeps_the_order_of_far_more_than_its_window() {
    let gateway = Gateway::start(&[]);
    let client = client(&gateway).window(16).build().unwrap();
    let mut socket = Socket::connect(gateway.client, "one").await;
    let stream = client.stream();
    let mut answers = Vec::new();
    for n in 1..=2000 {
        answers.push(stream.send(number(n)).await.unwrap());
    }
    // What was sent goes on without its stream.
    drop(stream);
    let mut ids = Vec::new();
    for answer in answers {
        ids.push(answer.await.unwrap().message_id);
    }
    assert_eq!(socket.numbers("n", 2000).await, (1..=2000).collect::<Vec<_>>());
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2000);
}

#[tokio::test]
async fn a_faulty_message_fails_alone() {
    let gateway = Gateway::start(&[]);
    let client = client(&gateway).build().unwrap();
    let mut socket = Socket::connect(gateway.client, "one").await;
    let stream = client.stream();
    let first = stream.send(number(1)).await.unwrap();
    let faulty = stream.send(number(2).to("")).await.unwrap();
    let last = stream.send(number(3)).await.unwrap();
    first.await.unwrap();
    match faulty.await {
        Err(Error::InvalidArgument { field, .. }) => assert_eq!(field.as_deref(), Some("message.rooms[0]")),
        other => panic!("{other:?}"),
    }
    last.await.unwrap();
    assert_eq!(socket.numbers("n", 3).await, [1, 3]);
}

#[tokio::test]
async fn messages_published_at_once_share_a_stream_and_all_arrive_once() {
    let gateway = Gateway::start(&[]);
    let client = client(&gateway).build().unwrap();
    let mut socket = Socket::connect(gateway.client, "one").await;
    let published = join_all((1..=500).map(|n| client.publish(number(n)))).await;
    assert!(published.iter().all(Result::is_ok), "{published:?}");
    client.publish(number(0)).await.unwrap();
    let mut numbers = socket.numbers("n", 0).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (0..=500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_sender_waits_at_the_window_of_a_server_that_answers_nothing() {
    // Takes connections and bytes, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            tokio::spawn(
                async move { while caller.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {} },
            );
        }
    });
    let build = |time| Client::builder(&endpoint).deadline(time).window(4).build().unwrap();

    let stream = build(PATIENCE).stream();
    let mut sent = Vec::new();
    for n in 0..4 {
        sent.push(within(stream.send(number(n))).await.unwrap());
    }
    tokio::select! {
        biased;
        fifth = stream.send(number(4)) => panic!("the window has 4 places: {fifth:?}"),
        () = tokio::time::sleep(Duration::from_millis(50)) => {}
    }

    let stream = build(Duration::from_millis(100)).stream();
    let mut waiting = Vec::new();
    for n in 0..4 {
        waiting.push(stream.send(number(n)).await.unwrap());
    }
    let fifth = within(stream.send(number(4))).await;
    assert!(matches!(fifth, Err(Error::DeadlineExceeded(_))), "{fifth:?}");
    for sent in waiting {
        let late = within(sent.into_future()).await;
        assert!(matches!(late, Err(Error::DeadlineExceeded(_))), "{late:?}");
    }
}
