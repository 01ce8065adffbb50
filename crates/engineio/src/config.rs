//! What an operator may set of Engine.IO.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Engine.IO heartbeat, transports and limits. Defaults equal the reference server's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// Pause between server pings, in ms, 1 to 3,600,000. Default 25000.
    /// Environment: `ROOMCAST__ENGINE__PING_INTERVAL_MS`.
    pub ping_interval_ms: u32,
    /// How long a pong may take, in ms, 1 to 3,600,000. Default 20000.
    pub ping_timeout_ms: u32,
    /// How long an upgrade to WebSocket may take from its first byte, in ms. Default 10000.
    pub upgrade_timeout_ms: u32,
    /// Largest message, polling body or WebSocket message accepted, in bytes. Default 1000000.
    pub max_payload_bytes: u32,
    /// Transports offered. Default `["polling", "websocket"]`.
    pub transports: Vec<Transport>,
    /// Whether a polling session may move to WebSocket. Default true.
    pub allow_upgrades: bool,
    /// Whether clients of Engine.IO 3 (socket.io-client 1.x and 2.x) are served. Default false.
    pub allow_eio3: bool,
    /// Whether clients of Socket.IO 0.9 are served. Default false.
    pub allow_socketio_09: bool,
    /// Whether text that a client of Engine.IO 3 pushes over polling, and that looks encoded to UTF-8 twice, is taken
    /// for that, as clients 1.4 to 1.7 do it and nothing else tells them from 2.x. Default true.
    pub eio3_guess_encoding: bool,
}

/// How packets travel between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// One WebSocket.
    WebSocket,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            ping_interval_ms: 25_000,
            ping_timeout_ms: 20_000,
            upgrade_timeout_ms: 10_000,
            max_payload_bytes: 1_000_000,
            transports: vec![Transport::Polling, Transport::WebSocket],
            allow_upgrades: true,
            allow_eio3: false,
            allow_socketio_09: false,
            eio3_guess_encoding: true,
        }
    }
}

impl EngineConfig {
    /// Pause between heartbeats.
    pub fn ping_interval(&self) -> Duration {
        Duration::from_millis(self.ping_interval_ms.into())
    }

    /// Patience for the answer to a heartbeat.
    pub fn ping_timeout(&self) -> Duration {
        Duration::from_millis(self.ping_timeout_ms.into())
    }

    /// Patience for an upgrade.
    pub fn upgrade_timeout(&self) -> Duration {
        Duration::from_millis(self.upgrade_timeout_ms.into())
    }

    /// Whether `transport` may be used at all.
    pub fn allows(&self, transport: Transport) -> bool {
        self.transports.contains(&transport)
    }

    /// What an `open` packet lists under `upgrades` for a session that starts on `transport`.
    pub fn upgrades_from(&self, transport: Transport) -> &'static [&'static str] {
        match transport {
            Transport::Polling if self.allow_upgrades && self.allows(Transport::WebSocket) => &["websocket"],
            _ => &[],
        }
    }
}
