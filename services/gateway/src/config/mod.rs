//! What an operator may set, and where it comes from.
//!
//! Four layers, the later ones first: flags, environment (`ROOMCAST__SECTION__KEY`), file, defaults. A section is
//! a typed struct that lives in the part it configures; this module nests them. `docs/configuration.md` lists
//! every key, and a test here holds it to the defaults.

mod adapter;
mod check;
mod cli;
mod client;
mod cluster;
mod decode;
mod explain;
mod fault;
mod load;
mod node;
mod publisher;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use broker::{LimitsConfig, NamespaceConfig};
use engineio::EngineConfig;
use publish::{AuthConfig, PublishConfig, ServerTlsConfig};
use redis_link::LinkConfig;
use serde::{Deserialize, Deserializer, Serialize, de};
use telemetry::LogConfig;

pub(crate) use adapter::{AdapterConfig, AdapterKind};
pub(crate) use cli::{Action, Arguments, Cli, PublisherCli};
pub(crate) use client::{ClientConfig, CorsConfig, TlsConfig};
pub(crate) use cluster::ClusterConfig;
pub(crate) use fault::ConfigFault;
pub(crate) use load::{load, load_publisher};
pub(crate) use node::NodeConfig;
pub(crate) use publisher::PublisherConfig;

/// Everything one gateway is told. The default opens no namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GatewayConfig {
    /// The port of the clients.
    pub(crate) client: ClientConfig,
    /// Heartbeat, transports and payload limit of Engine.IO.
    pub(crate) engine: EngineConfig,
    /// Limits of clients.
    pub(crate) limits: LimitsConfig,
    /// How gateways reach each other's clients.
    pub(crate) adapter: AdapterConfig,
    /// The connection to Redis, if the adapter needs one.
    pub(crate) redis: LinkConfig,
    /// The port between gateways.
    pub(crate) cluster: ClusterConfig,
    /// The publish API.
    pub(crate) grpc: GrpcConfig,
    /// Metrics and health.
    pub(crate) ops: OpsConfig,
    /// Log lines.
    pub(crate) log: LogConfig,
    /// This process among others.
    pub(crate) node: NodeConfig,
    /// How the process ends.
    pub(crate) shutdown: ShutdownConfig,
    /// What clients may do, the first entry whose name matches decides. Default none: nothing is open.
    pub(crate) namespaces: Vec<NamespaceConfig>,
}

impl GatewayConfig {
    /// This configuration as TOML that loads again to the same.
    ///
    /// # Errors
    /// When `refusal_data` of a namespace holds what TOML has no form for (null, integers over 2^63 - 1).
    pub(crate) fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Whether other gateways may own sessions whose requests come here: those that share an adapter with this
    /// one, or are named in `cluster.peers`.
    pub(crate) fn is_clustered(&self) -> bool {
        self.adapter.kind != AdapterKind::Memory || !self.cluster.peers.is_empty()
    }
}

/// The publish API that the gateway itself serves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GrpcConfig {
    /// Whether it is served. Default true.
    pub(crate) enabled: bool,
    /// Address and port. Default `127.0.0.1:50051`. Environment: `ROOMCAST__GRPC__LISTEN`.
    #[serde(deserialize_with = "address")]
    pub(crate) listen: SocketAddr,
    /// Whether it may listen on an address other than loopback without authentication. Default false.
    pub(crate) insecure: bool,
    /// Who may call. Default: nobody is asked.
    pub(crate) auth: AuthConfig,
    /// Certificate and key, and whose client certificates are taken. Default: in the clear.
    pub(crate) tls: Option<ServerTlsConfig>,
    /// Limits of what it takes.
    pub(crate) limits: PublishConfig,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 50_051)),
            insecure: false,
            auth: AuthConfig::default(),
            tls: None,
            limits: PublishConfig::default(),
        }
    }
}

/// The operations port: metrics and health.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OpsConfig {
    /// Whether it is served. Default true.
    pub(crate) enabled: bool,
    /// Address and port. Default `127.0.0.1:9000`. Environment: `ROOMCAST__OPS__LISTEN`.
    #[serde(deserialize_with = "address")]
    pub(crate) listen: SocketAddr,
    /// Whether it may listen on an address other than loopback without authentication. Default false.
    pub(crate) insecure: bool,
}

impl Default for OpsConfig {
    fn default() -> Self {
        Self { enabled: true, listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)), insecure: false }
    }
}

/// How the process ends when it is told to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ShutdownConfig {
    /// Time over which clients are closed, spread evenly, in ms. Default 10000.
    pub(crate) drain_ms: u32,
    /// Time after which the process exits whatever is left, in ms. Default 30000.
    pub(crate) deadline_ms: u32,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { drain_ms: 10_000, deadline_ms: 30_000 }
    }
}

impl ShutdownConfig {
    /// Time over which clients are closed.
    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms.into())
    }

    /// Time after which the process exits.
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms.into())
    }
}

/// Reads `ip:port` where nothing stands for a default.
fn optional_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    #[derive(Deserialize)]
    struct Address(#[serde(deserialize_with = "address")] SocketAddr);
    Ok(Option::<Address>::deserialize(deserializer)?.map(|Address(address)| address))
}

/// Reads `ip:port`; names are not resolved, because what they resolve to may change after the check.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        let allowed = "an IP address and a port, such as 127.0.0.1:3000 or [::1]:3000";
        de::Error::invalid_value(de::Unexpected::Str(&text), &allowed)
    })
}
