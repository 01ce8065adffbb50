//! What the process without clients may be told: the gateway's sections that mean something to it.

use std::collections::HashSet;
use std::time::Duration;

use redis_link::LinkConfig;
use serde::{Deserialize, Serialize};
use telemetry::LogConfig;

use super::check::{Check, Complaint, Settings};
use super::{AdapterConfig, AdapterKind, GrpcConfig, OpsConfig};

/// Everything one publisher is told. Sections that the gateway has too are the same, so that they can be copied.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PublisherConfig {
    /// How the gateways are reached: as they reach each other.
    pub(crate) adapter: AdapterConfig,
    /// The connection to Redis.
    pub(crate) redis: LinkConfig,
    /// The publish API.
    pub(crate) grpc: GrpcConfig,
    /// Metrics and health.
    pub(crate) ops: OpsConfig,
    /// Log lines.
    pub(crate) log: LogConfig,
    /// This process among others.
    pub(crate) node: PublisherNodeConfig,
    /// How the process ends.
    pub(crate) shutdown: PublisherShutdownConfig,
}

/// This process among others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PublisherNodeConfig {
    /// Its name in logs. Default: the host's.
    pub(crate) name: Option<String>,
}

/// How the process ends when it is told to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PublisherShutdownConfig {
    /// Time that calls which have begun may take, in ms. Default 10000.
    pub(crate) deadline_ms: u32,
}

impl Default for PublisherShutdownConfig {
    fn default() -> Self {
        Self { deadline_ms: 10_000 }
    }
}

impl PublisherShutdownConfig {
    /// Time that calls which have begun may take.
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms.into())
    }
}

impl PublisherConfig {
    /// This configuration as TOML that loads again to the same.
    ///
    /// # Errors
    /// None that is known: every value has a form in TOML.
    pub(crate) fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

impl Settings for PublisherConfig {
    fn complaints(&self, skipped: &HashSet<String>) -> Vec<Complaint> {
        let mut check = Check::new(skipped);
        if self.adapter.kind == AdapterKind::Memory {
            let problem = "a publisher has no clients and reaches the gateways by Redis; allowed: redis, redis-sharded, \
                whichever the gateways have (ROOMCAST__ADAPTER__KIND, and ROOMCAST__REDIS__URL for where Redis is)";
            check.complain("adapter.kind", problem);
        }
        if !self.grpc.enabled {
            check.complain("grpc.enabled", "allowed: true; a publisher serves nothing else");
        }
        check.number("adapter.linger_ms", self.adapter.linger_ms.into());
        check.number("adapter.lease_ms", self.adapter.lease_ms.into());
        check.number("shutdown.deadline_ms", self.shutdown.deadline_ms.into());
        check.guards(&self.grpc, &self.ops);
        check.ports(&[
            ("grpc.listen", true, self.grpc.listen),
            ("ops.listen", self.ops.enabled, self.ops.listen),
        ]);
        check.adapter(&self.adapter, &self.redis);
        check.grpc(&self.grpc);
        check.log(&self.log);
        check.complaints
    }
}
