//! The programs that can be put under load, each with the settings its own documentation recommends.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{
    Launch,
    process::{Config, Words},
};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub(crate) enum Kind {
    /// `roomcast-gateway`.
    Gateway,
    /// The bare loop of `write` calls: the limit.
    Bare,
    /// The bare loop that gathers a turn's messages for one `writev` per socket.
    Batched,
    /// socketioxide behind axum.
    Socketioxide,
    /// Node's Socket.IO with ws.
    Node,
    /// A server made of the library that Centrifugo is made of.
    Centrifuge,
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) gateway: PathBuf,
    /// What set-up has built or installed for the peers.
    pub(crate) peers: PathBuf,
}

/// The ports of one process.
pub(super) struct Place {
    pub(super) clients: SocketAddr,
    pub(super) grpc: SocketAddr,
    /// Where other nodes reach this one.
    pub(super) gateways: SocketAddr,
    pub(super) redis: Option<SocketAddr>,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Gateway, Self::Bare, Self::Batched, Self::Socketioxide, Self::Node, Self::Centrifuge];

    /// The head of its column.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Gateway => "Roomcast",
            Self::Bare => "bare `write`",
            Self::Batched => "bare `writev`",
            Self::Socketioxide => "socketioxide",
            Self::Node => "Node",
            Self::Centrifuge => "Centrifuge",
        }
    }

    /// Whether it is a whole server, and not a loop that only shows what the kernel takes.
    pub(crate) fn is_server(self) -> bool {
        !matches!(self, Self::Bare | Self::Batched)
    }
}

impl Programs {
    /// The file that must be there for a server to start; `None` if it is this program.
    pub(crate) fn file(&self, kind: Kind) -> Option<PathBuf> {
        match kind {
            Kind::Gateway => Some(self.gateway.clone()),
            Kind::Bare | Kind::Batched => None,
            Kind::Socketioxide => Some(self.peers.join("socketioxide-peer")),
            Kind::Node => Some(self.peers.join("node/server.mjs")),
            Kind::Centrifuge => Some(self.peers.join("centrifuge-peer")),
        }
    }

    /// The publisher without sockets, which is built beside the gateway.
    pub(super) fn publisher(&self, grpc: SocketAddr, redis: SocketAddr) -> anyhow::Result<Words> {
        let program = word(&self.gateway.with_file_name("roomcast-publisher"))?;
        let text = format!(
            "grpc = {{ listen = \"{grpc}\" }}\nops = {{ enabled = false }}\nlog = {{ filter = \"warn\" }}\n\
             adapter = {{ kind = \"redis\" }}\nredis = {{ url = \"redis://{redis}\" }}\n"
        );
        let config = Config { name: "publisher.toml", text };
        Ok(Words { words: vec![program, "--config".into()], environment: Vec::new(), config: Some(config) })
    }
}

impl Launch {
    /// The words and files that start one process.
    pub(super) fn command(&self, place: &Place) -> anyhow::Result<Words> {
        let (port, pings) = (place.clients.port().to_string(), self.ping_interval_ms.to_string());
        let url = place.redis.map(|redis| format!("redis://{redis}"));
        let program = match self.programs.file(self.kind) {
            Some(file) => word(&file)?,
            None => word(&std::env::current_exe()?)?,
        };
        let listen = place.clients.to_string();
        let words = match self.kind {
            Kind::Gateway => {
                let config = Config { name: "gateway.toml", text: self.config(place) };
                let words = vec![program, "--config".into()];
                return Ok(Words { words, environment: Vec::new(), config: Some(config) });
            }
            Kind::Bare | Kind::Batched => {
                let mut words = vec![program, "bare".into(), "--listen".into(), listen];
                words.extend((self.kind == Kind::Batched).then(|| "--batch".into()));
                if self.ping_interval_ms < Self::NO_PINGS_MS {
                    words.extend(["--ping-interval".into(), pings]);
                }
                words
            }
            Kind::Socketioxide => [vec![program, port, pings], url.into_iter().collect()].concat(),
            Kind::Node => {
                let mut words = vec!["node".into(), program, "--port".into(), port];
                words.extend(["--ping-interval-ms".into(), pings]);
                words.extend(url.into_iter().flat_map(|url| ["--redis".into(), url]));
                words
            }
            Kind::Centrifuge => {
                let redis = place.redis.map(|redis| redis.to_string());
                [vec![program, port, pings], redis.into_iter().collect()].concat()
            }
        };
        let environment = match self.kind {
            Kind::Node => vec![("NODE_ENV", "production".to_owned())],
            _ => Vec::new(),
        };
        Ok(Words { words, environment, config: None })
    }

    /// The namespace `/` is open, its rooms too, `m` goes to the room it names and `echo` is acknowledged.
    fn config(&self, place: &Place) -> String {
        let Self { shards, ping_interval_ms, .. } = self;
        let Place { clients, grpc, gateways, redis } = place;
        let cluster = redis.map_or_else(String::new, |redis| {
            format!(
                "adapter = {{ kind = \"redis\" }}\nredis = {{ url = \"redis://{redis}\" }}\n\
                 cluster = {{ listen = \"{gateways}\", insecure = true }}\n"
            )
        });
        format!(
            r#"
client = {{ listen = "{clients}", shards = {shards} }}
grpc = {{ listen = "{grpc}" }}
ops = {{ enabled = false }}
engine = {{ ping_interval_ms = {ping_interval_ms} }}
log = {{ filter = "warn" }}
shutdown = {{ drain_ms = 1, deadline_ms = 30000 }}
{cluster}
[[namespaces]]
name = "/"
may_join = {{ event = "join", rooms = ["*"] }}
events = [{{ event = "m", action = "relay-to-room" }}, {{ event = "echo", action = "acknowledge" }}]
"#
        )
    }
}

/// A Redis that keeps nothing on disk.
pub(super) fn redis_server(at: SocketAddr) -> Words {
    let words = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"];
    let mut words: Vec<String> = words.map(String::from).into();
    words.push(at.port().to_string());
    Words { words, environment: Vec::new(), config: None }
}

fn word(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?.to_owned())
}
