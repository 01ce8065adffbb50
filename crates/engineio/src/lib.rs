//! Engine.IO 3 and 4: packets, payloads, handshake and the session state machine, without IO.

mod config;
mod error;

pub use config::{EngineConfig, Transport};
pub use error::{CloseReason, HttpFault, PeerFault};

/// How many packets one polling body may hold; one more and the session is closed.
pub const PACKETS_PER_BODY_MAX: usize = 1024;

/// The protocol revision a client speaks, `EIO=` in its query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revision {
    /// Engine.IO 3: socket.io-client 1.x and 2.x.
    V3,
    /// Engine.IO 4: socket.io-client 3.x and 4.x.
    V4,
}
