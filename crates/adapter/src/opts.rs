//! `opts`: whom a message is for, and the flags with which it was sent.

use std::time::Duration;

use socketio::RoomName;

use crate::error::WireFault;
use crate::id::RequestId;
use crate::json::{Object, push_string};
use crate::message::{Delivery, Targets};
use crate::msgpack;
use crate::value::Value;

/// The flags of a broadcast besides `volatile`, which is [`Delivery`]. Unknown ones are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// How long the sender waits for acknowledgements; whole ms.
    pub timeout: Option<Duration>,
    /// The sender has named one socket and waits for one answer.
    pub expect_single_response: bool,
    /// Whether WebSocket frames may be compressed; `None` leaves it to the receiver.
    pub compress: Option<bool>,
    /// Every Roomcast node is to say what became of it, in a [`Report`](crate::Report) with this id. Node servers
    /// take no notice.
    pub report_id: Option<RequestId>,
}

/// The keys of `opts` as they are written.
pub(crate) const ROOMS: &[u8] = b"\xa5rooms";
pub(crate) const EXCEPT: &[u8] = b"\xa6except";
pub(crate) const FLAGS: &[u8] = b"\xa5flags";

/// The flag that no adapter of Node knows.
const REPORT_ID: &str = "roomcastReport";

/// All of `opts`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Opts {
    pub(crate) targets: Targets,
    pub(crate) delivery: Delivery,
    pub(crate) flags: Flags,
}

impl Opts {
    /// Reads `{"rooms":[…],"except":[…],"flags":{…}}`. Every key may be missing or null, which is an empty
    /// list or no flags.
    pub(crate) fn decode(value: Value<'_>) -> Result<Self, WireFault> {
        let mut opts = Self::default();
        value.fields("opts", |key, value| {
            match key {
                _ if value.is_nothing() => {}
                "rooms" => opts.targets.rooms = value.rooms("rooms")?,
                "except" => opts.targets.except = value.rooms("except")?,
                "flags" => (opts.delivery, opts.flags) = decode_flags(value)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(opts)
    }
}

/// The delivery that the flags ask for, and the other flags.
pub(crate) fn decode_flags(value: Value<'_>) -> Result<(Delivery, Flags), WireFault> {
    let mut delivery = Delivery::Reliable;
    let mut flags = Flags::default();
    value.fields("flags", |key, value| {
        match key {
            "volatile" if value.boolean() == Some(true) => delivery = Delivery::Volatile,
            "compress" => flags.compress = value.boolean(),
            "timeout" => flags.timeout = value.unsigned().map(Duration::from_millis),
            "expectSingleResponse" => flags.expect_single_response = value.boolean() == Some(true),
            REPORT_ID => flags.report_id = value.text().map(RequestId::new),
            _ => {}
        }
        Ok(())
    })?;
    Ok((delivery, flags))
}

/// Appends `opts` with flags as MessagePack, keys in the order of the adapters.
pub(crate) fn push_msgpack(out: &mut Vec<u8>, targets: &Targets, delivery: Delivery, flags: &Flags) {
    msgpack::map(out, 3);
    out.extend_from_slice(ROOMS);
    push_msgpack_rooms(out, &targets.rooms);
    out.extend_from_slice(EXCEPT);
    push_msgpack_rooms(out, &targets.except);
    out.extend_from_slice(FLAGS);
    if delivery == Delivery::Reliable && *flags == Flags::default() {
        // Nearly always.
        return msgpack::map(out, 0);
    }
    let start = msgpack::open(out);
    let mut length = 0;
    for (key, flag) in present(delivery, flags) {
        msgpack::str(out, key);
        match flag {
            Flag::Bool(value) => msgpack::boolean(out, value),
            Flag::Ms(ms) => msgpack::unsigned(out, ms),
            Flag::Id(id) => msgpack::str(out, id.as_str()),
        }
        length += 1;
    }
    msgpack::close_map(out, start, length);
}

/// Appends `opts` as JSON with no flag but the id of a report: in the requests of the classic adapter it has none.
pub(crate) fn push_json_targets(out: &mut Vec<u8>, targets: &Targets, report_id: Option<&RequestId>) {
    let mut opts = open_json(out, targets);
    if let Some(id) = report_id {
        let mut flags = Object::open(opts.key("flags"));
        flags.string(REPORT_ID, id.as_str());
        flags.close();
    }
    opts.close();
}

/// Appends `opts` with flags as JSON, as the sharded adapter does in every message.
pub(crate) fn push_json(out: &mut Vec<u8>, targets: &Targets, delivery: Delivery, flags: &Flags) {
    let mut opts = open_json(out, targets);
    let mut object = Object::open(opts.key("flags"));
    for (key, flag) in present(delivery, flags) {
        match flag {
            Flag::Bool(value) => object.plain(key, value),
            Flag::Ms(ms) => object.plain(key, ms),
            Flag::Id(id) => object.string(key, id.as_str()),
        }
    }
    object.close();
    opts.close();
}

/// Appends a list of rooms as JSON.
pub(crate) fn push_json_rooms(out: &mut Vec<u8>, rooms: &[RoomName]) {
    out.push(b'[');
    for (index, room) in rooms.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_string(out, room.as_str());
    }
    out.push(b']');
}

fn open_json<'a>(out: &'a mut Vec<u8>, targets: &Targets) -> Object<'a> {
    let mut object = Object::open(out);
    push_json_rooms(object.key("rooms"), &targets.rooms);
    push_json_rooms(object.key("except"), &targets.except);
    object
}

fn push_msgpack_rooms(out: &mut Vec<u8>, rooms: &[RoomName]) {
    msgpack::array(out, rooms.len());
    for room in rooms {
        msgpack::str(out, room.as_str());
    }
}

enum Flag<'a> {
    Bool(bool),
    Ms(u64),
    Id(&'a RequestId),
}

/// The flags that are set. Their order in Node is that of the calls, `volatile.timeout(…)`, so any will do; this
/// one is what its own calls for one socket make.
fn present(delivery: Delivery, flags: &Flags) -> impl Iterator<Item = (&'static str, Flag<'_>)> {
    let ms = |timeout: Duration| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    [
        (delivery == Delivery::Volatile).then_some(("volatile", Flag::Bool(true))),
        flags.compress.map(|compress| ("compress", Flag::Bool(compress))),
        flags.expect_single_response.then_some(("expectSingleResponse", Flag::Bool(true))),
        flags.timeout.map(|timeout| ("timeout", Flag::Ms(ms(timeout)))),
        flags.report_id.as_ref().map(|id| (REPORT_ID, Flag::Id(id))),
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(json: &str) -> Result<Opts, WireFault> {
        Opts::decode(Value::of_message(json.as_bytes())?)
    }

    #[test]
    fn missing_and_null_keys_mean_everybody_and_no_flags() {
        for json in ["{}", r#"{"rooms":null,"except":null,"flags":null}"#, r#"{"bar":2,"flags":{"zzz":1}}"#] {
            assert_eq!(decode(json), Ok(Opts::default()), "{json}");
        }
    }

    #[test]
    fn flags_of_old_and_new_senders_are_understood_or_ignored() {
        let opts = decode(
            r#"{"flags":{"volatile":true,"broadcast":true,"json":true,"compress":false,"timeout":400.5,"local":true}}"#,
        );
        let opts = opts.unwrap();
        assert_eq!(opts.delivery, Delivery::Volatile);
        assert_eq!(opts.flags.compress, Some(false));
        assert_eq!(opts.flags.timeout, Some(Duration::from_millis(400)));
        assert!(!opts.flags.expect_single_response);
        assert_eq!(decode(r#"{"flags":{"timeout":-1,"volatile":1}}"#), Ok(Opts::default()));
    }

    #[test]
    fn opts_read_back_what_was_written() {
        let targets = Targets { rooms: vec![RoomName::new("a\"#")], except: vec![RoomName::new("é")] };
        let flags = Flags {
            timeout: Some(Duration::from_secs(70)),
            expect_single_response: true,
            compress: Some(true),
            report_id: Some(RequestId::new("q1")),
        };
        let expected = Opts { targets: targets.clone(), delivery: Delivery::Volatile, flags: flags.clone() };
        let (mut text, mut bytes) = (Vec::new(), Vec::new());
        push_json(&mut text, &targets, Delivery::Volatile, &flags);
        push_msgpack(&mut bytes, &targets, Delivery::Volatile, &flags);
        for message in [text, bytes] {
            assert_eq!(Opts::decode(Value::of_message(&message).unwrap()), Ok(expected.clone()));
        }
    }
}
