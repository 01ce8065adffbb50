//! What an operator may set of namespaces and of a shard's limits.

use core::net::{Ipv4Addr, Ipv6Addr};

use admission::Prefix;
use serde::{Deserialize, Serialize};

/// Limits of one gateway's clients. Each says what happens when it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Bytes that may wait for one client that does not read; one more and it is closed. Default 4194304.
    pub outbox_bytes: u32,
    /// How long a client may stay without joining a namespace before it is closed, in ms. Default 45000.
    pub connect_timeout_ms: u32,
    /// Namespaces one connection may have joined at once; one more is refused. Default 64.
    pub namespaces_per_connection: u16,
    /// Longest name of a namespace a client may ask for, in bytes; one with a longer name does not exist. Default 256.
    pub namespace_name_bytes: u16,
    /// Rooms one socket may be in, its own not counted; one more is refused. Default 1024.
    pub rooms_per_socket: u16,
    /// Longest room name a client may ask for, in bytes. Default 256.
    pub room_name_bytes: u16,
    /// Binary attachments of one packet; one more and the client is closed. Default 10, as current clients.
    pub attachments_per_packet: u8,
    /// Connections of one gateway; one more is refused with 503. Default 1000000.
    pub connections: u32,
    /// How long a new connection may take to send its request head, in ms. Default 10000.
    pub request_timeout_ms: u32,
    /// Bytes kept of the request of each connection, for back ends that fetch its sockets: address, URL and headers.
    /// Headers that do not fit are left out. Default 4096.
    pub handshake_bytes: u16,
    /// Bytes kept of what a socket authenticated with, for the same; more is not kept at all. Default 4096.
    pub auth_bytes: u16,
    /// Broadcasts that may wait for acknowledgements at once; one more is refused. Default 1000.
    pub pending_calls_max: u32,
    /// Packets, WebSocket frames or HTTP requests of one connection per second, and as many at once; one more and it is
    /// closed. 0 is no limit. Default 100000.
    pub packets_per_second: u32,
    /// Connections that one address may have open, and sessions; one more is refused with 429. 0 is no limit.
    /// Default 30000: no proxy that is not named in `client.trusted_proxies` has many more, for want of ports.
    pub connections_per_address: u32,
    /// New connections of one address per second, and new sessions, and as many at once; one more is refused with 429.
    /// 0 is no limit. Default 2000.
    pub new_connections_per_address: u32,
    /// IPv6 addresses that agree in so many bits are one address, in bits. Default 64, what one customer has at least.
    pub ipv6_prefix_bits: u8,
    /// Addresses that the limits per address do not hold for. Default: loopback.
    pub unlimited_addresses: Vec<Prefix>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            outbox_bytes: 4 * 1024 * 1024,
            connect_timeout_ms: 45_000,
            namespaces_per_connection: 64,
            namespace_name_bytes: 256,
            rooms_per_socket: 1024,
            room_name_bytes: 256,
            attachments_per_packet: 10,
            connections: 1_000_000,
            request_timeout_ms: 10_000,
            handshake_bytes: 4096,
            auth_bytes: 4096,
            pending_calls_max: 1000,
            packets_per_second: 100_000,
            connections_per_address: 30_000,
            new_connections_per_address: 2_000,
            ipv6_prefix_bits: 64,
            unlimited_addresses: vec![
                Prefix::around(Ipv4Addr::LOCALHOST.into(), 8),
                Prefix::around(Ipv6Addr::LOCALHOST.into(), 128),
            ],
        }
    }
}

/// What clients of the namespaces that `name` matches may do without any back end.
///
/// The first entry whose `name` matches decides; a namespace that no entry matches does not exist
/// (`Invalid namespace`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceConfig {
    /// The namespace, or a pattern in which `*` stands for any run of characters: `/`, `/chat`, `/tenant-*`.
    pub name: String,
    /// Who may connect. Default `none`: anyone, without a credential.
    #[serde(default)]
    pub auth: AuthConfig,
    /// What a refused client gets as the `data` of its `connect_error`. Default: no data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal_data: Option<serde_json::Value>,
    /// Rooms that every socket joins on connecting. Default none.
    #[serde(default)]
    pub join: Vec<String>,
    /// Event by which clients join rooms, and which. Default: they may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_join: Option<RoomRule>,
    /// Event by which clients leave rooms, and which. Default: they may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_leave: Option<RoomRule>,
    /// What happens to other client events; the first rule whose `event` matches decides, and an
    /// event without a rule is refused. Default none.
    #[serde(default)]
    pub events: Vec<EventRule>,
}

/// Who may connect to a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthConfig {
    /// Anyone.
    #[default]
    None,
    /// Nobody: the namespace exists for publishing only.
    Deny,
    /// Whoever sends one of these in `auth.token`; each is the SHA-256 of a token, 64 hex digits.
    Tokens(Vec<String>),
}

/// `emit(event, room, ack?)` by which a client changes its rooms.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RoomRule {
    /// The event's name, such as `join`.
    pub event: String,
    /// Patterns of the rooms it may name; `*` stands for any run of characters.
    pub rooms: Vec<String>,
}

/// What happens to client events whose name `event` matches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EventRule {
    /// The event's name, or a pattern in which `*` stands for any run of characters.
    pub event: String,
    /// What is done with it.
    pub action: EventAction,
    /// Whether the sender gets a relayed event too. Default false.
    #[serde(default)]
    pub include_sender: bool,
    /// Whether the gateway acknowledges it when the client asks. Default true.
    #[serde(default = "yes")]
    pub acknowledge: bool,
}

/// What is done with a client event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventAction {
    /// To the room that its first argument names, which the sender must be in.
    RelayToRoom,
    /// To every room the sender has joined, its own not counted.
    RelayToRooms,
    /// To every socket of the namespace.
    RelayToAll,
    /// To nobody; acknowledged as an error if the client asked.
    Refuse,
    /// To nobody; acknowledged if the client asked.
    Acknowledge,
}

fn yes() -> bool {
    true
}

impl NamespaceConfig {
    /// What `--dev` opens: every namespace, `join` and `leave` of any room, every other event relayed
    /// to the rooms its sender has joined, without the sender, and acknowledged.
    pub fn dev() -> Self {
        let any_room = |event: &str| Some(RoomRule { event: event.into(), rooms: vec!["*".into()] });
        Self {
            name: "*".into(),
            auth: AuthConfig::None,
            refusal_data: None,
            join: Vec::new(),
            may_join: any_room("join"),
            may_leave: any_room("leave"),
            events: vec![EventRule {
                event: "*".into(),
                action: EventAction::RelayToRooms,
                include_sender: false,
                acknowledge: true,
            }],
        }
    }
}
