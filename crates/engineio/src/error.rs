//! What the other side can do wrong, and what it is told.

/// An offence of the client. Each ends its session (or only its probe), never another's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// A text packet with nothing in it, or a payload with an empty packet.
    #[error("empty packet")]
    EmptyPacket,
    /// The first character of a packet is none of the packet types.
    #[error("unknown packet type {0:?}")]
    UnknownPacketType(char),
    /// A payload that is not UTF-8.
    #[error("payload is not UTF-8")]
    NotUtf8,
    /// A length prefix that is missing, malformed or does not fit its payload (Engine.IO 3).
    #[error("malformed payload length")]
    MalformedLength,
    /// A form that holds no packets (0.9).
    #[error("malformed form")]
    MalformedForm,
    /// A binary polling body from an Engine.IO 4 client.
    #[error("binary polling body on Engine.IO 4")]
    BinaryBody,
    /// A ping from a client that must not send any, or a pong likewise.
    #[error("heartbeat in the wrong direction")]
    WrongHeartbeat,
    /// A second poll or push while the first is still open.
    #[error("overlapping {0} request")]
    Overlap(&'static str),
    /// A first packet on an upgrading WebSocket other than the probe.
    #[error("unexpected packet on an upgrading transport")]
    UnexpectedOnProbe,
    /// More packets in one polling body than [`PACKETS_PER_BODY_MAX`](crate::PACKETS_PER_BODY_MAX).
    #[error("too many packets in one body")]
    TooManyPackets,
}

/// Why a session ended, in the words of the reference server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client closed it: close frame, end of stream or close packet.
    TransportClose,
    /// The transport broke or was misused.
    TransportError,
    /// No heartbeat in time.
    PingTimeout,
    /// A packet that is none.
    ParseError,
    /// The server closed it: Socket.IO offence, limit, connect timeout.
    ForcedClose,
    /// The server is going away.
    ShuttingDown,
}

impl CloseReason {
    /// The words that the reference server reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ForcedClose => "forced close",
            Self::ShuttingDown => "server shutting down",
        }
    }
}

impl PeerFault {
    /// The reason a session ends with after this fault.
    pub const fn close_reason(&self) -> CloseReason {
        match self {
            Self::WrongHeartbeat | Self::Overlap(_) | Self::BinaryBody | Self::UnexpectedOnProbe => {
                CloseReason::TransportError
            }
            _ => CloseReason::ParseError,
        }
    }
}

/// A request that is refused before it reaches a session.
///
/// Source: Engine.IO reference, errors over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpFault {
    /// Missing, unknown or disabled transport.
    TransportUnknown,
    /// No session has this sid (any more).
    SessionUnknown,
    /// A handshake that is not a GET.
    BadHandshakeMethod,
    /// The request does not fit its session.
    BadRequest,
    /// Refused by policy (origin).
    Forbidden,
    /// Engine.IO 3 where it is not allowed.
    UnsupportedVersion,
}

impl HttpFault {
    /// The number in the JSON body.
    pub const fn code(self) -> u8 {
        match self {
            Self::TransportUnknown => 0,
            Self::SessionUnknown => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden => 4,
            Self::UnsupportedVersion => 5,
        }
    }

    /// The text in the JSON body; also the whole body of a refused WebSocket upgrade.
    pub const fn message(self) -> &'static str {
        match self {
            Self::TransportUnknown => "Transport unknown",
            Self::SessionUnknown => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedVersion => "Unsupported protocol version",
        }
    }

    /// The HTTP status of the JSON answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            _ => 400,
        }
    }

    /// The JSON body, `{"code":1,"message":"Session ID unknown"}`.
    pub fn body(self) -> String {
        format!(r#"{{"code":{},"message":"{}"}}"#, self.code(), self.message())
    }
}
