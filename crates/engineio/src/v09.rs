//! Socket.IO 0.9, protocol 1: what Engine.IO has become of. URLs, the handshake, bodies and the session; its packets are
//! the affair of the `socketio` crate, but for those that a session lives by.
//!
//! A client fetches a line of text from `/socket.io/1/`, which names its session, and then opens a transport of its
//! choice for it. There is no upgrade. Heartbeats are the server's, over WebSocket alone: a poll is a sign of life.
//!
//! Source: socket.io 0.9.19 and socket.io-client 0.9.17, which agree with no specification but each other.

mod body;
mod handshake;
mod session;

pub use body::{BodyEncoder, Packets, decode_body, decode_message};
pub use handshake::{Request, handshake_line, refusal_script, wrap_jsonp};
pub use session::Session;

/// The answer to a transport whose session is unknown: `client not handshaken`, and the advice to do so.
pub const NOT_HANDSHAKEN: &str = "7:::1+0";
