//! What must hold for every input: nothing panics, and nothing that is published ends a Node process.

use adapter::classic::{
    Command, decode_broadcast, decode_request, decode_response, encode_broadcast, encode_request, is_from,
};
use adapter::{Broadcast, Delivery, Event, Flags, RequestId, Targets, Uid, sharded};
use bytes::Bytes;
use proptest::prelude::*;
use socketio::{DecodeLimits, NamespaceName, RoomName};

/// Reads one MessagePack value, written apart from the crate: what is left, or `None` where notepack throws.
fn skip(bytes: &[u8]) -> Option<&[u8]> {
    let (marker, rest) = bytes.split_first()?;
    let number =
        |size: usize| rest.get(..size).map(|digits| digits.iter().fold(0, |n, d| n * 256 + *d as usize));
    let many = |count: usize, rest| (0..count).try_fold(rest, |rest, _| skip(rest));
    match *marker {
        0..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Some(rest),
        0x80..=0x8f => many(2 * (*marker as usize - 0x80), rest),
        0x90..=0x9f => many(*marker as usize - 0x90, rest),
        0xa0..=0xbf => rest.get(*marker as usize - 0xa0..),
        0xc4..=0xc6 | 0xd9..=0xdb => {
            let size = 1 << if *marker < 0xd0 { marker - 0xc4 } else { marker - 0xd9 };
            rest.get(size + number(size)?..)
        }
        0xcb | 0xcf | 0xd3 => rest.get(8..),
        0xcc | 0xd0 => rest.get(1..),
        0xcd | 0xd1 => rest.get(2..),
        0xce | 0xd2 => rest.get(4..),
        0xdc | 0xdd => many(number(2 << (marker - 0xdc))?, rest.get(2 << (marker - 0xdc)..)?),
        0xde | 0xdf => many(2 * number(2 << (marker - 0xde))?, rest.get(2 << (marker - 0xde)..)?),
        _ => None,
    }
}

/// The rules of what Node's broadcast channel takes: one array of three, a map with an event of type 2 in the middle,
/// a map that starts with a list of rooms at the end, and no byte more.
fn harmless_broadcast(message: &[u8]) -> Option<()> {
    let rest = skip(message.strip_prefix(&[0x93])?)?;
    let packet = rest.strip_prefix(&[0x83, 0xa4])?.strip_prefix(b"type")?;
    packet
        .strip_prefix(&[2, 0xa4])?
        .strip_prefix(b"data")?
        .first()
        .filter(|data| matches!(data, 0x91..=0x9f | 0xdc | 0xdd))?;
    let opts = skip(rest)?;
    let rooms = opts.strip_prefix(&[0x83, 0xa5])?.strip_prefix(b"rooms")?;
    rooms.first().filter(|rooms| matches!(rooms, 0x90..=0x9f | 0xdc | 0xdd))?;
    skip(opts)?.is_empty().then_some(())
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just(r#"{"_placeholder":true,"num":0}"#.to_owned()),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        r#""([a-z é😀]|\\\\[nrt"]|\\\\u[0-9a-f]{4}){0,40}""#,
    ];
    leaf.prop_recursive(5, 60, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(|items| format!("[{}]", items.join(" ,"))),
            prop::collection::vec((r#""[a-z_]{0,12}""#, inner), 0..20).prop_map(|fields| {
                let fields: Vec<_> = fields.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

fn broadcast() -> impl Strategy<Value = (Broadcast, Flags)> {
    let rooms = || prop::collection::vec("[a-z#é]{0,30}".prop_map(RoomName::new), 0..20);
    (
        json(),
        rooms(),
        rooms(),
        any::<bool>(),
        prop::collection::vec(any::<u8>(), 0..300),
        any::<Option<bool>>(),
        0..3,
    )
        .prop_map(|(json, rooms, except, volatile, attachment, compress, form)| {
            let json = match form {
                // Not an event, or not JSON, now and then.
                0 => json,
                1 => format!("[\"e\",{json}"),
                _ => format!("[\"e\",{json}]"),
            };
            let event = Event { json: json.into(), attachments: vec![Bytes::from(attachment)] };
            let delivery = if volatile { Delivery::Volatile } else { Delivery::Reliable };
            let targets = Targets { rooms, except };
            let flags = Flags { compress, ..Flags::default() };
            (Broadcast { namespace: NamespaceName::new("/n"), targets, delivery, event }, flags)
        })
}

fn decode_all(message: &[u8]) {
    let (limits, namespace) = (DecodeLimits::default(), NamespaceName::main());
    drop((
        is_from(message, &Uid::new("u")),
        decode_broadcast(message, &limits),
        decode_request(message, &namespace, &limits),
    ));
    drop((decode_response(message, &limits), sharded::decode(message, &limits)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_bytes_panic(message in prop::collection::vec(any::<u8>(), 0..200)) {
        decode_all(&message);
    }

    #[test]
    fn no_text_panics(text in "\\{\"(type|requestId|opts|data)\":[\\[\\]{}:,\"a-z0-9\\\\]{0,40}\\}?") {
        decode_all(text.as_bytes());
    }

    #[test]
    fn what_is_published_is_harmless_and_reads_back((broadcast, flags) in broadcast(), cut in any::<usize>(), byte in any::<u8>()) {
        let uid = Uid::new("abc123");
        let Ok(message) = encode_broadcast(&uid, &broadcast, &flags) else { return Ok(()) };
        prop_assert_eq!(harmless_broadcast(&message), Some(()), "{:02x?}", message);
        let read = decode_broadcast(&message, &DecodeLimits { attachments_max: 10_000, depth_max: 100 }).unwrap();
        prop_assert_eq!(&read.broadcast.targets, &broadcast.targets);
        prop_assert_eq!(read.flags, flags.clone());
        // What has been read is written the same.
        prop_assert_eq!(&encode_broadcast(&uid, &read.broadcast, &flags).unwrap(), &message);

        let request = Command::Broadcast { broadcast: broadcast.clone(), flags };
        let request = encode_request(Some(&uid), Some(&RequestId::new("q")), &request).unwrap();
        prop_assert_eq!(skip(&request), Some(&[][..]));

        for valid in [message, request] {
            let mut mutated = valid.clone();
            let at = cut % mutated.len();
            mutated[at] = byte;
            decode_all(&mutated);
            decode_all(&valid[..at]);
        }
    }
}
