//! Engine.IO 3 and 4: packets, payloads, handshake and the session state machine, without IO.

#[cfg(test)]
mod arbitrary;
mod config;
mod error;
mod handshake;
mod jsonp;
mod lenient_base64;
mod packet;
mod payload;
mod payload_encoder;
mod pushing;
mod session;
mod sid;
mod timer;
pub mod v09;
#[cfg(test)]
mod vectors;

pub use config::{EngineConfig, Transport};
pub use error::{CloseReason, HttpFault, PeerFault};
pub use handshake::{Query, open_packet};
pub use jsonp::wrap_jsonp;
pub use packet::{Data, Packet, PacketKind};
pub use payload::{BodyForm, Packets, decode_body};
pub use payload_encoder::PayloadEncoder;
pub use pushing::Pushing;
pub use session::{Expired, Lane, Reaction, Session};
pub use sid::{Owner, SESSION_ID_CHARS, SessionId, SidKey};

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
