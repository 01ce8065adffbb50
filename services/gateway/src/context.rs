//! What the parts of one shard's thread share: read-only settings, metrics, and a count.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use telemetry::ShardMetrics;
use tokio::sync::watch;

use crate::{bundle::Bundle, config::ClientConfig, tls::Tls};

/// One per shard; never leaves its thread.
pub(crate) struct Context {
    pub(crate) client: ClientConfig,
    /// How long a request head or body may take.
    pub(crate) request_timeout: Duration,
    /// Connections that one shard may hold.
    pub(crate) connections_max: usize,
    pub(crate) tls: Option<Tls>,
    pub(crate) bundle: Option<Arc<Bundle>>,
    pub(crate) metrics: Rc<ShardMetrics>,
    /// True once HTTP connections are to end with the request they are at.
    pub(crate) closing: watch::Sender<bool>,
    /// Connections that HTTP tasks of this shard hold.
    pub(crate) http_connections: Cell<usize>,
}

impl Context {
    /// Whether `connections` are as many as this shard may hold.
    pub(crate) fn is_full(&self, connections: usize) -> bool {
        connections >= self.connections_max
    }
}
