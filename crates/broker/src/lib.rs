//! One shard: sessions, namespaces, rooms and outboxes behind inputs and outputs, without IO.

mod config;

pub use config::{AuthConfig, EventAction, EventRule, LimitsConfig, NamespaceConfig, RoomRule};
