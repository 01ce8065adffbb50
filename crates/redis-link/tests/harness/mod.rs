//! Real Redis processes on free ports, and patience with a link's events.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::VecDeque;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis_link::{Event, Kind, Link, LinkConfig, LinkFault, Query, Reply, Way};
use tempfile::TempDir;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// The ports of a test process: blocks below those that the kernel gives out by itself, which others may get
/// between the choice of a port and the start of its server.
const FIRST_PORT: u16 = 10_000;
const BLOCKS: u16 = 100;
const BLOCK_PORTS: u16 = 100;

/// A port nobody listens on, each once.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let block = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap();
    let ports = std::iter::repeat_with(|| GIVEN.fetch_add(1, Ordering::Relaxed) % BLOCK_PORTS);
    ports
        .take(usize::from(BLOCK_PORTS))
        .map(|nth| FIRST_PORT + block * BLOCK_PORTS + nth)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a test process has fewer servers than ports")
}

/// One `redis-server`, ended when dropped.
pub(crate) struct Redis {
    pub(crate) port: u16,
    pub(crate) dir: TempDir,
    args: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// Starts one on a free port, with more arguments, and waits until it answers.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_on(free_port(), args)
    }

    pub(crate) fn start_on(port: u16, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let args = args.iter().map(|arg| arg.replace("{dir}", dir.path().to_str().unwrap())).collect();
        let mut redis = Self { port, dir, args, child: None };
        redis.restart(&[]);
        redis
    }

    /// Starts it again with more arguments.
    pub(crate) fn restart(&mut self, more: &[&str]) {
        self.kill();
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", self.dir.path().to_str().unwrap(), "--enable-debug-command", "yes"])
            .args(&self.args)
            .args(more)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server has to be installed for these tests");
        self.child = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while !self.cli(&["PING"]).contains("PONG") && !self.cli(&["PING"]).contains("NOAUTH") {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "redis-server on port {} has ended: {ended:?}", self.port);
            assert!(Instant::now() < deadline, "redis-server on port {} does not answer", self.port);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// What `redis-cli` prints.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        cli(self.port, args)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn cli(port: u16, args: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(args).output();
    let output = output.expect("redis-cli has to be installed for these tests");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Writes a file and tells where it is.
pub(crate) fn write(dir: &Path, name: &str, content: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    path
}

/// A link and the events that were passed over while waiting for another.
pub(crate) struct Client {
    pub(crate) link: Link,
    pub(crate) passed: VecDeque<Event>,
    next_id: u64,
}

impl Client {
    pub(crate) fn open(config: LinkConfig) -> Self {
        assert_eq!(config.check(), []);
        let seed = u64::from(free_port());
        Self { link: Link::open(config, seed), passed: VecDeque::new(), next_id: 1 << 32 }
    }

    pub(crate) fn connect(url: String) -> Self {
        Self::open(LinkConfig { url, ..LinkConfig::default() })
    }

    /// The next event; fails after [`PATIENCE`].
    pub(crate) async fn next(&mut self) -> Event {
        let event = tokio::time::timeout(PATIENCE, self.link.next()).await;
        event.unwrap_or_else(|_| panic!("no event; before came {:?}", self.passed))
    }

    /// The first event that `pick` takes; others are passed over.
    pub(crate) async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = self.next().await;
            if let Some(picked) = pick(&event) {
                return picked;
            }
            self.passed.push_back(event);
            if self.passed.len() > 1000 {
                self.passed.pop_front();
            }
            assert!(Instant::now() < deadline, "waited for {what}; before came {:?}", self.passed);
        }
    }

    /// Waits until both connections are up.
    pub(crate) async fn up(&mut self) {
        let (mut publisher, mut subscriber) = (false, false);
        self.wait("both connections", |event| {
            publisher |= matches!(event, Event::PublisherUp);
            subscriber |= matches!(event, Event::SubscriberUp);
            (publisher && subscriber).then_some(())
        })
        .await;
    }

    pub(crate) async fn subscriber_up(&mut self) {
        self.wait("SubscriberUp", |event| matches!(event, Event::SubscriberUp).then_some(())).await;
    }

    pub(crate) async fn publisher_up(&mut self) {
        self.wait("PublisherUp", |event| matches!(event, Event::PublisherUp).then_some(())).await;
    }

    pub(crate) async fn subscriber_down(&mut self) -> LinkFault {
        let down = |event: &Event| match event {
            Event::SubscriberDown(fault) => Some(fault.clone()),
            _ => None,
        };
        self.wait("SubscriberDown", down).await
    }

    pub(crate) async fn publisher_down(&mut self) -> LinkFault {
        let down = |event: &Event| match event {
            Event::PublisherDown(fault) => Some(fault.clone()),
            _ => None,
        };
        self.wait("PublisherDown", down).await
    }

    /// Subscribes and waits for every confirmation.
    pub(crate) async fn subscribe(&mut self, kind: Kind, channels: &[Bytes]) {
        self.link.subscribe(kind, channels.to_vec());
        self.confirmed(channels.len()).await;
    }

    pub(crate) async fn confirmed(&mut self, mut count: usize) {
        while count > 0 {
            self.wait("Subscribed", |event| matches!(event, Event::Subscribed(_)).then_some(())).await;
            count -= 1;
        }
    }

    pub(crate) fn publish(&mut self, way: Way, channel: &str, payload: &str, ticket: u64) {
        let (channel, payload) = (Bytes::from(channel.to_owned()), Bytes::from(payload.to_owned()));
        self.link.publish(way, channel, payload, Some(ticket)).unwrap();
    }

    /// What became of the publish with this ticket.
    pub(crate) async fn published(&mut self, expected: u64) -> Result<u64, LinkFault> {
        let published = |event: &Event| match event {
            Event::Published { ticket, result } if *ticket == expected => Some(result.clone()),
            _ => None,
        };
        self.wait("Published", published).await
    }

    /// The next message, channel and payload.
    pub(crate) async fn message(&mut self) -> (String, String) {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let message = |event: &Event| match event {
            Event::Message { channel, payload } => Some((text(channel), text(payload))),
            _ => None,
        };
        self.wait("Message", message).await
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&mut self, query: Query) -> Result<Reply, LinkFault> {
        self.next_id += 1;
        let expected = self.next_id;
        self.link.query(expected, query);
        let answer = |event: &Event| match event {
            Event::Answer { id, result } if *id == expected => Some(result.clone()),
            _ => None,
        };
        self.wait("Answer", answer).await
    }
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
