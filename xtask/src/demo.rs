//! `cargo xtask demo`: a gateway with the demo page on loopback, until Ctrl-C.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::{tools, workspace};

const READY_PATIENCE: Duration = Duration::from_secs(20);
const READY_PAUSE: Duration = Duration::from_millis(50);
const STOP_PATIENCE: Duration = Duration::from_secs(30);
const GRPC_PORT: u16 = 50051;

/// Starts the demo.
#[derive(Args)]
pub(crate) struct Demo {
    /// Port of the page and of the clients.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Port of the publish API.
    #[arg(long, default_value_t = GRPC_PORT)]
    grpc_port: u16,
    /// Port of metrics and health.
    #[arg(long, default_value_t = 9000)]
    ops_port: u16,
}

impl Demo {
    /// Runs until a signal asks it to end, then stops the gateway.
    ///
    /// # Errors
    /// When a tool is missing, the build fails, or the gateway ends by itself.
    pub(crate) fn run(self) -> Result<()> {
        tools::node()?;
        tools::npm_packages()?;
        let bundle = tools::client_bundle()?;
        let build = workspace::cargo(&["build", "--release", "--package", "roomcast-gateway"]).status()?;
        ensure!(build.success(), "the gateway does not build");
        let grpcurl = tools::grpcurl();

        let mut command = Command::new(workspace::gateway("release"));
        command
            .arg("--dev")
            .env("ROOMCAST__CLIENT__LISTEN", loopback(self.port).to_string())
            .env("ROOMCAST__GRPC__LISTEN", loopback(self.grpc_port).to_string())
            .env("ROOMCAST__OPS__LISTEN", loopback(self.ops_port).to_string())
            .env("ROOMCAST__CLIENT__BUNDLE_DIR", bundle)
            // A terminal sends Ctrl-C to the whole group; the gateway is to end once, when we say so.
            .process_group(0);
        let mut gateway = command.spawn().with_context(|| command.get_program().display().to_string())?;
        if let Err(error) = wait_until_ready(&mut gateway, loopback(self.ops_port)) {
            terminate(gateway.id())?;
            gateway.wait()?;
            return Err(error);
        }
        self.print_what_to_do(grpcurl.as_deref().map(|path| path.display().to_string()));
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(supervise(gateway))
    }

    fn print_what_to_do(&self, grpcurl: Option<String>) {
        let api = loopback(self.grpc_port);
        let (query, to) = match self.grpc_port {
            GRPC_PORT => (String::new(), String::new()),
            _ => (format!("?grpc={api}"), format!(" --to {api}")),
        };
        println!("\n  Open in two windows    http://{}/{query}", loopback(self.port));
        println!("\n  Publish to the room `lobby` from another terminal:\n");
        if let Some(grpcurl) = grpcurl {
            println!(
                "    {grpcurl} -plaintext -d '{EXAMPLE}' \\\n      {api} roomcast.v1.Publisher/Publish\n"
            );
            println!("  or without grpcurl:\n");
        }
        println!(
            "    cargo xtask publish{to} lobby news '{{\"room\":\"lobby\",\"text\":\"hello from a back end\"}}'"
        );
        println!("\n  Metrics                http://{}/metrics", loopback(self.ops_port));
        println!("  Ctrl-C ends it.\n");
    }
}

const EXAMPLE: &str = r#"{"message":{"namespace":"/","rooms":["lobby"],"event":"news","arguments":"[{\"room\":\"lobby\",\"text\":\"hello from a back end\"}]"}}"#;

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Asks the ready check until it says 200.
fn wait_until_ready(gateway: &mut Child, ops: SocketAddr) -> Result<()> {
    let until = Instant::now() + READY_PATIENCE;
    while Instant::now() < until {
        if let Some(status) = gateway.try_wait()? {
            bail!("the gateway ended with {status} before it was ready; its own words are above");
        }
        if is_ready(ops).unwrap_or(false) {
            return Ok(());
        }
        thread::sleep(READY_PAUSE);
    }
    bail!("the gateway was not ready within {READY_PATIENCE:?}")
}

fn is_ready(ops: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&ops, READY_PATIENCE)?;
    stream.set_read_timeout(Some(READY_PATIENCE))?;
    stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head.starts_with(b"HTTP/1.1 200"))
}

/// Waits for a signal or the gateway's end, whichever is first, and leaves no gateway behind.
async fn supervise(mut gateway: Child) -> Result<()> {
    let pid = gateway.id();
    let (report, mut end) = oneshot::channel::<std::io::Result<ExitStatus>>();
    thread::spawn(move || report.send(gateway.wait()));
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = &mut end => bail!("the gateway ended by itself with {}", ended??),
        _ = interrupt.recv() => {}
        _ = terminated.recv() => {}
    }
    println!("\nStopping …");
    terminate(pid)?;
    let ended = tokio::time::timeout(STOP_PATIENCE, end).await;
    let status =
        ended.with_context(|| format!("gateway {pid} did not end within {STOP_PATIENCE:?}"))???;
    ensure!(status.success(), "the gateway ended with {status}");
    Ok(())
}

/// Sends SIGTERM; by the shell, because the standard library only knows SIGKILL.
fn terminate(pid: u32) -> Result<()> {
    Command::new("sh").args(["-c", "kill -TERM \"$0\"", &pid.to_string()]).status()?;
    Ok(())
}
