//! RFC 6455 for servers, and RFC 7692 without context, without IO: messages out of the bytes of a client, frames for the bytes to it.

mod decoder;
mod deflate;
mod error;
mod extension;
mod frame;
mod header;
mod mask;
mod message;
#[cfg(test)]
mod peer;

pub use decoder::{Decoder, Step};
pub use deflate::{Deflater, Inflater};
pub use error::Fault;
pub use extension::Deflate;
pub use frame::{FrameHeader, close_frame, frame, frame_header};
pub use header::Opcode;
pub use message::Message;

/// The `Sec-WebSocket-Accept` that answers a request's `Sec-WebSocket-Key`.
///
/// Source: RFC 6455 section 4.2.2.
pub fn accept_key(sec_websocket_key: &str) -> String {
    tungstenite::handshake::derive_accept_key(sec_websocket_key.as_bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_accept_key_is_that_of_the_rfc() {
        assert_eq!(super::accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
