//! Redis that goes away, comes back, stops, refuses and encrypts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod harness;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Client, Redis, bytes, free_port, write};
use redis_link::{Event, Kind, LinkConfig, LinkFault, LinkTlsConfig, Query, Refused, Way};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Patient enough for a busy machine, and quick.
fn quick(url: String) -> LinkConfig {
    LinkConfig { url, heartbeat_interval_ms: 200, heartbeat_timeout_ms: 1000, ..LinkConfig::default() }
}

/// Publishes until a message goes through and comes back.
async fn goes_round(client: &mut Client) {
    client.subscribe(Kind::Exact, &[bytes("room")]).await;
    client.publish(Way::Plain, "room", "round", 1);
    assert_eq!(client.message().await.1, "round");
}

#[tokio::test]
async fn redis_that_is_away_is_a_state_and_its_coming_an_event() {
    let port = free_port();
    let mut client = Client::open(quick(format!("redis://127.0.0.1:{port}")));
    let fault = client.publisher_down().await.to_string();
    assert!(fault.contains(&port.to_string()) && fault.contains("redis.url"), "{fault}");
    assert_eq!(client.link.publish(Way::Plain, bytes("c"), bytes("p"), None), Err(Refused::Down));
    assert!(matches!(client.ask(Query::Delete(bytes("k"))).await, Err(LinkFault::Away)));
    let _redis = Redis::start_on(port, &[]);
    client.up().await;
    goes_round(&mut client).await;
}

#[tokio::test]
async fn a_killed_redis_is_reported_and_fifty_thousand_channels_are_restored_within_three_seconds() {
    let mut redis = Redis::start(&[]);
    let mut client = Client::open(quick(redis.url()));
    client.up().await;
    let channels: Vec<Bytes> = (0..50_000).map(|n| Bytes::from(format!("socket.io#/#room-{n}#"))).collect();
    client.subscribe(Kind::Exact, &channels).await;
    redis.kill();
    assert!(matches!(client.publisher_down().await, LinkFault::Lost { .. }));
    redis.restart(&[]);
    client.up().await;
    let began = Instant::now();
    client.subscribe(Kind::Exact, &channels).await;
    println!("50,000 channels restored in {:?}", began.elapsed());
    assert_eq!(redis.cli(&["PUBSUB", "NUMSUB", "socket.io#/#room-49999#"]).trim().lines().last(), Some("1"));
    client.publish(Way::Plain, "socket.io#/#room-7#", "restored", 1);
    assert_eq!(client.message().await.1, "restored");
    assert!(client.link.stats().reconnects >= 2);
}

#[tokio::test]
async fn every_ticket_is_answered_once_when_redis_is_killed() {
    let mut redis = Redis::start(&[]);
    let mut client = Client::open(quick(redis.url()));
    client.up().await;
    client.publish(Way::Plain, "room", "before", 0);
    client.published(0).await.unwrap();
    redis.signal("STOP");
    for ticket in 1..=1000 {
        client.publish(Way::Plain, "room", "on the way", ticket);
    }
    for _ in 0..5 {
        client.link.publish(Way::Plain, bytes("room"), bytes("without"), None).unwrap();
    }
    client.link.flush();
    redis.kill();
    let mut answered = Vec::new();
    let mut uncounted = 0;
    client
        .wait("every answer", |event| {
            match event {
                Event::Published { ticket, result } => {
                    assert!(result.is_err());
                    answered.push(*ticket);
                }
                Event::PublishesLost(count) => uncounted += count,
                _ => {}
            }
            (answered.len() == 1000 && uncounted == 5).then_some(())
        })
        .await;
    assert!(answered.iter().copied().eq(1..=1000), "in order, each once");
    assert_eq!(client.link.stats().publishes_lost, 1005);
    client.passed.clear();
    redis.restart(&[]);
    client.publisher_up().await;
    client.publish(Way::Plain, "room", "after", 2000);
    assert_eq!(client.published(2000).await.unwrap(), 0);
    assert!(!client.passed.iter().any(|event| matches!(event, Event::Published { ticket: 1..=1000, .. })));
}

#[tokio::test]
async fn a_stopped_redis_is_found_by_the_heartbeat_and_taken_back_when_it_goes_on() {
    let redis = Redis::start(&[]);
    let config = LinkConfig { connect_timeout_ms: 500, ..quick(redis.url()) };
    let mut client = Client::open(config);
    client.up().await;
    goes_round(&mut client).await;
    redis.signal("STOP");
    let began = Instant::now();
    let (mut publisher, mut subscriber) = (None, None);
    client
        .wait("both faults", |event| {
            match event {
                Event::PublisherDown(fault) => publisher = Some(fault.to_string()),
                Event::SubscriberDown(fault) => subscriber = Some(fault.to_string()),
                _ => {}
            }
            (publisher.is_some() && subscriber.is_some()).then_some(())
        })
        .await;
    println!("a stopped Redis was found after {:?}", began.elapsed());
    for fault in [publisher, subscriber].into_iter().flatten() {
        assert!(fault.contains("nothing came back"), "{fault}");
    }
    assert!(client.link.stats().heartbeats_missed >= 2);
    redis.signal("CONT");
    client.up().await;
    goes_round(&mut client).await;
}

#[tokio::test]
async fn a_user_without_the_heartbeat_channel_is_told_which_rule_is_missing() {
    let redis = Redis::start(&[]);
    redis.cli(&["ACL", "SETUSER", "default", "resetchannels", "&room"]);
    let mut client = Client::open(quick(redis.url()));
    let fault = client.subscriber_down().await.to_string();
    assert!(fault.contains("NOPERM") && fault.contains("&roomcast:heartbeat:*"), "{fault}");
    assert!(!client.passed.iter().any(|event| matches!(event, Event::SubscriberUp)));
    redis.cli(&["ACL", "SETUSER", "default", "&roomcast:heartbeat:*"]);
    client.subscriber_up().await;
    goes_round(&mut client).await;
}

#[tokio::test]
async fn a_subscriber_that_gets_nothing_is_replaced_while_the_publisher_stays() {
    let redis = Redis::start(&[]);
    let swallow = Arc::new(AtomicBool::new(false));
    let port = swallowing_proxy(redis.port, swallow.clone()).await;
    let mut client = Client::open(quick(format!("redis://127.0.0.1:{port}")));
    client.up().await;
    goes_round(&mut client).await;
    swallow.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let fault = client.subscriber_down().await;
    println!("a subscriber that gets nothing was found after {:?}", began.elapsed());
    assert!(matches!(fault, LinkFault::Silent { .. }), "{fault}");
    assert!(!client.passed.iter().any(|event| matches!(event, Event::PublisherDown(_))));
    swallow.store(false, Ordering::Relaxed);
    client.subscriber_up().await;
    goes_round(&mut client).await;
}

/// Forwards connections to `port`; while `swallow` is set, what subscribers should get is thrown away.
async fn swallowing_proxy(port: u16, swallow: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let swallow = swallow.clone();
            tokio::spawn(async move { forward(client, port, &swallow).await.ok() });
        }
    });
    own
}

async fn forward(mut client: TcpStream, port: u16, swallow: &AtomicBool) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut is_subscriber = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let bytes = &up[..read?];
                is_subscriber |= bytes.windows(18).any(|word| word == b"roomcast-subscribe");
                if bytes.is_empty() {
                    return Ok(());
                }
                server.write_all(bytes).await?;
            }
            read = server.read(&mut down) => match read? {
                0 => return Ok(()),
                _ if is_subscriber && swallow.load(Ordering::Relaxed) => {}
                count => client.write_all(&down[..count]).await?,
            },
        }
    }
}

#[tokio::test]
async fn cut_connections_are_made_again() {
    let redis = Redis::start(&[]);
    let mut client = Client::open(quick(redis.url()));
    client.up().await;
    redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    client.up().await;
    goes_round(&mut client).await;
    assert!(client.link.stats().heartbeat_rtt_us > 0);
}

#[tokio::test]
async fn a_changed_password_is_read_again_and_its_key_named_until_then() {
    let mut redis = Redis::start(&["--requirepass", "one"]);
    let file = write(redis.dir.path(), "password", "one\n");
    let config = LinkConfig { password_file: Some(file.clone()), ..quick(redis.url()) };
    let mut client = Client::open(config);
    client.up().await;
    redis.restart(&["--requirepass", "two"]);
    let refused = |event: &Event| match event {
        Event::PublisherDown(fault @ LinkFault::Login { .. }) => Some(fault.to_string()),
        _ => None,
    };
    let fault = client.wait("WRONGPASS", refused).await;
    assert!(fault.contains("WRONGPASS") && fault.contains("redis.password_file"), "{fault}");
    assert!(!fault.contains("one"), "{fault}");
    fs::write(&file, "two").unwrap();
    client.up().await;
    goes_round(&mut client).await;
}

#[tokio::test]
async fn a_missing_password_and_an_acl_user_are_told_apart() {
    let redis = Redis::start(&["--requirepass", "secret"]);
    let mut client = Client::open(quick(redis.url()));
    let fault = client.publisher_down().await.to_string();
    assert!(fault.contains("NOAUTH") && fault.contains("redis.password_file"), "{fault}");

    let rule = "on >pw +@all ~* &*";
    let mut args = vec!["-a", "secret", "ACL", "SETUSER", "app"];
    args.extend(rule.split(' '));
    redis.cli(&args);
    let file = write(redis.dir.path(), "password", "pw");
    let config = LinkConfig { username: "app".to_owned(), password_file: Some(file), ..quick(redis.url()) };
    let mut client = Client::open(config);
    client.up().await;
    goes_round(&mut client).await;
}

#[tokio::test]
async fn tls_is_spoken_to_those_whose_certificate_is_signed() {
    let dir = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into(), "localhost".into()]).unwrap();
    let cert = write(dir.path(), "cert.pem", &certified.cert.pem());
    let key = write(dir.path(), "key.pem", &certified.signing_key.serialize_pem());
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let other = write(dir.path(), "other.pem", &other.cert.pem());
    let port = free_port();
    let (cert_text, key_text) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let tls_port = port.to_string();
    let mut args =
        vec!["--tls-port", &tls_port, "--tls-auth-clients", "yes", "--tls-ca-cert-file", cert_text];
    args.extend(["--tls-cert-file", cert_text, "--tls-key-file", key_text]);
    let _redis = Redis::start(&args);
    let config = |ca_file| LinkConfig {
        tls: LinkTlsConfig {
            ca_file,
            cert_file: Some(cert.clone()),
            key_file: Some(key.clone()),
            insecure_skip_verify: false,
        },
        ..quick(format!("rediss://127.0.0.1:{port}"))
    };
    let mut client = Client::open(config(Some(cert.clone())));
    client.up().await;
    goes_round(&mut client).await;
    let large = "x".repeat(3_000_000);
    client.publish(Way::Plain, "room", &large, 2);
    assert!(client.message().await.1 == large);

    let mut stranger = Client::open(config(Some(other.clone())));
    let fault = stranger.publisher_down().await.to_string();
    assert!(fault.contains("certificate"), "{fault}");

    let mut careless = config(Some(other));
    careless.tls.insecure_skip_verify = true;
    Client::open(careless).up().await;
}

#[tokio::test]
async fn what_is_no_redis_is_named_and_not_believed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        }
    });
    let mut client = Client::open(quick(url));
    let fault = client.publisher_down().await;
    assert!(matches!(fault, LinkFault::Protocol { .. } | LinkFault::Lost { .. }), "{fault}");
}

#[tokio::test]
async fn a_query_without_an_answer_ends_in_time() {
    let redis = Redis::start(&[]);
    let config = LinkConfig { command_timeout_ms: 300, heartbeat_timeout_ms: 60_000, ..quick(redis.url()) };
    let mut client = Client::open(config);
    client.up().await;
    redis.signal("STOP");
    let began = Instant::now();
    let fault = client.ask(Query::Get(vec![bytes("k")])).await.unwrap_err();
    assert!(
        matches!(fault, LinkFault::NoAnswer(patience) if patience == Duration::from_millis(300)),
        "{fault}"
    );
    println!("a query ended after {:?}", began.elapsed());
    redis.signal("CONT");
    // The late answer is nobody's; the next is.
    client.ask(Query::Get(vec![bytes("k")])).await.unwrap();
}
