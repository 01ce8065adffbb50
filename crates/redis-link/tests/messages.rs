//! Publishing, subscribing and asking, on one Redis that stays up.

mod harness;

use std::time::Instant;

use bytes::Bytes;
use harness::{Client, Redis, bytes};
use redis_link::{Event, Kind, LinkConfig, Query, Refused, Reply, Way};

#[tokio::test]
async fn messages_of_every_kind_arrive_in_the_order_they_were_published() {
    let redis = Redis::start(&[]);
    let (mut a, mut b) = (Client::connect(redis.url()), Client::connect(redis.url()));
    a.up().await;
    b.up().await;
    b.subscribe(Kind::Exact, &[bytes("room")]).await;
    b.subscribe(Kind::Pattern, &[bytes("any.*")]).await;
    b.subscribe(Kind::Sharded, &[bytes("shard")]).await;
    let channels = [("room", Way::Plain), ("any.thing", Way::Plain), ("shard", Way::Sharded)];
    for number in 0..1000_u64 {
        for (channel, way) in channels {
            a.publish(way, channel, &number.to_string(), number);
        }
    }
    let receive = async {
        for number in 0..1000_u64 {
            for (channel, _) in channels {
                assert_eq!(b.message().await, (channel.to_owned(), number.to_string()));
            }
        }
    };
    let confirm = async {
        for number in 0..1000_u64 {
            for _ in channels {
                assert_eq!(a.published(number).await.unwrap(), 1);
            }
        }
    };
    tokio::join!(receive, confirm);
}

#[tokio::test]
async fn what_was_unsubscribed_arrives_no_more() {
    let redis = Redis::start(&[]);
    let mut client = Client::connect(redis.url());
    client.up().await;
    for kind in [Kind::Exact, Kind::Pattern, Kind::Sharded] {
        let way = if kind == Kind::Sharded { Way::Sharded } else { Way::Plain };
        client.subscribe(kind, &[bytes("room"), bytes("other")]).await;
        client.link.unsubscribe(kind, vec![bytes("room")]);
        let ended = |event: &Event| matches!(event, Event::Unsubscribed(_)).then_some(());
        client.wait("Unsubscribed", ended).await;
        client.publish(way, "room", "to nobody", 1);
        client.publish(way, "other", "to one", 2);
        assert_eq!(client.message().await.1, "to one", "{kind:?}");
        client.link.unsubscribe(kind, vec![bytes("other")]);
        client.wait("Unsubscribed", ended).await;
    }
}

#[tokio::test]
async fn a_message_of_megabytes_arrives_whole() {
    let redis = Redis::start(&[]);
    let mut client = Client::connect(redis.url());
    client.up().await;
    client.subscribe(Kind::Exact, &[bytes("room")]).await;
    let large = "x".repeat(5_000_000);
    client.publish(Way::Plain, "room", &large, 1);
    client.publish(Way::Plain, "room", "", 2);
    assert!(client.message().await.1 == large);
    assert_eq!(client.message().await.1, "");
}

#[tokio::test]
async fn fifty_thousand_channels_are_subscribed_within_three_seconds() {
    let redis = Redis::start(&[]);
    let mut client = Client::connect(redis.url());
    client.up().await;
    let channels: Vec<Bytes> = (0..50_000).map(|n| Bytes::from(format!("socket.io#/#room-{n}#"))).collect();
    for kind in [Kind::Exact, Kind::Sharded] {
        let began = Instant::now();
        client.subscribe(kind, &channels).await;
        println!("50,000 subscriptions {kind:?}: {:?}", began.elapsed());
    }
    let count = Query::CountSubscribers(Way::Plain, channels[49_999].clone());
    assert_eq!(client.ask(count).await.unwrap(), Reply::Count(1));
}

#[tokio::test]
async fn queries_are_answered_as_their_names_say() {
    let redis = Redis::start(&[]);
    let mut client = Client::connect(redis.url());
    client.up().await;
    let (key, one, two) = (bytes("k"), bytes("1"), bytes("2"));
    let set = |value: &Bytes| Query::Set { key: key.clone(), value: value.clone(), ttl_ms: 60_000 };
    let claim = |name: &str, value: &Bytes| Query::SetIfAbsent {
        key: bytes(name),
        value: value.clone(),
        ttl_ms: 60_000,
    };
    assert_eq!(client.ask(set(&one)).await.unwrap(), Reply::Done);
    let got = client.ask(Query::Get(vec![key.clone(), bytes("none")])).await.unwrap();
    assert_eq!(got, Reply::Values(vec![Some(one.clone()), None]));
    assert_eq!(client.ask(Query::Get(Vec::new())).await.unwrap(), Reply::Values(Vec::new()));
    assert_eq!(client.ask(claim("claim", &one)).await.unwrap(), Reply::Value(None));
    assert_eq!(client.ask(claim("claim", &two)).await.unwrap(), Reply::Value(Some(one.clone())));
    assert!(redis.cli(&["PTTL", "claim"]).trim().parse::<u64>().unwrap() > 0);
    assert_eq!(client.ask(Query::Delete(key.clone())).await.unwrap(), Reply::Count(1));
    assert_eq!(client.ask(Query::AddToSet(key.clone(), one.clone())).await.unwrap(), Reply::Count(1));
    assert_eq!(client.ask(Query::AddToSet(key.clone(), one.clone())).await.unwrap(), Reply::Count(0));
    assert_eq!(client.ask(Query::Members(key.clone())).await.unwrap(), Reply::Members(vec![one.clone()]));
    assert_eq!(client.ask(Query::RemoveFromSet(key.clone(), one)).await.unwrap(), Reply::Count(1));
    assert_eq!(client.ask(Query::Members(key.clone())).await.unwrap(), Reply::Members(Vec::new()));
    client.subscribe(Kind::Sharded, &[bytes("s")]).await;
    let count = Query::CountSubscribers(Way::Sharded, bytes("s"));
    assert_eq!(client.ask(count).await.unwrap(), Reply::Count(1));
    client.ask(set(&two)).await.unwrap();
    let fault = client.ask(Query::Members(key)).await.unwrap_err().to_string();
    assert!(fault.contains("WRONGTYPE"), "{fault}");
}

#[tokio::test]
async fn a_full_queue_refuses_and_then_takes_again() {
    let redis = Redis::start(&[]);
    let config = LinkConfig { url: redis.url(), publish_queue_bytes: 10_000, ..LinkConfig::default() };
    let mut client = Client::open(config);
    client.up().await;
    let payload = Bytes::from(vec![b'x'; 1000]);
    let mut publish = |ticket| client.link.publish(Way::Plain, bytes("room"), payload.clone(), Some(ticket));
    let taken = (0..20).filter(|ticket| publish(*ticket).is_ok()).count();
    assert!((5..10).contains(&taken), "{taken}");
    assert_eq!(publish(99), Err(Refused::QueueFull));
    let queued = client.link.stats().queue_bytes;
    assert!((5_000..=11_000).contains(&queued), "{queued}");
    for ticket in 0..u64::try_from(taken).unwrap() {
        assert_eq!(client.published(ticket).await.unwrap(), 0);
    }
    assert_eq!(client.link.stats().queue_bytes, 0);
    client.publish(Way::Plain, "room", "again", 100);
    assert_eq!(client.published(100).await.unwrap(), 0);
}

#[tokio::test]
async fn flush_writes_without_awaiting() {
    let redis = Redis::start(&[]);
    let (mut a, mut b) = (Client::connect(redis.url()), Client::connect(redis.url()));
    a.up().await;
    b.up().await;
    b.subscribe(Kind::Exact, &[bytes("room")]).await;
    a.publish(Way::Plain, "room", "early", 1);
    a.link.flush();
    // `a` is not awaited again before.
    assert_eq!(b.message().await.1, "early");
    assert_eq!(a.published(1).await.unwrap(), 1);
}

#[tokio::test]
async fn a_unix_socket_and_another_database_are_served() {
    let redis = Redis::start(&["--unixsocket", "{dir}/redis.sock"]);
    let url = format!("unix://{}", redis.path("redis.sock").display());
    let mut client = Client::open(LinkConfig { url, database: 3, ..LinkConfig::default() });
    client.up().await;
    let set = Query::Set { key: bytes("k"), value: bytes("v"), ttl_ms: 60_000 };
    client.ask(set).await.unwrap();
    assert_eq!(redis.cli(&["-n", "3", "GET", "k"]).trim(), "v");
    client.subscribe(Kind::Exact, &[bytes("room")]).await;
    client.publish(Way::Plain, "room", "hello", 1);
    assert_eq!(client.message().await.1, "hello");
}
