//! What a node must hear to serve its sockets, and how a join waits for it.

use socketio::{NamespaceName, RoomName};

/// One source of broadcasts: a whole namespace, or one room of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subscription {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The room; `None` for what is addressed to the whole namespace or to several rooms.
    pub room: Option<RoomName>,
}

/// Names who waits for a subscription to be in force; chosen by the shard, returned unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Whether joins have to wait for anything outside the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subscriptions {
    /// Everything is published within this process (`adapter.kind = "memory"`): nothing to wait for.
    #[default]
    NotNeeded,
    /// The first member of a room here makes the shard ask for a subscription, and whatever the join
    /// answers waits until it is confirmed.
    Confirmed,
}
