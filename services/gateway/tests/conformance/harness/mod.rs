//! The real gateway as a process of its own, and clients that speak to it byte by byte.
//!
//! Nothing sleeps: every read has a deadline, and what cannot be read (a metric, a line of the log) is asked for
//! until it is so or [`PATIENCE`] is over.

mod cluster;
mod http;
mod polling;
mod publisher;
mod replay;
mod vectors;
mod websocket;

use std::{
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpStream},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use socket2::SockRef;

pub(crate) use self::{
    cluster::Cluster,
    http::{Http, Request, Response, unzipped},
    polling::Polling,
    publisher::{Publisher, message},
    replay::{Replay, framed_3, payload_3},
    vectors::{Vectors, field, shape},
    websocket::{Frame, Frames, Opcode, WebSocket, masked},
};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The path and query of a handshake over WebSocket, Engine.IO 4.
pub(crate) const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A gateway on free ports of loopback; killed when it is dropped.
pub(crate) struct Gateway {
    child: Child,
    log: Log,
    /// The port of the clients.
    pub(crate) client: SocketAddr,
    /// The publish API.
    pub(crate) grpc: SocketAddr,
    /// Metrics and health.
    pub(crate) ops: SocketAddr,
}

/// What a process that ended by itself left behind.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// The binary with these arguments and nothing of this process's environment.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast-gateway"));
    command.env_clear().args(args).stdin(Stdio::null());
    command
}

/// Runs a command that is to end by itself.
pub(crate) fn run(mut command: Command) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let reader = |mut pipe: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap();
            text
        })
    };
    let stdout = reader(Box::new(child.stdout.take().unwrap()));
    let stderr = reader(Box::new(child.stderr.take().unwrap()));
    let status = wait(&mut child, PATIENCE).unwrap_or_else(|| {
        child.kill().unwrap();
        panic!("the process did not end by itself")
    });
    Ended { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// The status of a process that ends within `patience`.
fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return Some(status),
            None if Instant::now() >= deadline => return None,
            None => thread::yield_now(),
        }
    }
}

impl Gateway {
    /// A gateway with `--dev`, one shard and these keys, each `key=value`.
    pub(crate) fn dev(keys: &[&str]) -> Self {
        Self::start(&["--dev"], keys)
    }

    /// A gateway with this configuration file in TOML, one shard and these keys, which are stronger.
    pub(crate) fn with_config(toml: &str, keys: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gateway.toml");
        std::fs::write(&path, toml).unwrap();
        Self::start(&["--config", path.to_str().unwrap()], keys)
    }

    /// A gateway with these arguments and keys, once it says that it is ready.
    pub(crate) fn start(args: &[&str], keys: &[&str]) -> Self {
        let defaults = [
            "client.listen=127.0.0.1:0",
            "grpc.listen=127.0.0.1:0",
            "ops.listen=127.0.0.1:0",
            "client.shards=1",
            "log.format=json",
        ];
        let mut command = command(args);
        for key in defaults.iter().chain(keys) {
            command.args(["--set", key]);
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::follow(child.stderr.take().unwrap());
        let port = |name: &str| {
            let line = log.expect(|line| line["kind"] == "listening" && line["port"] == name);
            line["address"].as_str().unwrap().parse().unwrap()
        };
        let (client, ops, grpc) = (port("client"), port("ops"), port("grpc"));
        log.expect(|line| line["kind"] == "readiness_changed" && line["ready"] == true);
        let gateway = Self { child, log, client, grpc, ops };
        assert_eq!(gateway.ops("/health/ready").status, 200);
        gateway
    }

    /// A fresh connection to the port of the clients.
    pub(crate) fn http(&self) -> Http {
        Http::connect(self.client)
    }

    /// The answer to one request on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Response {
        self.http().send(&Request::get(path).close())
    }

    /// A Socket.IO client over WebSocket that has joined `/`.
    pub(crate) fn joined(&self) -> WebSocket<TcpStream> {
        let mut client = self.websocket();
        client.join("/");
        client
    }

    /// An Engine.IO session over WebSocket, its open packet read.
    pub(crate) fn websocket(&self) -> WebSocket<TcpStream> {
        let mut client = WebSocket::open(connect(self.client), WEBSOCKET);
        assert!(client.text().starts_with("0{"));
        client
    }

    /// A WebSocket whose frames are written and read by hand, its open packet read.
    pub(crate) fn frames(&self) -> Frames {
        let mut frames = Frames::open(self.client, WEBSOCKET);
        assert!(frames.text().starts_with("0{"));
        frames
    }

    /// A back end's connection to the publish API.
    pub(crate) fn publisher(&self) -> Publisher {
        Publisher::connect(self.grpc)
    }

    /// The answer of the operations port.
    pub(crate) fn ops(&self, path: &str) -> Response {
        Http::connect(self.ops).send(&Request::get(path).close())
    }

    /// The sum of all series of a metric that have these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.ops("/metrics").text();
        let fits = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
        };
        let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        text.lines().filter(fits).map(value).sum()
    }

    /// Asks for a metric until it is `expected`.
    pub(crate) fn expect_metric(&self, name: &str, labels: &[(&str, &str)], expected: f64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.metric(name, labels);
            if (value - expected).abs() < 0.5 {
                return;
            }
            assert!(Instant::now() < deadline, "{name} {labels:?} is {value} and not {expected}");
        }
    }

    /// The first line of the log, past or to come, that `wanted` takes.
    pub(crate) fn log_line(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.log.expect(wanted)
    }

    /// The whole log so far.
    pub(crate) fn log_text(&self) -> String {
        self.log.text()
    }

    /// Memory that the process holds in RAM, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The part of it that is the process' own: neither its program nor other files, whose pages come as they are first used.
    pub(crate) fn anonymous_bytes(&self) -> u64 {
        self.memory("RssAnon:")
    }

    /// The most that it has held, in bytes.
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, figure: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
        1024 * line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap()
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap();
        assert!(sent.success());
    }

    /// How the process ends; `None` if it does not within `patience`.
    pub(crate) fn exit(&mut self, patience: Duration) -> Option<ExitStatus> {
        wait(&mut self.child, patience)
    }

    /// Whether the process has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asserts that the process is alive and that nothing in it has panicked.
    pub(crate) fn assert_unharmed(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(
            ended.is_none(),
            "ended with {:?}: {}",
            ended.and_then(|status| status.signal()),
            self.log_text()
        );
        assert!(!self.log_text().contains("panicked"), "{}", self.log_text());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.log_text());
        }
    }
}

/// A connection whose reads end after [`PATIENCE`].
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A joined WebSocket that never reads again, with a small buffer of the system.
pub(crate) fn deaf(gateway: &Gateway) -> WebSocket<TcpStream> {
    let stream = connect(gateway.client);
    SockRef::from(&stream).set_recv_buffer_size(4096).unwrap();
    let mut client = WebSocket::open(stream, WEBSOCKET);
    assert!(client.text().starts_with("0{"));
    client.join("/");
    client
}

/// The lines that a process has written to its standard error.
#[derive(Clone)]
struct Log(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    fn follow(pipe: impl Read + Send + 'static) -> Self {
        let log = Self(Arc::default());
        let writer = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                writer.update(|lines| lines.lines.extend(line.ok()));
            }
            writer.update(|lines| lines.ended = true);
        });
        log
    }

    fn update(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn text(&self) -> String {
        self.0.0.lock().unwrap().lines.join("\n")
    }

    fn expect(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.0.0.lock().unwrap();
        loop {
            let parsed = lines.lines.iter().filter_map(|line| serde_json::from_str(line).ok());
            if let Some(line) = parsed.into_iter().find(|line| wanted(line)) {
                return line;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.ended {
                drop(lines);
                panic!("no such line in the log");
            }
            lines = self.0.1.wait_timeout(lines, left).unwrap().0;
        }
    }
}
