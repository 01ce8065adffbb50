//! How gateways reach each other's clients.

use std::net::SocketAddr;
use std::time::Duration;

use ::adapter::{DEFAULT_PREFIX, SubscriptionMode};
use cluster::{ClusterConfig, Family, ListenMode};
use serde::{Deserialize, Deserializer, Serialize, de};
use socketio::DecodeLimits;

/// How gateways reach each other's clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AdapterConfig {
    /// How. Default `memory`. Environment: `ROOMCAST__ADAPTER__KIND`.
    pub(crate) kind: AdapterKind,
    /// What the names of channels and keys in Redis begin with: `key` of Node's adapter and emitter. Default
    /// `socket.io`.
    pub(crate) prefix: String,
    /// What a gateway with `kind = "redis"` listens to. Default `exact`.
    pub(crate) subscriptions: SubscriptionsConfig,
    /// Which rooms have a channel of their own with `kind = "redis-sharded"`: `subscriptionMode` of Node's adapter,
    /// the same on all nodes. Default `dynamic`.
    pub(crate) mode: ModeConfig,
    /// How long a room stays subscribed after its last member has left, in ms. Default 1000.
    pub(crate) linger_ms: u32,
    /// How long other gateways wait for one that is silent before they count it as gone, in ms. Default 6000.
    pub(crate) lease_ms: u32,
}

impl Default for AdapterConfig {
    fn default() -> Self {
        Self {
            kind: AdapterKind::Memory,
            prefix: DEFAULT_PREFIX.to_owned(),
            subscriptions: SubscriptionsConfig::Exact,
            mode: ModeConfig::Dynamic,
            linger_ms: 1_000,
            lease_ms: 6_000,
        }
    }
}

/// How broadcasts travel between gateways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AdapterKind {
    /// Not at all: one process.
    #[default]
    Memory,
    /// Over Redis, as `@socket.io/redis-adapter` and the emitters do.
    Redis,
    /// Over sharded channels of Redis 7, as the sharded adapter of the same package does.
    RedisSharded,
}

const KINDS: &[&str] = &["memory", "redis", "redis-sharded"];

impl<'de> Deserialize<'de> for AdapterKind {
    // By hand: the kind to come is a known word, and deserves a better answer than "unknown".
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "memory" => Ok(Self::Memory),
            "redis" => Ok(Self::Redis),
            "redis-sharded" => Ok(Self::RedisSharded),
            "redis-streams" => {
                Err(de::Error::custom("not in this version; allowed: memory, redis, redis-sharded"))
            }
            other => Err(de::Error::unknown_variant(other, KINDS)),
        }
    }
}

/// What a gateway listens to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SubscriptionsConfig {
    /// The channels of the rooms that have members here.
    #[default]
    Exact,
    /// Everything of the namespaces that have sockets here, as Node does.
    Pattern,
}

/// Which rooms have a channel of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ModeConfig {
    /// None.
    Static,
    /// Those that do not look like socket ids.
    #[default]
    Dynamic,
    /// All.
    DynamicPrivate,
}

impl AdapterConfig {
    /// The family that nodes speak; `None` in one process.
    pub(crate) fn family(&self) -> Option<Family> {
        match self.kind {
            AdapterKind::Memory => None,
            AdapterKind::Redis => Some(Family::Classic),
            AdapterKind::RedisSharded => Some(Family::Sharded(match self.mode {
                ModeConfig::Static => SubscriptionMode::Static,
                ModeConfig::Dynamic => SubscriptionMode::Dynamic,
                ModeConfig::DynamicPrivate => SubscriptionMode::DynamicPrivate,
            })),
        }
    }

    /// What the cluster's node is made with; `None` in one process.
    pub(crate) fn cluster(
        &self,
        node: u16,
        name: String,
        address: Option<SocketAddr>,
        attachments_max: usize,
    ) -> Option<ClusterConfig> {
        Some(ClusterConfig {
            prefix: self.prefix.clone(),
            listen: match self.subscriptions {
                SubscriptionsConfig::Exact => ListenMode::Exact,
                SubscriptionsConfig::Pattern => ListenMode::Pattern,
            },
            linger: Duration::from_millis(self.linger_ms.into()),
            lease: Duration::from_millis(self.lease_ms.into()),
            address: address.map(|address| address.to_string()),
            decode_limits: DecodeLimits { attachments_max, ..DecodeLimits::default() },
            ..ClusterConfig::new(self.family()?, node, name)
        })
    }
}
