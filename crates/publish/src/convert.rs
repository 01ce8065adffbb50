//! Requests into broadcasts, with every rule checked; reports into answers.

use adapter::{Broadcast, Delivery, Event, Targets};
use bytes::Bytes;
use roomcast_proto::v1;
use socketio::{DecodeLimits, EventFault, NamespaceName, RoomName, event_json};

use crate::config::{PublishConfig, size};
use crate::dispatch::{Coverage, Reach, ReportLevel};
use crate::error::{FieldFault, Rule};
use crate::texts::Texts;
use crate::wire::MessageRef;

/// Checks one message and makes it a broadcast; `arguments` are kept byte for byte, and stand among `texts`.
///
/// # Errors
/// The first field that breaks a rule of `publish.proto`, named from the message inwards.
#[inline]
pub(crate) fn broadcast(
    message: &MessageRef<'_>,
    config: &PublishConfig,
    texts: &mut Texts,
) -> Result<Broadcast, FieldFault> {
    let namespace = namespace(message.namespace, config)?;
    let targets = targets(&message.rooms, &message.except, config)?;
    let delivery = if message.volatile { Delivery::Volatile } else { Delivery::Reliable };
    let event = event(message.event, message.arguments, &message.attachments, config, texts)?;
    Ok(Broadcast { namespace, targets, delivery, event })
}

/// How much the caller wants to be told.
pub(crate) fn report(report: i32) -> Result<ReportLevel, FieldFault> {
    match v1::Report::try_from(report) {
        Ok(v1::Report::Unspecified | v1::Report::Accepted) => Ok(ReportLevel::Accepted),
        Ok(v1::Report::Reach) => Ok(ReportLevel::Reach),
        Err(_) => Err(FieldFault::new("report", Rule::UnknownValue)),
    }
}

/// A report as callers see it.
pub(crate) fn reach(reach: Reach) -> v1::Reach {
    let dropped = reach.sockets_dropped;
    v1::Reach {
        coverage: Some(coverage(reach.coverage)),
        sockets_matched: reach.sockets_matched,
        sockets_written: reach.sockets_written,
        sockets_dropped: Some(v1::Dropped {
            not_ready: dropped.not_ready,
            queue_full: dropped.queue_full,
            closing: dropped.closing,
        }),
    }
}

/// Which nodes an answer speaks for, as callers see it.
pub(crate) fn coverage(coverage: Coverage) -> v1::Coverage {
    v1::Coverage {
        nodes_asked: coverage.nodes_asked,
        nodes_answered: coverage.nodes_answered,
        partial: coverage.nodes_answered < coverage.nodes_asked,
        nodes_missing: coverage.nodes_missing,
    }
}

pub(crate) fn namespace(text: &str, config: &PublishConfig) -> Result<NamespaceName, FieldFault> {
    if text.is_empty() || text == "/" {
        return Ok(NamespaceName::main());
    }
    let name = NamespaceName::normalized(text);
    let (bytes, max) = (name.as_str().len(), size(config.namespace_bytes_max));
    let rule = if bytes > max {
        Rule::TooManyBytes { bytes, max }
    } else if let Some(at) = text.find(',') {
        Rule::Comma { at }
    } else if let Some(at) = text.find(char::is_control) {
        Rule::ControlCharacter { at }
    } else {
        return Ok(name);
    };
    Err(FieldFault::new("namespace", rule))
}

pub(crate) fn targets(
    rooms: &[impl AsRef<str>],
    except: &[impl AsRef<str>],
    config: &PublishConfig,
) -> Result<Targets, FieldFault> {
    let (count, max) = (rooms.len() + except.len(), size(config.rooms_per_message_max));
    if count > max {
        return Err(FieldFault::new("rooms", Rule::TooManyRooms { count, max }));
    }
    Ok(Targets { rooms: room_names("rooms", rooms, config)?, except: room_names("except", except, config)? })
}

pub(crate) fn room_names<Name: AsRef<str>>(
    field: &str,
    names: &[Name],
    config: &PublishConfig,
) -> Result<Vec<RoomName>, FieldFault> {
    let max = size(config.room_bytes_max);
    // One by one: collecting results costs a publish 100 instructions more.
    let mut rooms = Vec::with_capacity(names.len());
    for (nth, name) in names.iter().enumerate() {
        let name = name.as_ref();
        let rule = match name.len() {
            0 => Rule::Empty,
            bytes if bytes > max => Rule::TooManyBytes { bytes, max },
            _ => {
                rooms.push(RoomName::new(name));
                continue;
            }
        };
        return Err(FieldFault::new(format!("{field}[{nth}]"), rule));
    }
    Ok(rooms)
}

fn event(
    name: &str,
    arguments: &str,
    attachments: &[&[u8]],
    config: &PublishConfig,
    texts: &mut Texts,
) -> Result<Event, FieldFault> {
    let bytes = name.len() + arguments.len() + attachments.iter().map(|part| part.len()).sum::<usize>();
    let max = size(config.message_bytes_max);
    if bytes > max {
        return Err(FieldFault::new("", Rule::TooLarge { bytes, max }));
    }
    let attachments_max = usize::try_from(config.attachments_max).unwrap_or(usize::MAX);
    let limits = DecodeLimits { attachments_max, ..DecodeLimits::default() };
    let json = texts.text(|out| event_json(out, name, arguments, attachments.len(), &limits))?;
    // Copies: an attachment that waits for a slow client must not hold the whole buffer that it came in.
    let attachments = attachments.iter().map(|part| Bytes::copy_from_slice(part)).collect();
    Ok(Event { json, attachments })
}

/// Names that servers emit to themselves, beside those that clients do.
const SERVER_EVENTS: [&str; 2] = ["connection", "new_namespace"];

/// An event for servers: as one for clients, without attachments.
pub(crate) fn server_event(name: &str, arguments: &str, config: &PublishConfig) -> Result<Event, FieldFault> {
    if let Some(name) = SERVER_EVENTS.into_iter().find(|reserved| *reserved == name) {
        return Err(EventFault::ReservedName(name).into());
    }
    event(name, arguments, &[], config, &mut Texts::default()).map_err(|fault| fault.or_in("arguments"))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn message() -> v1::Message {
        v1::Message { event: "e".into(), ..v1::Message::default() }
    }

    fn config() -> PublishConfig {
        let limit = |value| NonZeroU32::new(value).unwrap();
        PublishConfig {
            message_bytes_max: limit(20),
            rooms_per_message_max: limit(3),
            room_bytes_max: limit(4),
            namespace_bytes_max: limit(5),
            attachments_max: 1,
            ..PublishConfig::default()
        }
    }

    /// The text of the fault with the message called `m`, or "" if the message is fine.
    fn fault(message: v1::Message) -> String {
        broadcast(&(&message).into(), &config(), &mut Texts::default())
            .err()
            .map(|fault| fault.within("m").to_string())
            .unwrap_or_default()
    }

    #[test]
    fn a_message_becomes_a_broadcast() {
        let attachment = Bytes::from_static(b"\0\xff");
        let message = v1::Message {
            namespace: "chat".into(),
            rooms: vec!["a".into(), "b".into()],
            except: vec!["c".into()],
            event: "new".into(),
            arguments: r#"[{"_placeholder":true,"num":0}]"#.into(),
            attachments: vec![attachment.clone()],
            volatile: true,
        };
        let expected = Broadcast {
            namespace: NamespaceName::new("/chat"),
            targets: Targets {
                rooms: vec![RoomName::new("a"), RoomName::new("b")],
                except: vec![RoomName::new("c")],
            },
            delivery: Delivery::Volatile,
            event: Event {
                json: Bytes::from_static(br#"["new",{"_placeholder":true,"num":0}]"#),
                attachments: vec![attachment],
            },
        };
        assert_eq!(
            broadcast(&(&message).into(), &PublishConfig::default(), &mut Texts::default()),
            Ok(expected)
        );
    }

    #[test]
    fn namespaces_gain_their_slash_and_keep_their_limits() {
        let check = |namespace: &str, expected: &str| {
            assert_eq!(fault(v1::Message { namespace: namespace.into(), ..message() }), expected);
        };
        check("", "");
        check("/abcd", "");
        check("abcd", "");
        check("abcde", "m.namespace: has 6 bytes, at most 5 are allowed");
        check("/a,b", "m.namespace: has a comma at byte 2: clients end the name of a namespace there");
        check("a\n", "m.namespace: has a control character at byte 1");
    }

    #[test]
    fn rooms_are_limited_in_length_and_number() {
        let check = |rooms: &[&str], except: &[&str], expected: &str| {
            let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
            assert_eq!(
                fault(v1::Message { rooms: names(rooms), except: names(except), ..message() }),
                expected
            );
        };
        check(&["abcd", "é,\n"], &["a"], "");
        check(&["a", "b"], &["c", "d"], "m.rooms: has 4 rooms together with except, at most 3 are allowed");
        check(&["a", ""], &[], "m.rooms[1]: is empty, at least 1 byte is required");
        check(&["a"], &["ééé"], "m.except[0]: has 6 bytes, at most 4 are allowed");
    }

    #[test]
    fn a_message_is_limited_in_bytes_of_its_parts_together() {
        let sized = |bytes: usize| v1::Message {
            event: "ab".into(),
            arguments: format!("[\"{}\"]", "x".repeat(bytes - 6)),
            ..message()
        };
        assert_eq!(fault(sized(20)), "");
        assert_eq!(
            fault(sized(21)),
            "m: has event, arguments and attachments of 21 bytes, at most 20 are allowed"
        );
        let attached = v1::Message { attachments: vec![Bytes::from_static(&[0; 20])], ..message() };
        assert!(fault(attached).contains("of 21 bytes"));
    }

    #[test]
    fn faults_of_the_event_never_hold_what_was_sent() {
        let secret = v1::Message { arguments: "[secret]".into(), ..message() };
        let text = fault(secret);
        assert!(text.starts_with("m.arguments: ") && text.contains("line 1, column 2"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
