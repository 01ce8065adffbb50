//! The form in which adapters and emitters write nearly all broadcasts, read in one pass over the bytes.
//!
//! Looking at a message value by value ([`Value`]) passes over its bytes three times: 9,000 instructions for an event of
//! 128 bytes, where this takes 2,100. What is not as expected here is left to that, with all faults: whatever this
//! reads, it reads the same.

use socketio::{DecodeLimits, NamespaceName, RoomName, reserved_event};

use super::InboundBroadcast;
use crate::argument::Argument;
use crate::convert::read_msgpack_as_json;
use crate::id::Uid;
use crate::message::{Broadcast, Delivery, Event, Targets};
use crate::msgpack::{Reader, Token};
use crate::opts::{EXCEPT, FLAGS, Flags, Opts, ROOMS, decode_flags};
use crate::packet::{DATA, NAMESPACE};
use crate::value::Value;

/// Rooms that are believed to follow before they have been seen.
const ROOMS_USUAL: usize = 8;

const ARRAY_OF_3: &[u8] = b"\x93";
const EMPTY_ARRAY: &[u8] = b"\x90";
const EMPTY_MAP: &[u8] = b"\x80";

/// `[uid, {type, data, nsp}, {rooms, except, flags}]`, with text for all names; `None` if it is anything else, or
/// faulty.
pub(super) fn decode(message: &[u8], limits: &DecodeLimits) -> Option<InboundBroadcast> {
    let mut reader = Reader::new(message);
    reader.skip(ARRAY_OF_3).then_some(())?;
    let uid = Uid::new(read_name(&mut reader)?);
    reader.skip(DATA).then_some(())?;
    let event = read_event(&mut reader, limits)?;
    reader.skip(NAMESPACE).then_some(())?;
    let namespace = NamespaceName::new(read_name(&mut reader)?);
    let Opts { targets, delivery, flags } = read_opts(&mut reader)?;
    reader.end().ok()?;
    let broadcast = Broadcast { namespace, targets, delivery, event };
    Some(InboundBroadcast { uid: Some(uid), broadcast, flags })
}

/// `["name",…]` with a name that clients accept.
fn read_event(reader: &mut Reader<'_>, limits: &DecodeLimits) -> Option<Event> {
    let mut inside = *reader;
    let Ok(Token::Array(1..)) = inside.token() else { return None };
    if reserved_event(read_name(&mut inside)?).is_some() {
        return None;
    }
    let Argument { json, attachments } = read_msgpack_as_json(reader, limits).ok()?;
    Some(Event { json, attachments })
}

/// The three keys in any order. Emitters put the flags before `except`; senders of the time of Socket.IO 2 know none.
fn read_opts(reader: &mut Reader<'_>) -> Option<Opts> {
    let Ok(Token::Map(length)) = reader.token() else { return None };
    let (mut rooms, mut except, mut flags) = (None, None, None);
    for _ in 0..length {
        let is_first = if reader.skip(ROOMS) {
            rooms.replace(read_rooms(reader)?).is_none()
        } else if reader.skip(EXCEPT) {
            except.replace(read_rooms(reader)?).is_none()
        } else {
            reader.skip(FLAGS) && flags.replace(read_flags(reader)?).is_none()
        };
        is_first.then_some(())?;
    }
    let targets = Targets { rooms: rooms?, except: except.unwrap_or_default() };
    let (delivery, flags) = flags?;
    Some(Opts { targets, delivery, flags })
}

fn read_rooms(reader: &mut Reader<'_>) -> Option<Vec<RoomName>> {
    if reader.skip(EMPTY_ARRAY) {
        return Some(Vec::new());
    }
    let Ok(Token::Array(length)) = reader.token() else { return None };
    let mut rooms = Vec::with_capacity(length.min(ROOMS_USUAL));
    for _ in 0..length {
        rooms.push(RoomName::new(read_name(reader)?));
    }
    Some(rooms)
}

fn read_flags(reader: &mut Reader<'_>) -> Option<(Delivery, Flags)> {
    if reader.skip(EMPTY_MAP) {
        return Some(Default::default());
    }
    decode_flags(Value::MsgPack(reader.value().ok()?)).ok()
}

fn read_name<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    std::str::from_utf8(reader.text()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::classic::broadcast::decode_any;
    use crate::classic::encode_broadcast;
    use crate::msgpack;

    const LIMITS: DecodeLimits = DecodeLimits { attachments_max: 2, depth_max: 4 };

    /// `pairs` as a map, in their order.
    fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        msgpack::map(&mut out, pairs.len());
        for (key, value) in pairs {
            msgpack::str(&mut out, key);
            out.extend_from_slice(value);
        }
        out
    }

    fn text(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        msgpack::str(&mut out, text);
        out
    }

    #[test]
    fn all_senders_of_today_and_before_write_the_usual_form() {
        let packet = |nsp| map(&[("type", vec![2]), ("data", vec![0x92, 0xa1, b'e', 1]), ("nsp", text(nsp))]);
        let one = || [&[0x91][..], &text("r")].concat();
        let opts = [
            // The adapter 8, the emitter 5, and both in the time of Socket.IO 2.
            map(&[("rooms", one()), ("except", vec![0x90]), ("flags", vec![0x80])]),
            map(&[("rooms", one()), ("flags", map(&[("volatile", vec![0xc3])])), ("except", vec![0x90])]),
            map(&[("rooms", one()), ("flags", vec![0x80])]),
        ];
        for opts in opts {
            let message = [&[0x93][..], &text("uid"), &packet("/chat"), &opts].concat();
            let read = decode(&message, &LIMITS).unwrap_or_else(|| panic!("{message:02x?}"));
            assert_eq!(&read.broadcast.event.json[..], b"[\"e\",1]");
            assert_eq!(Ok(read), decode_any(&message, &LIMITS));
        }
    }

    #[test]
    fn what_this_crate_writes_has_the_usual_form() {
        let event = Event { json: "[\"e\",\"\\n\",[1,{\"a\":null}]]".into(), attachments: Vec::new() };
        let targets = Targets { rooms: vec![RoomName::new("r")], except: vec![RoomName::new("s")] };
        let broadcast =
            Broadcast { namespace: NamespaceName::main(), targets, delivery: Delivery::Volatile, event };
        let message = encode_broadcast(&Uid::new("uid"), &broadcast, &Flags::default()).unwrap();
        assert_eq!(decode(&message, &LIMITS).map(|read| read.broadcast), Some(broadcast));
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            4 => "[a-z \"\\\\\n\u{e9}\u{1f600}]{0,40}".prop_map(|plain| text(&plain)),
            1 => prop::sample::select(vec!["connect", "_placeholder", "num"]).prop_map(text),
            1 => Just(vec![0xa2, 0xc3, 0x28]),
            2 => prop::sample::select(vec![0xc0, 0xc2, 0xc3, 0, 2, 5, 0x7f, 0xff]).prop_map(|byte| vec![byte]),
            1 => any::<f64>().prop_map(|number| [&[0xcb][..], &number.to_be_bytes()].concat()),
            1 => any::<i64>().prop_map(|number| [&[0xd3][..], &number.to_be_bytes()].concat()),
            1 => Just(vec![0xc4, 1, 9]),
            1 => Just(vec![0xd4, 0, 0]),
            1 => Just(vec![0xc1]),
        ];
        leaf.prop_recursive(5, 30, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(|items| {
                    let mut out = Vec::new();
                    msgpack::array(&mut out, items.len());
                    [out, items.concat()].concat()
                }),
                prop::collection::vec((inner.clone(), inner), 0..6).prop_map(|pairs| {
                    let mut out = Vec::new();
                    msgpack::map(&mut out, pairs.len());
                    pairs.iter().for_each(|(key, value)| out.extend([&key[..], value].concat()));
                    out
                }),
            ]
        })
    }

    /// A map with about these keys, now and then one too many, too few or twice.
    fn about(keys: &'static [(&'static str, &'static [u8])]) -> impl Strategy<Value = Vec<u8>> {
        let usual: Vec<_> = keys.iter().map(|(key, value)| (*key, value.to_vec())).collect();
        let key = prop::sample::select(keys.iter().map(|(key, _)| *key).chain(["x"]).collect::<Vec<_>>());
        (Just(usual), any::<[bool; 2]>(), any::<prop::sample::Index>(), key, value()).prop_map(
            |(mut pairs, [replace, shuffle], index, key, value)| {
                let at = index.index(pairs.len());
                if shuffle {
                    pairs.rotate_left(at);
                }
                if replace {
                    pairs[at] = (key, value);
                }
                map(&pairs)
            },
        )
    }

    fn message() -> impl Strategy<Value = Vec<u8>> {
        const EVENT: &[u8] = &[0x92, 0xa1, b'e', 1];
        const NAMES: &[u8] = &[0x92, 0xa1, b'r', 0xa2, 0xc3, 0xa9];
        let name = prop::sample::select(vec!["e", "\"", "connect"]);
        let event =
            (name, value()).prop_map(|(name, argument)| [&[0x92][..], &text(name), &argument].concat());
        let plain = event.prop_map(|data| map(&[("type", vec![2]), ("data", data), ("nsp", text("/"))]));
        let packet = prop_oneof![plain, about(&[("type", &[2]), ("data", EVENT), ("nsp", b"\xa1/")])];
        let opts = about(&[("rooms", NAMES), ("except", &[0x90]), ("flags", &[0x80])]);
        let uid = prop_oneof![4 => Just(text("uid")), 1 => value()];
        (uid, packet, opts).prop_map(|(uid, packet, opts)| [&[0x93][..], &uid, &packet, &opts].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn what_is_read_in_one_pass_is_what_is_read_value_by_value(
            message in message(), at in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            let mut changed = message.clone();
            changed[at.index(message.len())] = byte;
            for message in [&message[..], &changed, &message[..at.index(message.len())]] {
                if let Some(read) = decode(message, &LIMITS) {
                    prop_assert_eq!(Ok(read), decode_any(message, &LIMITS));
                }
            }
        }
    }
}
