//! `cargo xtask demo`: a gateway with the demo page on loopback, or three of them and a Redis, until Ctrl-C.

mod processes;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::{tools, workspace};
use processes::Processes;

/// How long a process that listens may take to answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
const GRPC_PORT: u16 = 50051;
const CLUSTER_GATEWAYS: u16 = 3;

/// Starts the demo.
#[derive(Args)]
pub(crate) struct Demo {
    /// Start three gateways and a Redis, with ports counted up from those below.
    #[arg(long)]
    cluster: bool,
    /// Port of the page and of the clients.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Port of the publish API.
    #[arg(long, default_value_t = GRPC_PORT)]
    grpc_port: u16,
    /// Port of metrics and health.
    #[arg(long, default_value_t = 9000)]
    ops_port: u16,
    /// Port of Redis, with --cluster: not Redis' own, where one may run already.
    #[arg(long, default_value_t = 7379)]
    redis_port: u16,
}

/// Where one gateway is.
#[derive(Clone, Copy)]
struct Place {
    client: SocketAddr,
    grpc: SocketAddr,
    ops: SocketAddr,
}

impl Demo {
    /// Runs until a signal asks it to end, then stops what it has started.
    ///
    /// # Errors
    /// When a tool is missing, the build fails, or a process ends by itself.
    pub(crate) fn run(self) -> Result<()> {
        tools::node()?;
        tools::npm_packages()?;
        if self.cluster {
            tools::redis()?;
        }
        let bundle = tools::client_bundle()?;
        let build = workspace::cargo(&["build", "--release", "--package", "roomcast-gateway"]).status()?;
        ensure!(build.success(), "the gateway does not build");
        let grpcurl = tools::grpcurl().map(|path| path.display().to_string());
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(self.serve(&bundle, grpcurl))
    }

    async fn serve(self, bundle: &Path, grpcurl: Option<String>) -> Result<()> {
        // Before anything is started: a signal that comes early must not leave it behind.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut processes = Processes::default();
        let run = async {
            let places = self.start(bundle, &mut processes).await?;
            self.print_what_to_do(&places, grpcurl);
            processes.supervise().await
        };
        tokio::select! {
            ended = run => return ended,
            _ = interrupt.recv() => {}
            _ = terminated.recv() => {}
        }
        println!("\nStopping …");
        processes.stop()
    }

    async fn start(&self, bundle: &Path, processes: &mut Processes) -> Result<Vec<Place>> {
        let mut settings = Vec::new();
        if self.cluster {
            self.start_redis(processes).await?;
            settings.push(("ROOMCAST__ADAPTER__KIND", "redis".into()));
            settings.push(("ROOMCAST__REDIS__URL", self.redis_url()));
            settings.push(("ROOMCAST__NODE__SECRET_FILE", write_secret()?.display().to_string()));
        }
        let count = if self.cluster { CLUSTER_GATEWAYS } else { 1 };
        let places: Vec<Place> = (0..count).map(|index| self.place(index)).collect::<Result<_>>()?;
        for (place, number) in places.iter().zip(1..) {
            let mut gateway = Command::new(workspace::gateway("release"));
            gateway
                .arg("--dev")
                .env("ROOMCAST__CLIENT__LISTEN", place.client.to_string())
                .env("ROOMCAST__GRPC__LISTEN", place.grpc.to_string())
                .env("ROOMCAST__OPS__LISTEN", place.ops.to_string())
                .env("ROOMCAST__CLIENT__BUNDLE_DIR", bundle)
                .envs(settings.iter().cloned());
            processes.start(&format!("gateway {number}"), &mut gateway, || is_ready(place.ops)).await?;
        }
        Ok(places)
    }

    async fn start_redis(&self, processes: &mut Processes) -> Result<()> {
        let folder = demo_folder()?;
        let port = self.redis_port.to_string();
        let mut redis = Command::new("redis-server");
        redis
            .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"])
            // Otherwise it tells at length of how it starts.
            .args(["--loglevel", "warning"])
            .arg("--dir")
            .arg(folder)
            .stdin(Stdio::null());
        let address = loopback(self.redis_port);
        processes.start("redis-server", &mut redis, || answers(address, b"PING\r\n", b"+PONG")).await
    }

    fn redis_url(&self) -> String {
        format!("redis://{}", loopback(self.redis_port))
    }

    /// Where the gateway of that index, from 0, is.
    fn place(&self, index: u16) -> Result<Place> {
        let port =
            |first: u16| first.checked_add(index).map(loopback).context("there is no port above 65535");
        Ok(Place { client: port(self.port)?, grpc: port(self.grpc_port)?, ops: port(self.ops_port)? })
    }

    fn print_what_to_do(&self, places: &[Place], grpcurl: Option<String>) {
        if self.cluster {
            println!("\n  {} gateways are one cluster by Redis at {}", places.len(), self.redis_url());
            println!("\n  Open each in a window  (what is said in a room of one is heard in all)");
        } else {
            println!("\n  Open in two windows");
        }
        for Place { client, grpc, .. } in places {
            let query = if grpc.port() == GRPC_PORT { String::new() } else { format!("?grpc={grpc}") };
            println!("    http://{client}/{query}");
        }
        // By the last: what it publishes has to travel to be seen in the windows of the others.
        let Some(Place { grpc: api, .. }) = places.last() else { return };
        println!("\n  Publish to the room `lobby` from another terminal:\n");
        if let Some(grpcurl) = grpcurl {
            println!(
                "    {grpcurl} -plaintext -d '{EXAMPLE}' \\\n      {api} roomcast.v1.Publisher/Publish\n"
            );
            println!("  or without grpcurl:\n");
        }
        let to = if api.port() == GRPC_PORT { String::new() } else { format!(" --to {api}") };
        println!(
            "    cargo xtask publish{to} lobby news '{{\"room\":\"lobby\",\"text\":\"hello from a back end\"}}'"
        );
        println!("\n  Metrics");
        for Place { ops, .. } in places {
            println!("    http://{ops}/metrics");
        }
        println!("\n  Ctrl-C ends it.\n");
    }
}

const EXAMPLE: &str = r#"{"message":{"namespace":"/","rooms":["lobby"],"event":"news","arguments":"[{\"room\":\"lobby\",\"text\":\"hello from a back end\"}]"}}"#;

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn demo_folder() -> Result<PathBuf> {
    let folder = workspace::cache().join("demo");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// A key for the gateways of this run, which all of them must have.
fn write_secret() -> Result<PathBuf> {
    let mut key = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    let file = demo_folder()?.join("node-secret");
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(&file, digits).with_context(|| file.display().to_string())?;
    Ok(file)
}

fn is_ready(ops: SocketAddr) -> std::io::Result<bool> {
    let request = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    answers(ops, request, b"HTTP/1.1 200")
}

/// Whether what listens there answers `question` with what begins with `expected`.
fn answers(address: SocketAddr, question: &[u8], expected: &[u8]) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_PATIENCE)?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.write_all(question)?;
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer)?;
    Ok(answer == expected)
}
