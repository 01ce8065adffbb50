//! What a node is made with.

use std::time::Duration;

use adapter::SubscriptionMode;
use socketio::DecodeLimits;

/// Which protocol the nodes of a cluster speak. They must agree: the families do not understand each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `@socket.io/redis-adapter` over PUBLISH, with the emitters (`adapter.kind = "redis"`).
    Classic,
    /// The same package's sharded adapter over SPUBLISH (`adapter.kind = "redis-sharded"`).
    Sharded(SubscriptionMode),
}

/// What a node of the classic family listens to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListenMode {
    /// The channels of the rooms that have members here, and of their namespaces.
    #[default]
    Exact,
    /// Everything of the namespaces that have sockets here, as Node does.
    Pattern,
}

/// What a [`Node`](crate::Node) is made with.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The protocol.
    pub family: Family,
    /// What every channel begins with; Node calls it `key` or `channelPrefix`.
    pub prefix: String,
    /// What is listened to, by the classic family.
    pub listen: ListenMode,
    /// How long a channel stays subscribed after its last member has left: rooms that empty and fill at once
    /// cost nothing then.
    pub linger: Duration,
    /// How long others believe that this node lives after its last sign. A join waits for its channel at most a
    /// quarter of it, the time from one sign to the next.
    pub lease: Duration,
    /// This node's number, which its session ids name.
    pub node: u16,
    /// Its name for operators.
    pub name: String,
    /// Where other nodes forward requests of its sessions to, `ip:port`, if it can be reached.
    pub address: Option<String>,
    /// What is refused in messages of others.
    pub decode_limits: DecodeLimits,
}

impl ClusterConfig {
    /// A node with this number and name that nobody can forward to; all else as gateways have it by default.
    pub fn new(family: Family, node: u16, name: impl Into<String>) -> Self {
        Self {
            family,
            prefix: "socket.io".into(),
            listen: ListenMode::default(),
            linger: Duration::from_secs(1),
            lease: Duration::from_secs(6),
            node,
            name: name.into(),
            address: None,
            decode_limits: DecodeLimits::default(),
        }
    }
}
