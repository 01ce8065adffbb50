//! What the parts of one shard's thread share: read-only settings, metrics, and counts.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use admission::{Quotas, Rate};
use telemetry::ShardMetrics;
use tokio::sync::watch;

use crate::{
    bundle::Bundle,
    cluster::ClusterHandle,
    config::ClientConfig,
    occupancy::{Counts, Occupancy},
    peers::Forwarder,
    tls::Tls,
};

/// One per shard; never leaves its thread.
pub(crate) struct Context {
    pub(crate) client: ClientConfig,
    /// How long a request head or body may take.
    pub(crate) request_timeout: Duration,
    /// How long a client may take nothing of an answer: as long as a session may be silent.
    pub(crate) stall_timeout: Duration,
    pub(crate) occupancy: Occupancy,
    /// What addresses have taken of the process.
    pub(crate) quotas: Arc<Quotas>,
    /// How many requests one connection may send; `None` is any number.
    pub(crate) request_rate: Option<Rate>,
    pub(crate) tls: Option<Tls>,
    pub(crate) bundle: Option<Arc<Bundle>>,
    /// The way to the other nodes; `None` with the memory adapter.
    pub(crate) cluster: Option<ClusterHandle>,
    pub(crate) metrics: Rc<ShardMetrics>,
    /// What reaches other gateways, if there can be any.
    pub(crate) forwarder: Option<Forwarder>,
    /// Requests and WebSockets of other gateways' sessions that pass through here now.
    pub(crate) passing: Cell<usize>,
    /// Until when clients are closed, once they are.
    pub(crate) draining: watch::Sender<Option<Instant>>,
    /// True once HTTP connections are to end with the request they are at.
    pub(crate) closing: watch::Sender<bool>,
    /// The number of this shard.
    pub(crate) number: u8,
}

impl Context {
    /// What this shard holds.
    pub(crate) fn counts(&self) -> &Counts {
        self.occupancy.shard(self.number)
    }
}
