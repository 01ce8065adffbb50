//! What can be wrong: with a packet (the client's fault) and with an event to publish (the back end's).

/// An offence of the client. Each closes its connection, never another's, and nothing is sent back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseFault {
    /// A text message with nothing in it.
    #[error("empty packet")]
    EmptyPacket,
    /// The first character is none of the packet types.
    #[error("unknown packet type {0:?}")]
    UnknownPacketType(char),
    /// A binary packet without a count of attachments in front of a `-`, or with the count 0.
    #[error("illegal attachments: a binary packet starts with their number, 1 or more, and `-`")]
    MalformedAttachments,
    /// More attachments announced than allowed.
    #[error("too many attachments, at most {max} are allowed")]
    TooManyAttachments {
        /// The limit.
        max: usize,
    },
    /// An ack id over 64 bits.
    #[error("ack id over 64 bits")]
    AckIdTooLarge,
    /// Data that a packet of this type may not carry, such as an object in an EVENT.
    #[error("wrong data: {kind} carries {expected}")]
    WrongData {
        /// The packet type.
        kind: &'static str,
        /// What it may carry.
        expected: &'static str,
    },
    /// Data that starts well but is not JSON.
    #[error("data is not JSON: {0}")]
    InvalidJson(JsonFault),
    /// An EVENT with an empty array.
    #[error("event without a name")]
    EventNameMissing,
    /// An EVENT whose first element is neither a string nor a number.
    #[error("event name is neither a string nor a number")]
    EventNameInvalid,
    /// An EVENT with a name that only client and server themselves may use.
    #[error("event name {0:?} is reserved")]
    ReservedEventName(&'static str),
    /// A packet of 0.9 that is not `type:id:endpoint:data`, or whose namespace lacks its slash.
    #[error("not a packet of Socket.IO 0.9")]
    MalformedPacket,
    /// A text packet while attachments of the last one are missing.
    #[error("text packet while {missing} attachments of the last packet are missing")]
    AttachmentsMissing {
        /// How many had yet to come.
        missing: usize,
    },
    /// A binary message that no packet has announced.
    #[error("binary message without a packet that announces it")]
    UnexpectedBinary,
}

/// What is wrong with JSON text, and at which byte of it (from 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{offence} at byte {offset}")]
pub struct JsonFault {
    /// Where.
    pub offset: usize,
    /// What.
    pub offence: JsonOffence,
}

/// The kinds of [`JsonFault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonOffence {
    /// Something other than the grammar wants here, or the end of the text.
    #[error("expected {0}")]
    Expected(&'static str),
    /// Text after the value.
    #[error("text after the value")]
    TrailingText,
    /// More arrays and objects open at once than allowed.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    /// An object marked as placeholder whose `num` is not the number of an attachment.
    #[error("placeholder without an attachment: `num` must be an integer below {0}")]
    PlaceholderOutOfRange(usize),
}

/// Why an event cannot be published; the fault of whoever publishes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventFault {
    /// The event name is empty.
    #[error("event name is empty")]
    EmptyName,
    /// Clients would close their connection on this name.
    #[error("event name {0:?} is reserved; choose another")]
    ReservedName(&'static str),
    /// The arguments are JSON, or start as it, but not an array.
    #[error("arguments must be the text of a JSON array, such as [1,\"two\"]")]
    NotAnArray,
    /// The arguments are not JSON.
    #[error("arguments are not JSON: {offence} at line {line}, column {column}")]
    InvalidJson {
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// What is wrong there.
        offence: JsonOffence,
    },
    /// Arrays and objects inside each other beyond the limit.
    #[error("arguments are nested deeper than {max} levels")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// More attachments than clients accept.
    #[error("{count} attachments, at most {max} are allowed")]
    TooManyAttachments {
        /// As given.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// A placeholder that names no attachment.
    #[error("placeholder at line {line}, column {column}: `num` must be an integer below {attachments}")]
    PlaceholderOutOfRange {
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// How many attachments there are.
        attachments: usize,
    },
    /// An attachment that no placeholder names, so that no client could see it.
    #[error("attachment {0} is named by no {{\"_placeholder\":true,\"num\":{0}}}")]
    AttachmentUnused(usize),
}
