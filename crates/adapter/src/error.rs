//! What can be wrong with a message on a Redis channel, or with what is to be published on one.

/// An offence of whoever published a message; or, from an `encode_*` function, of whoever made the event.
///
/// A message with a fault is counted and skipped, nothing else suffers. The text never repeats content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum WireFault {
    /// The bytes end inside a value, or a length reaches beyond them.
    #[error("message ends inside a value")]
    Truncated,
    /// Bytes behind the one value that a message is.
    #[error("bytes behind the message")]
    TrailingBytes,
    /// The byte 0xc1, which MessagePack never uses.
    #[error("a byte that is no MessagePack value")]
    UnusedMarker,
    /// A key that is not text, a number, a boolean or nil.
    #[error("a map key that has no text")]
    MapKey,
    /// Text where JSON should be, that is not JSON.
    #[error("not JSON")]
    NotJson,
    /// A JSON message that is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Arrays and maps open at once beyond the limit.
    #[error("nested deeper than {max} levels")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// Binary values beyond what clients accept in one event.
    #[error("more than {max} binary values")]
    TooManyAttachments {
        /// The limit.
        max: usize,
    },
    /// Beside binary values, a map that clients would take for one of them.
    #[error("a map that looks like a placeholder of an attachment")]
    PlaceholderInData,
    /// A placeholder whose `num` is not the number of an attachment.
    #[error("placeholder without an attachment")]
    PlaceholderOutOfRange,
    /// More bytes than Redis takes in one message, or attachments named again and again.
    #[error("message over {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// A broadcast that is not an array, or a request, response, packet or `opts` that is not a map.
    #[error("{0} has the wrong form")]
    WrongForm(&'static str),
    /// A key without which the message means nothing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A key whose value is of a type that it cannot have.
    #[error("`{0}` has a value of the wrong type")]
    WrongType(&'static str),
    /// A request, response or message of a type that no adapter sends.
    #[error("unknown message type")]
    UnknownType,
    /// A packet other than an event.
    #[error("packet is not an event")]
    NotAnEvent,
    /// An event without a name, or with one that is neither a string nor a number.
    #[error("event without a name")]
    EventName,
    /// Clients close their connection on this name.
    #[error("event name {0:?} is reserved")]
    ReservedEventName(&'static str),
}
