//! Sentinel and Redis Cluster: six processes, slots that move, masters that die, all under traffic.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod harness;

use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Client, PATIENCE, Redis, bytes, cli, free_port};
use redis_link::{Event, Kind, LinkConfig, LinkFault, Query, Reply, Way};
use tokio::time::MissedTickBehavior;

/// Three masters with a replica each.
struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    fn start() -> Self {
        let args =
            ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"];
        let start = |_| {
            // By default 10,000 above the port, which may be another server's.
            let bus = free_port().to_string();
            Redis::start(&[&args[..], &["--cluster-port", &bus]].concat())
        };
        let nodes: Vec<Redis> = (0..6).map(start).collect();
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]);
        create.args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
        let output = create.args(["--cluster-replicas", "1", "--cluster-yes"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let cluster = Self { nodes };
        // A replica that has never been in step stands for no election.
        eventually("the cluster is whole and its replicas are in step", || {
            cluster.nodes.iter().all(|node| {
                let info = node.cli(&["CLUSTER", "INFO"]);
                let is_whole = info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384");
                let replication = node.cli(&["INFO", "replication"]);
                is_whole
                    && (replication.contains("connected_slaves:1") || replication.contains("link_status:up"))
            })
        });
        cluster
    }

    fn url(&self) -> String {
        let ports: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis+cluster://{}", ports.join(","))
    }

    /// The master of a slot as those that are alive know it: its port and id.
    fn owner(&self, slot: u16) -> (u16, String) {
        let nodes = self.nodes.iter().map(|node| node.cli(&["CLUSTER", "NODES"]));
        let nodes = nodes.into_iter().find(|nodes| nodes.contains("master")).unwrap();
        let owner = nodes.lines().find(|line| {
            let words: Vec<_> = line.split(' ').collect();
            words[2].contains("master")
                && !words[2].contains("fail")
                && words[8..].iter().any(|range| {
                    let (first, last) = range.split_once('-').unwrap_or((range, range));
                    let range = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
                    range.is_some_and(|(first, last)| (first..=last).contains(&slot))
                })
        });
        let words: Vec<_> =
            owner.unwrap_or_else(|| panic!("no owner of {slot} in\n{nodes}")).split(' ').collect();
        let port = words[1].split_once('@').unwrap().0.rsplit_once(':').unwrap().1;
        (port.parse().unwrap(), words[0].to_owned())
    }

    /// What moves a slot to another master, as resharding does.
    fn moving(&self, slot: u16) -> impl FnOnce() + Send + 'static {
        let (from, from_id) = self.owner(slot);
        let masters = [0, 6000, 12_000].into_iter().map(|slot| self.owner(slot));
        let (to, to_id) = masters.into_iter().find(|(port, _)| *port != from).unwrap();
        let slot = slot.to_string();
        move || {
            cli(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
            cli(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
            for port in [to, from] {
                assert!(cli(port, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).contains("OK"));
            }
        }
    }
}

fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn quick(url: String) -> LinkConfig {
    LinkConfig { url, heartbeat_interval_ms: 200, heartbeat_timeout_ms: 1000, ..LinkConfig::default() }
}

fn slot(channel: &str) -> u16 {
    let words = CHANNELS.iter().find(|(name, _)| *name == channel);
    words.unwrap().1
}

/// Shard channels and their slots, on three masters. From CLUSTER KEYSLOT.
const CHANNELS: [(&str, u16); 3] = [("c", 7365), ("b", 3300), ("foo", 12_182)];

/// Publishes numbers to the shard channels, subscribes again what is lost, and counts what came. Ends
/// half a second after the last round; `trouble` is called with the number of each.
async fn traffic(
    publisher: &mut Client,
    subscriber: &mut Client,
    mut trouble: impl FnMut(u64),
    rounds: u64,
) -> Report {
    let names: Vec<Bytes> = CHANNELS.iter().map(|(name, _)| bytes(name)).collect();
    subscriber.subscribe(Kind::Sharded, &names).await;
    let mut report = Report::default();
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = [None::<u64>; 3];
    let mut sent = 0;
    let mut sending_ended = None;
    let mut lost_at = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if sent < rounds {
                    trouble(sent);
                    for (index, name) in names.iter().enumerate() {
                        let ticket = sent * 3 + u64::try_from(index).unwrap();
                        let payload = Bytes::from(sent.to_string());
                        match publisher.link.publish(Way::Sharded, name.clone(), payload, Some(ticket)) {
                            Ok(()) => report.taken += 1,
                            Err(_) => report.refused += 1,
                        }
                    }
                    sent += 1;
                } else {
                    let ended = *sending_ended.get_or_insert_with(Instant::now);
                    let is_answered = report.published + report.failed == report.taken;
                    if is_answered && ended.elapsed() > Duration::from_millis(500) {
                        break;
                    }
                    assert!(ended.elapsed() < PATIENCE, "{report:?}");
                }
            }
            event = publisher.link.next() => match event {
                Event::Published { result: Ok(_), .. } => report.published += 1,
                Event::Published { result: Err(_), .. } => report.failed += 1,
                _ => {}
            },
            event = subscriber.link.next() => match event {
                Event::Message { channel, payload } => {
                    let index = names.iter().position(|name| *name == channel).unwrap();
                    let number: u64 = std::str::from_utf8(&payload).unwrap().parse().unwrap();
                    let before = last[index].replace(number);
                    assert!(before.is_none_or(|before| before < number), "{before:?}, then {number}");
                    report.received += 1;
                }
                Event::Lost(channels) => {
                    lost_at.get_or_insert_with(Instant::now);
                    report.lost += channels.len();
                    subscriber.link.subscribe(Kind::Sharded, channels);
                }
                Event::SubscriberUp => subscriber.link.subscribe(Kind::Sharded, names.clone()),
                Event::Subscribed(_) => {
                    if let Some(lost_at) = lost_at.take() {
                        report.window = report.window.max(lost_at.elapsed());
                    }
                }
                _ => {}
            },
        }
    }
    let newest = rounds - 1;
    assert_eq!(last, [Some(newest); 3], "the last messages did not arrive: {report:?}");
    report
}

#[derive(Debug, Default)]
struct Report {
    taken: u64,
    refused: u64,
    published: u64,
    failed: u64,
    received: u64,
    /// Channels that were told to be lost.
    lost: usize,
    /// Longest time from that to the next confirmation.
    window: Duration,
}

#[tokio::test]
async fn shard_channels_follow_their_slots_and_masters_under_traffic() {
    let mut cluster = Cluster::start();
    let (mut a, mut b) = (Client::open(quick(cluster.url())), Client::open(quick(cluster.url())));
    a.up().await;
    b.up().await;
    for (name, slot) in CHANNELS {
        let known = cluster.nodes[0].cli(&["CLUSTER", "KEYSLOT", name]);
        assert_eq!(known.trim(), slot.to_string(), "{name}");
    }
    everything_plain_works(&mut a, &mut b).await;

    let calm = traffic(&mut a, &mut b, |_| {}, 200).await;
    assert_eq!((calm.received, calm.failed, calm.refused), (600, 0, 0), "{calm:?}");

    let mut moving = Some(cluster.moving(slot("c")));
    let trouble = |round| {
        // On a thread of its own: traffic goes on meanwhile.
        if let Some(moving) = moving.take_if(|_| round == 100) {
            std::thread::spawn(moving);
        }
    };
    let moved = traffic(&mut a, &mut b, trouble, 500).await;
    println!("slot moved: {moved:?}, {} messages not delivered", moved.taken - moved.received);
    assert!(moved.lost >= 1, "{moved:?}");
    assert_eq!((moved.failed, moved.refused), (0, 0), "{moved:?}");

    let (victim, _) = cluster.owner(slot("foo"));
    let at = cluster.nodes.iter().position(|node| node.port == victim).unwrap();
    let mut killed = None;
    let failed_over = traffic(
        &mut a,
        &mut b,
        |round| {
            if round == 100 {
                cluster.nodes[at].kill();
                killed = Some(Instant::now());
            }
        },
        4000,
    )
    .await;
    println!(
        "master killed: {failed_over:?}, {} messages taken and not delivered",
        failed_over.taken - failed_over.received
    );
    assert!(failed_over.lost >= 1 && failed_over.published >= 8000, "{failed_over:?}");
    let set = Query::Set { key: bytes("foo"), value: bytes("after"), ttl_ms: 60_000 };
    assert_eq!(a.ask(set).await.unwrap(), Reply::Done);
    everything_plain_works(&mut a, &mut b).await;
}

/// Plain messages and queries, which concern the whole cluster.
async fn everything_plain_works(a: &mut Client, b: &mut Client) {
    // Homes may have gone down since somebody last listened: subscribed until it is confirmed.
    b.link.subscribe(Kind::Exact, vec![bytes("plain")]);
    b.link.subscribe(Kind::Pattern, vec![bytes("pat*")]);
    b.confirmed(2).await;
    for (number, channel) in ["plain", "pattern"].into_iter().enumerate() {
        a.publish(Way::Plain, channel, "hello", 1_000_000 + u64::try_from(number).unwrap());
        a.link.flush();
        assert_eq!(b.message().await, (channel.to_owned(), "hello".to_owned()));
    }
    let count = Query::CountSubscribers(Way::Plain, bytes("plain"));
    // Not known before every master is connected.
    let deadline = Instant::now() + PATIENCE;
    let counted = loop {
        match a.ask(count.clone()).await {
            Ok(counted) => break counted,
            Err(fault) => assert!(matches!(fault, LinkFault::Away) && Instant::now() < deadline, "{fault}"),
        }
        let pause = tokio::time::timeout(Duration::from_millis(20), a.link.next());
        a.passed.extend(pause.await.ok());
    };
    assert_eq!(counted, Reply::Count(1));
    let keys: Vec<Bytes> = CHANNELS.iter().map(|(name, _)| bytes(name)).collect();
    for key in &keys {
        let set = Query::Set { key: key.clone(), value: bytes("v"), ttl_ms: 60_000 };
        assert_eq!(a.ask(set).await.unwrap(), Reply::Done);
    }
    let values = keys.iter().map(|_| Some(bytes("v"))).collect();
    assert_eq!(a.ask(Query::Get(keys)).await.unwrap(), Reply::Values(values));
    b.link.unsubscribe(Kind::Exact, vec![bytes("plain")]);
    b.link.unsubscribe(Kind::Pattern, vec![bytes("pat*")]);
    for _ in 0..2 {
        b.wait("Unsubscribed", |event| matches!(event, Event::Unsubscribed(_)).then_some(())).await;
    }
}

#[tokio::test]
async fn a_failover_by_sentinels_is_followed() {
    let mut master = Redis::start(&[]);
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let sentinels: Vec<Sentinel> = (0..3).map(|_| Sentinel::start(master.port)).collect();
    eventually("the sentinels know each other and the replica", || {
        sentinels.iter().all(|sentinel| {
            let known = cli(sentinel.port, &["SENTINEL", "MASTER", "main"]);
            let field = |name: &str| known.lines().skip_while(|line| *line != name).nth(1).map(str::to_owned);
            field("num-slaves").as_deref() == Some("1")
                && field("num-other-sentinels").as_deref() == Some("2")
        })
    });
    eventually("the replica follows", || {
        replica.cli(&["INFO", "replication"]).contains("master_link_status:up")
    });
    let addresses: Vec<_> = sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
    let url = |name: &str| format!("redis+sentinel://{}/{name}", addresses.join(","));

    let mut stranger = Client::open(quick(url("other")));
    let fault = stranger.publisher_down().await;
    assert!(matches!(fault, LinkFault::NoMaster { .. }), "{fault}");

    let mut client = Client::open(quick(url("main")));
    client.up().await;
    client.subscribe(Kind::Exact, &[bytes("room")]).await;
    client.publish(Way::Plain, "room", "before", 1);
    assert_eq!(client.message().await.1, "before");

    master.kill();
    let began = Instant::now();
    let (mut publisher, mut subscriber) = (false, false);
    client
        .wait("the new master", |event| {
            publisher |= matches!(event, Event::PublisherUp);
            subscriber |= matches!(event, Event::SubscriberUp);
            (publisher && subscriber).then_some(())
        })
        .await;
    println!("the new master was found {:?} after the old one was killed", began.elapsed());
    client.subscribe(Kind::Exact, &[bytes("room")]).await;
    client.publish(Way::Plain, "room", "after", 2);
    assert_eq!(client.message().await.1, "after");
    assert!(replica.cli(&["PUBSUB", "CHANNELS", "room"]).contains("room"));

    // A failover that somebody asks for: the old master stays up, as a replica.
    master.restart(&["--replicaof", "127.0.0.1", &replica.port.to_string()]);
    eventually("the old master follows", || {
        let info = replica.cli(&["INFO", "replication"]);
        info.contains("connected_slaves:1") && info.contains("state=online")
    });
    eventually("the sentinels take the order", || {
        cli(sentinels[0].port, &["SENTINEL", "FAILOVER", "main"]).contains("OK")
    });
    client.subscriber_down().await;
    client.subscriber_up().await;
    client.subscribe(Kind::Exact, &[bytes("room")]).await;
    eventually("it is subscribed at the new master", || {
        master.cli(&["PUBSUB", "CHANNELS", "room"]).contains("room")
    });
}

/// One sentinel that watches the master called `main`.
struct Sentinel {
    port: u16,
    _dir: tempfile::TempDir,
    child: std::process::Child,
}

impl Sentinel {
    fn start(master: u16) -> Self {
        let port = free_port();
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 3000\n"
        );
        let file = harness::write(dir.path(), "sentinel.conf", &config);
        let child = Command::new("redis-server")
            .arg(file)
            .arg("--sentinel")
            .stdout(std::process::Stdio::null())
            .spawn();
        let child = child.expect("redis-server has to be installed for these tests");
        Self { port, _dir: dir, child }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
