//! The process under load: started, asked, and ended.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

/// How long a server may take to listen; valgrind translates all of it first.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end.
const END_PATIENCE: Duration = Duration::from_secs(60);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// `roomcast-gateway`.
    Gateway,
    /// The bare loop of `write` calls: the limit.
    Bare,
}

/// How to start it.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) kind: Kind,
    /// The gateway's binary.
    pub(crate) gateway: PathBuf,
    pub(crate) shards: u8,
    pub(crate) ping_interval_ms: u32,
}

/// A running server; it is killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) clients: SocketAddr,
    pub(crate) grpc: SocketAddr,
    directory: TempDir,
}

impl Launch {
    /// Starts the server and waits until it listens.
    ///
    /// # Errors
    /// When it does not, with what it printed.
    pub(crate) fn start(&self) -> anyhow::Result<Server> {
        self.start_under(&[])
    }

    /// As [`Self::start`], under a tool such as valgrind: the words in front of the server's own.
    pub(crate) fn start_under(&self, tool: &[String]) -> anyhow::Result<Server> {
        let directory = tempfile::tempdir()?;
        let (clients, grpc) = (free_port()?, free_port()?);
        let mut words: Vec<String> = tool.to_vec();
        words.extend(self.command(directory.path(), clients, grpc)?);
        let output = File::create(directory.path().join("output"))?;
        let (program, arguments) = words.split_first().context("no program")?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let mut server = Server { child, clients, grpc, directory };
        server.wait_until_it_listens()?;
        Ok(server)
    }

    fn command(
        &self,
        directory: &Path,
        clients: SocketAddr,
        grpc: SocketAddr,
    ) -> anyhow::Result<Vec<String>> {
        Ok(match self.kind {
            Kind::Gateway => {
                let config = directory.join("gateway.toml");
                fs::write(&config, self.config(clients, grpc))?;
                vec![word(&self.gateway)?, "--config".into(), word(&config)?]
            }
            Kind::Bare => {
                let own = std::env::current_exe()?;
                vec![word(&own)?, "bare".into(), "--listen".into(), clients.to_string()]
            }
        })
    }

    /// The namespace `/` is open, its rooms too, `m` goes to the room it names and `echo` is acknowledged.
    fn config(&self, clients: SocketAddr, grpc: SocketAddr) -> String {
        let Self { shards, ping_interval_ms, .. } = self;
        format!(
            r#"
client = {{ listen = "{clients}", shards = {shards} }}
grpc = {{ listen = "{grpc}" }}
ops = {{ enabled = false }}
engine = {{ ping_interval_ms = {ping_interval_ms} }}
log = {{ filter = "warn" }}
shutdown = {{ drain_ms = 1, deadline_ms = 30000 }}

[[namespaces]]
name = "/"
may_join = {{ event = "join", rooms = ["*"] }}
events = [{{ event = "m", action = "relay-to-room" }}, {{ event = "echo", action = "acknowledge" }}]
"#
        )
    }
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        while TcpStream::connect(self.clients).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at once ({status}): {}", self.output());
            }
            ensure!(start.elapsed() < START_PATIENCE, "the server does not listen: {}", self.output());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Tells the server to end, and waits.
    ///
    /// # Errors
    /// When it does not end in time.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        signal(self.pid(), "TERM")?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(start.elapsed() < END_PATIENCE, "the server does not end: {}", self.output());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn output(&self) -> String {
        fs::read_to_string(self.directory.path().join("output")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has usually ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Sends a signal, by its name.
///
/// # Errors
/// When the system has no `kill`.
pub(crate) fn signal(pid: u32, name: &str) -> io::Result<()> {
    Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().map(drop)
}

/// A port that was free a moment ago.
fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn word(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?.to_owned())
}
