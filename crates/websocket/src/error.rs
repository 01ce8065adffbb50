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
    /// A message over the limit, by its declared length.
    #[error("message too big")]
    TooBig,
}

impl Fault {
    /// The code to close with, for [`close_frame`](crate::close_frame).
    ///
    /// Source: RFC 6455 section 7.4.1.
    pub fn close_code(&self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotUtf8 => 1007,
            Self::TooBig => 1009,
        }
    }
}
