//! What an operator may set of the publish API.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// Clients close their connection on a message with more binary parts than this.
pub(crate) const ATTACHMENTS_OF_CLIENTS: u32 = 10;

/// Limits of the publish API. A breach is refused with `INVALID_ARGUMENT` unless stated; nothing is published.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublishConfig {
    /// Event name, arguments and attachments of one message together, in bytes. Default 1000000, as much as a
    /// client may send. Environment: `ROOMCAST__GRPC__LIMITS__MESSAGE_BYTES_MAX`.
    pub message_bytes_max: NonZeroU32,
    /// One gRPC request, in bytes: a message with its rooms, or a whole batch. A larger one is refused unread,
    /// with `OUT_OF_RANGE`. Not below `message_bytes_max`. Default 4194304.
    pub request_bytes_max: NonZeroU32,
    /// Messages of one batch. Default 1000.
    pub batch_messages_max: NonZeroU32,
    /// Rooms of one message, `rooms` and `except` together. Default 1000.
    pub rooms_per_message_max: NonZeroU32,
    /// Longest name of a room, in bytes. Default 256.
    pub room_bytes_max: NonZeroU32,
    /// Longest name of a namespace, slash included, in bytes. Default 256.
    pub namespace_bytes_max: NonZeroU32,
    /// Binary attachments of one message, 0 to 10: clients close their connection on more. Default 10.
    pub attachments_max: u32,
    /// Messages of one stream that were read and whose answers the caller has not taken; at that many the stream
    /// is not read on. Default 256.
    pub stream_messages_max: NonZeroU32,
    /// The same in bytes of messages that are not yet on their way; the message that crosses it is still read.
    /// Default 4194304.
    pub stream_bytes_max: NonZeroU32,
    /// Calls and streams open at once on one connection; the caller's library holds back the next. Default 1000.
    pub calls_per_connection_max: NonZeroU32,
    /// How long a publish with an idempotency key is remembered, in ms: a retry within that time is answered with
    /// the first answer. Default 120000.
    pub idempotency_window_ms: NonZeroU32,
    /// Publishes with an idempotency key that one process remembers; the oldest make room. Default 100000.
    pub idempotency_keys_max: NonZeroU32,
}

/// A value that contradicts another one or a fixed limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} must be {allowed}")]
pub struct ConfigFault {
    /// The key, a field of [`PublishConfig`].
    pub key: &'static str,
    /// What is allowed, to follow "must be".
    pub allowed: String,
}

impl Default for PublishConfig {
    fn default() -> Self {
        Self {
            message_bytes_max: limit(1_000_000),
            request_bytes_max: limit(4 * 1024 * 1024),
            batch_messages_max: limit(1000),
            rooms_per_message_max: limit(1000),
            room_bytes_max: limit(256),
            namespace_bytes_max: limit(256),
            attachments_max: ATTACHMENTS_OF_CLIENTS,
            stream_messages_max: limit(256),
            stream_bytes_max: limit(4 * 1024 * 1024),
            calls_per_connection_max: limit(1000),
            idempotency_window_ms: limit(120_000),
            idempotency_keys_max: limit(100_000),
        }
    }
}

impl PublishConfig {
    /// Everything wrong with these values together; empty if they can be used.
    pub fn faults(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        if self.request_bytes_max < self.message_bytes_max {
            let allowed = format!("at least message_bytes_max, {}", self.message_bytes_max);
            faults.push(ConfigFault { key: "request_bytes_max", allowed });
        }
        if self.attachments_max > ATTACHMENTS_OF_CLIENTS {
            let allowed = format!("at most {ATTACHMENTS_OF_CLIENTS}: clients close their connection on more");
            faults.push(ConfigFault { key: "attachments_max", allowed });
        }
        faults
    }
}

/// A configured limit as a size of things in memory.
pub(crate) fn size(limit: NonZeroU32) -> usize {
    usize::try_from(limit.get()).unwrap_or(usize::MAX)
}

const fn limit(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).expect("limits above are not 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_have_no_faults() {
        assert_eq!(PublishConfig::default().faults(), []);
    }

    #[test]
    fn contradictions_are_named_together() {
        let config: PublishConfig =
            toml::from_str("message_bytes_max = 10\nrequest_bytes_max = 9\nattachments_max = 11").unwrap();
        let texts: Vec<_> = config.faults().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "request_bytes_max must be at least message_bytes_max, 10",
                "attachments_max must be at most 10: clients close their connection on more",
            ]
        );
    }

    #[test]
    fn unknown_keys_and_limits_of_zero_do_not_parse() {
        assert!(toml::from_str::<PublishConfig>("message_bytes = 1").is_err());
        assert!(toml::from_str::<PublishConfig>("batch_messages_max = 0").is_err());
    }
}
