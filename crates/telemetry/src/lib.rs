//! What can be measured and logged, named once: metrics, happenings, and how both leave the process.
//!
//! Crates without IO do not use this one: they return what happened, and the driver reports it here.

mod cluster;
#[cfg(test)]
mod docs;
mod events;
mod init;
mod labels;
pub mod names;
mod publish;
mod repeats;
mod shard;

pub use cluster::{ClusterFigures, ClusterMetrics};
pub use events::{
    AcceptFailed, AddressLimited, CallRefused, CallsCutOff, CertificateRefused, CertificateReloaded,
    ClusterFailed, ConnectionLimitReached, DrainDeadlinePassed, DrainFinished, DrainStarted, ForwardFailed,
    GatewayStarted, GatewayStopped, Happening, InsecureCluster, JwksLoaded, JwksRefused, KeysRefused,
    KeysReloaded, Listening, NodeNumberTaken, NotPublished, PacketRateExceeded, PeerRequestRefused,
    PeersExpected, ProxyHeaderRefused, PublishRefused, PublishServerFailed, PublisherStarted,
    PublisherStopped, ReadinessChanged, RedisAway, RedisChannelsLost, RedisRestored, ShardFailed,
    SlowClientClosed, TlsFailed, TooManyInquiries, UndecodableMessage, emit,
};
pub use init::{InitError, LogConfig, LogFormat, check_filter, init, recorder};
pub use labels::{
    ChannelState, ConnectRefusal, FaultCause, ForwardFailure, ForwardedRequest, PeerRefusal, PublishRefusal,
    RedisConnection, Refusal,
};
pub use metrics_exporter_prometheus::PrometheusHandle;
pub use publish::{PublishMetrics, publish_refused};
pub use shard::{ShardCounts, ShardMetrics};
