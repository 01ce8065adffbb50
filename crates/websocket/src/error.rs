//! What a client can do wrong on its WebSocket.

/// An offence of the client, after which its connection is closed and nothing more of it is decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A frame that breaks a rule of the protocol, and which one.
    #[error("WebSocket protocol broken: {0}")]
    Protocol(&'static str),
    /// A text message or a close reason that is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A message over the limit, by its declared length or by what it inflates to.
    #[error("message too big")]
    TooBig,
    /// A message that is marked as compressed and is not.
    #[error("compressed message is not DEFLATE")]
    NotDeflate,
}

impl Fault {
    /// The code to close with, for [`close_frame`](crate::close_frame).
    ///
    /// Source: RFC 6455 section 7.4.1.
    pub fn close_code(&self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            // RFC 7692 names no code; the reference server's WebSockets take this one.
            Self::NotUtf8 | Self::NotDeflate => 1007,
            Self::TooBig => 1009,
        }
    }
}
