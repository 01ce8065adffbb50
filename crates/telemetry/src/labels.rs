//! Label values as types: few per label, and none that a peer can choose.

use engineio::{CloseReason, HttpFault, PeerFault, Transport};

/// A label whose values are known when this is compiled.
pub(crate) trait Label: Copy + PartialEq + 'static {
    /// Every value, in the order of its column in a table of handles.
    const ALL: &'static [Self];

    /// The value as it is exported.
    fn as_str(self) -> &'static str;

    /// Where it stands in [`Self::ALL`].
    fn index(self) -> usize {
        Self::ALL.iter().position(|other| *other == self).unwrap_or(0)
    }
}

/// Defines an enum whose variants are the values of one label.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

label! {
    /// Why a request was refused before it reached a session.
    Refusal {
        /// Missing, unknown or disabled transport.
        TransportUnknown = "transport_unknown",
        /// No session has this sid (any more).
        SessionUnknown = "session_unknown",
        /// A handshake that is not a GET.
        BadHandshakeMethod = "bad_handshake_method",
        /// The request does not fit its session.
        BadRequest = "bad_request",
        /// An origin that is not allowed.
        Forbidden = "forbidden",
        /// Engine.IO 3 where it is not allowed.
        UnsupportedVersion = "unsupported_version",
        /// Not HTTP, or a head over its size or time.
        MalformedRequest = "malformed_request",
        /// A body over `engine.max_payload_bytes`.
        PayloadTooLarge = "payload_too_large",
        /// A TLS handshake that failed, or took too long.
        Tls = "tls",
        /// `limits.connections` reached.
        ConnectionLimit = "connection_limit",
        /// `limits.connections_per_address` reached.
        AddressConnections = "address_connections",
        /// `limits.new_connections_per_address` reached.
        AddressRate = "address_rate",
        /// More requests on one connection than `limits.packets_per_second`.
        RequestRate = "request_rate",
        /// No PROXY header where one is due, a malformed one, or one from a stranger.
        ProxyHeader = "proxy_header",
        /// The gateway is draining.
        Draining = "draining",
    }
}

impl From<HttpFault> for Refusal {
    fn from(fault: HttpFault) -> Self {
        match fault {
            HttpFault::TransportUnknown => Self::TransportUnknown,
            HttpFault::SessionUnknown => Self::SessionUnknown,
            HttpFault::BadHandshakeMethod => Self::BadHandshakeMethod,
            HttpFault::BadRequest => Self::BadRequest,
            HttpFault::Forbidden => Self::Forbidden,
            HttpFault::UnsupportedVersion => Self::UnsupportedVersion,
        }
    }
}

label! {
    /// What a client with a session did wrong.
    FaultCause {
        /// An Engine.IO packet or payload that is none.
        Packet = "packet",
        /// A ping or pong in the wrong direction.
        Heartbeat = "heartbeat",
        /// A second poll or push while the first was open.
        Overlap = "overlap",
        /// An upgrade without its probe.
        Probe = "probe",
        /// More packets in one body than allowed.
        TooManyPackets = "too_many_packets",
        /// More packets per second than `limits.packets_per_second`.
        PacketRate = "packet_rate",
        /// A WebSocket frame that breaks its protocol.
        Frame = "frame",
        /// A Socket.IO packet that is none, or may not come now.
        SocketPacket = "socket_packet",
    }
}

impl From<&PeerFault> for FaultCause {
    fn from(fault: &PeerFault) -> Self {
        match fault {
            PeerFault::WrongHeartbeat => Self::Heartbeat,
            PeerFault::Overlap(_) => Self::Overlap,
            PeerFault::UnexpectedOnProbe => Self::Probe,
            PeerFault::TooManyPackets => Self::TooManyPackets,
            _ => Self::Packet,
        }
    }
}

label! {
    /// Why a client was refused a namespace.
    ConnectRefusal {
        /// No configuration matches the name.
        UnknownNamespace = "unknown_namespace",
        /// The policy does not admit the client.
        NotAuthorized = "not_authorized",
        /// The connection has joined as many as it may.
        TooManyNamespaces = "too_many_namespaces",
    }
}

label! {
    /// A connection to Redis.
    RedisConnection {
        /// The one that publishes and asks.
        Publisher = "publisher",
        /// The one that channels are subscribed on.
        Subscriber = "subscriber",
    }
}

label! {
    /// How far a channel is.
    ChannelState {
        /// It is to be subscribed.
        Wanted = "wanted",
        /// It is subscribed.
        InForce = "in_force",
    }
}

label! {
    /// What is forwarded to the gateway that owns the session.
    ForwardedRequest {
        /// A request for what waits for the client.
        Poll = "poll",
        /// A request with packets of the client.
        Push = "push",
        /// A request for a WebSocket.
        Upgrade = "upgrade",
        /// A request of another method, which its owner refuses.
        Other = "other",
    }
}

label! {
    /// Why a forwarded request has no answer of its owner.
    ForwardFailure {
        /// The directory has no gateway of this number.
        UnknownNode = "unknown_node",
        /// As many connections to the owner are open as may be.
        Busy = "busy",
        /// The owner could not be connected to.
        Unreachable = "unreachable",
        /// The connection ended before the answer.
        Broken = "broken",
        /// The answer did not come in time.
        Late = "late",
        /// The owner did not take this gateway for one of its cluster.
        Unauthorized = "unauthorized",
    }
}

label! {
    /// Why a request on the cluster port was refused.
    PeerRefusal {
        /// It is not signed at all.
        Unsigned = "unsigned",
        /// It was signed too long ago, or by a clock that differs.
        Stale = "stale",
        /// It was not signed with the key of this cluster, or changed on its way.
        Forged = "forged",
    }
}

label! {
    /// Why a call of the publish API was refused to its caller.
    PublishRefusal {
        /// No credentials, or none that are good.
        Unauthenticated = "unauthenticated",
        /// The identity may not make this call.
        Operation = "operation",
        /// No pattern of namespaces fits.
        Namespace = "namespace",
        /// No pattern of rooms fits.
        Room = "room",
        /// More messages than the rate of the identity.
        Rate = "rate",
        /// More calls at once than the identity may have open.
        InFlight = "in_flight",
        /// The request comes from a page in a browser.
        Browser = "browser",
    }
}

impl Label for Transport {
    const ALL: &'static [Self] = &[Self::Polling, Self::WebSocket];

    fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

impl Label for CloseReason {
    const ALL: &'static [Self] = &[
        Self::TransportClose,
        Self::TransportError,
        Self::PingTimeout,
        Self::ParseError,
        Self::ForcedClose,
        Self::ShuttingDown,
    ];

    fn as_str(self) -> &'static str {
        Self::as_str(self)
    }
}
