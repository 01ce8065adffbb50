//! Connections that are cut, servers that come and go.

use std::time::Duration;

use crate::support::{Gateway, PATIENCE, Proxy, Socket, client};
use futures_util::future::join_all;
use roomcast_client::{Builder, Client, Error, Message, Retries};

fn number(n: u64) -> Message {
    Message::new("n", &n).unwrap()
}

/// Through a proxy, with pauses that make for many tries in little time.
fn through(proxy: &Proxy) -> Builder {
    let pauses = Retries {
        pause_first: Duration::from_millis(2),
        pause_max: Duration::from_millis(20),
        ..Retries::default()
    };
    Client::builder(proxy.endpoint()).deadline(PATIENCE).retries(pauses)
}

#[tokio::test]
async fn a_stream_over_connections_that_are_cut_delivers_once_and_in_order() {
    let gateway = Gateway::start(&[]);
    let mut socket = Socket::connect(gateway.client, "one").await;
    // Some are cut before an answer, some behind many.
    let proxy = Proxy::start(gateway.grpc, &[700, 0, 2000, 350, 5000]).await;
    let client = through(&proxy).window(64).build().unwrap();
    let stream = client.stream();
    let mut answers = Vec::new();
    for n in 1..=600 {
        answers.push(stream.send(number(n)).await.unwrap());
    }
    for answer in answers {
        answer.await.unwrap();
    }
    assert_eq!(socket.numbers("n", 600).await, (1..=600).collect::<Vec<_>>());
    assert!(proxy.cuts() > 5, "only {} connections were cut", proxy.cuts());
}

#[tokio::test]
async fn calls_over_connections_that_are_cut_are_delivered_once() {
    let gateway = Gateway::start(&[]);
    let mut socket = Socket::connect(gateway.client, "one").await;
    let proxy = Proxy::start(gateway.grpc, &[300, 0, 500, 120, 1000]).await;
    let alone = through(&proxy).without_batching().build().unwrap();
    let shared = through(&proxy).build().unwrap();
    let clients = [&alone, &shared];
    for round in 0..10_u64 {
        let publish = |n: u64| clients[usize::try_from(n % 2).unwrap()].publish(number(round * 20 + n));
        let published = join_all((1..=20).map(publish)).await;
        assert!(published.iter().all(Result::is_ok), "{published:?}");
    }
    let batch = shared.publish_batch((201..=220).map(number)).await.unwrap();
    assert_eq!(batch.len(), 20);
    assert!(proxy.cuts() > 5, "only {} connections were cut", proxy.cuts());
    proxy.be_kind();
    shared.publish(number(0)).await.unwrap();
    let mut numbers = socket.numbers("n", 0).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (0..=220).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_retries_a_cut_is_an_error_at_once_and_names_the_endpoint() {
    let gateway = Gateway::start(&[]);
    let proxy = Proxy::start(gateway.grpc, &[0]).await;
    let client = Client::builder(proxy.endpoint()).deadline(PATIENCE).without_retries().build().unwrap();
    let one = client.publish(number(1)).await;
    assert!(matches!(&one, Err(Error::Unavailable(text)) if text.contains(&proxy.endpoint())), "{one:?}");
    let sent = client.stream().send(number(2)).await.unwrap().await;
    assert!(matches!(&sent, Err(Error::Unavailable(text)) if text.contains(&proxy.endpoint())), "{sent:?}");
}

#[tokio::test]
async fn the_next_endpoint_takes_over_from_one_that_is_gone() {
    let (one, other) = (Gateway::start(&[]), Gateway::start(&[]));
    let client = client(&one).endpoint(other.endpoint()).build().unwrap();
    let stream = client.stream();
    client.publish(number(1)).await.unwrap();
    stream.send(number(2)).await.unwrap().await.unwrap();
    let mut socket = Socket::connect(other.client, "one").await;
    drop(one);
    client.publish(number(3)).await.unwrap();
    stream.send(number(4)).await.unwrap().await.unwrap();
    assert_eq!(socket.numbers("n", 4).await, [3, 4]);
}

#[tokio::test]
async fn a_call_to_clients_is_not_made_again_when_its_connection_is_lost() {
    let gateway = Gateway::start(&[]);
    let mut socket = Socket::connect(gateway.client, "one").await;
    let proxy = Proxy::start(gateway.grpc, &[0]).await;
    let asked = through(&proxy).build().unwrap().all().call("n", &(1,)).await;
    assert!(matches!(asked, Err(Error::Unavailable(_))), "{asked:?}");
    client(&gateway).build().unwrap().publish(number(2)).await.unwrap();
    let mut asked = 0;
    while socket.next().await != Some(crate::support::Packet::Text(r#"42["n",2]"#.into())) {
        asked += 1;
    }
    assert!(asked <= 1, "asked {asked} times");
}
