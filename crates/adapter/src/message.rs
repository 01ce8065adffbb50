//! Broadcasts, as every node understands them, before any wire form.

use bytes::Bytes;
use socketio::{NamespaceName, RoomName};

/// Whom a broadcast is for: the union of `rooms` (everyone when empty) minus the union of `except`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// Rooms to reach; empty means every socket of the namespace.
    pub rooms: Vec<RoomName>,
    /// Rooms to leave out; a socket id is a room too.
    pub except: Vec<RoomName>,
}

/// Whether a message may be dropped for a client that cannot take it at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Queued until the client takes it, or the client is closed.
    #[default]
    Reliable,
    /// Dropped for clients that are not ready for it.
    Volatile,
}

/// One event for many sockets of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// The namespace whose sockets get it.
    pub namespace: NamespaceName,
    /// Which of them.
    pub targets: Targets,
    /// What happens for clients that are not ready.
    pub delivery: Delivery,
    /// What they get.
    pub event: Event,
}

/// An event as clients see it: valid JSON text, and the binary parts that its placeholders name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// A JSON array whose first element is the event name, `["name",arg,…]`, byte for byte as sent.
    pub json: Bytes,
    /// Binary parts; `{"_placeholder":true,"num":n}` in `json` stands for number n.
    pub attachments: Vec<Bytes>,
}
