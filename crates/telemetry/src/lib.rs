//! What can be measured and logged, named once: metrics, happenings, and how both leave the process.
//!
//! Crates without IO do not use this one: they return what happened, and the driver reports it here.

#[cfg(test)]
mod docs;
mod events;
mod init;
mod labels;
pub mod names;
mod publish;
mod repeats;
mod shard;

pub use events::{
    AcceptFailed, CertificateRefused, CertificateReloaded, ConnectionLimitReached, DrainDeadlinePassed,
    DrainFinished, DrainStarted, ForwardFailed, GatewayStarted, GatewayStopped, Happening, InsecureCluster,
    JwksLoaded, JwksRefused, KeysRefused, KeysReloaded, Listening, PeerRequestRefused, PeersExpected,
    PublishRefused, PublishServerFailed, ReadinessChanged, ShardFailed, SlowClientClosed, TlsFailed, emit,
};
pub use init::{InitError, LogConfig, LogFormat, check_filter, init, recorder};
pub use labels::{
    ConnectRefusal, FaultCause, ForwardFailure, ForwardedRequest, PeerRefusal, PublishRefusal, Refusal,
};
pub use metrics_exporter_prometheus::PrometheusHandle;
pub use publish::{PublishMetrics, publish_refused};
pub use shard::{ShardCounts, ShardMetrics};
