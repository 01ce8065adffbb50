//! The JSON protocol of Centrifuge, as far as the same workloads need it.
//!
//! Source: "Client protocol" of the documentation of Centrifugo.

use super::{padded_arguments, parse_event};

/// The first command of a connection.
pub(crate) const CONNECT: &str = r#"{"id":1,"connect":{}}"#;

const PUBLISH_ID: u32 = 3;

/// One reply or push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Connected,
    Subscribed,
    Published,
    Ping,
    Message { room: u32, sequence: u32 },
    Unexpected,
}

/// Asks for the messages of a room.
pub(crate) fn subscribe(room: u32) -> String {
    format!(r#"{{"id":2,"subscribe":{{"channel":"r{room}"}}}}"#)
}

/// The command that publishes a message: its data is the text that Socket.IO has between the type and the end.
pub(crate) fn publish(room: u32, sequence: u32, padding: usize) -> String {
    let data = data(room, sequence, padding);
    format!(r#"{{"id":{PUBLISH_ID},"publish":{{"channel":"r{room}","data":{data}}}}}"#)
}

/// The JSON text of a message, as long as those of Socket.IO.
pub(crate) fn data(room: u32, sequence: u32, padding: usize) -> String {
    format!("[\"m\",{}", padded_arguments(room, sequence, padding).get(1..).unwrap_or_default())
}

impl Reply {
    /// Reads one line.
    pub(crate) fn parse(line: &[u8]) -> Self {
        let starts = |start: &str| line.starts_with(start.as_bytes());
        if line == b"{}" {
            return Self::Ping;
        }
        if starts(r#"{"push":{"channel":"#) {
            return Self::parse_push(line).unwrap_or(Self::Unexpected);
        }
        if starts(r#"{"id":1,"connect":"#) {
            return Self::Connected;
        }
        if starts(r#"{"id":2,"subscribe":"#) {
            return Self::Subscribed;
        }
        if starts(r#"{"id":3,"publish":"#) { Self::Published } else { Self::Unexpected }
    }

    fn parse_push(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let (_, data) = line.split_once(r#""data":"#)?;
        let (data, _) = data.split_at_checked(super::MESSAGE_BYTES)?;
        let (room, sequence) = parse_event(format!("42{data}").as_bytes())?;
        Some(Self::Message { room, sequence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_told_apart() {
        let message = format!(r#"{{"push":{{"channel":"r7","pub":{{"data":{}}}}}}}"#, data(7, 42, 0));
        let cases = [
            (r#"{"id":1,"connect":{"client":"x","ping":25}}"#, Reply::Connected),
            (r#"{"id":2,"subscribe":{}}"#, Reply::Subscribed),
            (r#"{"id":3,"publish":{}}"#, Reply::Published),
            (r#"{"id":3,"error":{"code":103}}"#, Reply::Unexpected),
            ("{}", Reply::Ping),
            (&message, Reply::Message { room: 7, sequence: 42 }),
            (r#"{"push":{"channel":"r7","join":{}}}"#, Reply::Unexpected),
        ];
        for (line, expected) in cases {
            assert_eq!(Reply::parse(line.as_bytes()), expected, "{line}");
        }
    }
}
