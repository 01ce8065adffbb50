//! One shard: sessions, namespaces, rooms and outboxes behind inputs and outputs, without IO.

mod body;
mod compression;
mod config;
mod connection;
mod dialect;
mod double_encoding;
mod encoded;
mod handshake;
mod io;
mod joined;
mod outbox;
mod policy;
mod session;
mod shard;
mod wheel;

pub use config::{AuthConfig, EventAction, EventRule, LimitsConfig, NamespaceConfig, RoomRule};
pub use dialect::{Dialect, Framing, Parser, Wire};
pub use encoded::{Encoded, Publication};
pub use handshake::HandshakeRecord;
pub use io::{ConnectRefusal, ConnectionKey, Counters, Happening, LinkId, Output, Payload, PollId, Sink};
pub use shard::{Flow, Opening, Reach, Refusal, Shard, ShardConfig, TooManyCalls};
pub use wheel::TICK;
