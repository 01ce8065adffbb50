//! What must hold for every packet and every input.

use std::borrow::Cow;

use bytes::BytesMut;
use proptest::prelude::*;
use socketio::{
    Assembler, DecodeLimits, EventFault, PacketKind, ParseFault, Protocol, decode, encode_ack,
    encode_connect, encode_connect_error, encode_disconnect, encode_event, event_json, event_name,
    first_argument, string_field,
};

const LIMITS: DecodeLimits = DecodeLimits { attachments_max: 10, depth_max: 64 };

/// JSON text of any form, with the spaces, numbers and escapes that a writer in another language leaves.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
        json_string(),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[ {} ]", items.join(" ,"))),
            prop::collection::vec((json_string(), inner), 0..4).prop_map(|fields| {
                let fields: Vec<_> = fields.iter().map(|(key, value)| format!("{key}:\n{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

fn json_string() -> impl Strategy<Value = String> {
    let piece = prop_oneof!["[a-z é😀\u{7f}]{0,12}", r#"\\["\\/bfnrt]"#, "\\\\u[0-9a-fA-F]{4}"];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn json_array() -> impl Strategy<Value = String> {
    prop::collection::vec(json_text(), 0..4).prop_map(|items| format!("[{}]", items.join(",")))
}

fn namespace() -> impl Strategy<Value = String> {
    "/[^,]{0,20}"
}

/// Text that goes wrong late: built of what packets are built of.
fn almost_packet() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[0-9]{1,3}",
        "[0-6]-?",
        "/[a-z?]{0,4},?",
        Just("{\"_placeholder\":true,\"num\":0}".to_owned()),
        "[\\[\\]{}:,\" \\\\-]",
        json_text(),
        ".{0,3}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("encoders write UTF-8")
}

fn published(name: &str, args: &str, attachments: usize) -> Result<String, EventFault> {
    let mut out = BytesMut::new();
    event_json(&mut out, name, args, attachments, &LIMITS)?;
    Ok(String::from_utf8(out.into()).expect("names and arguments are UTF-8"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_event_decodes_to_what_was_encoded(
        namespace in namespace(), id in any::<Option<u64>>(), attachments in 0_usize..=10,
        name in "[a-z😀\"]{1,9}[A-Z]", args in json_array(),
    ) {
        let json = published(&name, &args, 0).expect("publishable");
        let text = text(|out| encode_event(out, &namespace, id, attachments, &json));
        let packet = decode(&text, &LIMITS).expect(&text);
        let kind = if attachments == 0 { PacketKind::Event } else { PacketKind::BinaryEvent };
        prop_assert_eq!(packet.kind, kind);
        prop_assert_eq!((packet.namespace, packet.id, packet.attachments), (&*namespace, id, attachments));
        prop_assert_eq!(packet.data, Some(&*json));
        prop_assert_eq!(event_name(&json).map(Cow::into_owned), Some(name));
    }

    #[test]
    fn an_ack_decodes_to_what_was_encoded(
        namespace in namespace(), id in any::<u64>(), attachments in 0_usize..=10, json in json_array(),
    ) {
        let text = text(|out| encode_ack(out, &namespace, id, attachments, &json));
        let packet = decode(&text, &LIMITS).expect(&text);
        prop_assert_eq!(packet.kind.without_attachments(), PacketKind::Ack);
        prop_assert_eq!((packet.namespace, packet.id, packet.attachments), (&*namespace, Some(id), attachments));
        prop_assert_eq!(packet.data, Some(&*json));
    }

    #[test]
    fn connection_packets_decode_to_what_was_encoded(namespace in namespace(), sid in ".*", data in json_text()) {
        let connect = text(|out| encode_connect(out, Protocol::V5, &namespace, &sid));
        let packet = decode(&connect, &LIMITS).expect(&connect);
        prop_assert_eq!((packet.kind, packet.namespace), (PacketKind::Connect, &*namespace));
        prop_assert_eq!(packet.data.and_then(|data| string_field(data, "sid")), Some(sid.clone()));

        let refusal = text(|out| encode_connect_error(out, Protocol::V5, &namespace, &sid, Some(&data)));
        let packet = decode(&refusal, &LIMITS).expect(&refusal);
        prop_assert_eq!(packet.data.and_then(|data| string_field(data, "message")), Some(sid));

        let disconnect = text(|out| encode_disconnect(out, &namespace));
        let packet = decode(&disconnect, &LIMITS).expect(&disconnect);
        prop_assert_eq!((packet.kind, packet.namespace, packet.data), (PacketKind::Disconnect, &*namespace, None));
    }

    #[test]
    fn every_array_with_its_placeholders_can_be_published_and_decoded(
        args in json_array(), attachments in 1_usize..=10,
    ) {
        let placeholders: Vec<_> =
            (0..attachments).map(|num| format!("{{\"_placeholder\":true,\"num\":{num}}}")).collect();
        let args = format!("[{args},{{\"deep\":[{}]}}]", placeholders.join(","));
        let json = published("n", &args, attachments).expect("publishable");
        let text = text(|out| encode_event(out, "/", None, attachments, &json));
        prop_assert_eq!(decode(&text, &LIMITS).expect(&text).data, Some(&*json));
    }

    #[test]
    fn whatever_can_be_published_can_be_decoded(name in ".*", args in ".*|\\[.*\\]", attachments in 0_usize..3) {
        if let Ok(json) = published(&name, &args, attachments) {
            let text = text(|out| encode_event(out, "/", None, attachments, &json));
            prop_assert!(decode(&text, &LIMITS).is_ok(), "{}", text);
        }
    }

    #[test]
    fn json_is_what_serde_json_takes_for_json(text in prop_oneof![json_array(), almost_packet(), ".*"]) {
        let packet = format!("3[{text}]");
        // `RawValue` skips over values, so that lone surrogates and large numbers are no fault, as here.
        let reference = serde_json::from_str::<&serde_json::value::RawValue>(&packet[1..]).is_ok();
        prop_assert_eq!(decode(&packet, &LIMITS).is_ok(), reference, "{}", packet);
    }

    #[test]
    fn unescaped_text_is_what_serde_json_reads(string in json_string()) {
        if let Ok(reference) = serde_json::from_str::<String>(&string) {
            let data = format!("[1,{string}]");
            prop_assert_eq!(first_argument(&data).map(Cow::into_owned), Some(reference));
        }
    }

    #[test]
    fn no_text_panics(text in prop_oneof![almost_packet(), ".*"], key in ".*") {
        let _packet = decode(&text, &LIMITS);
        let _name = event_name(&text);
        let _argument = first_argument(&text);
        let _field = string_field(&text, &key);
        let _event = published(&key, &text, 2);
    }

    #[test]
    fn no_sequence_of_messages_panics_or_loses_count(
        messages in prop::collection::vec(prop_oneof![
            almost_packet().prop_map(Ok), Just(Ok("52-[\"x\"]".to_owned())), any::<Vec<u8>>().prop_map(Err),
        ], 0..12),
    ) {
        let mut assembler = Assembler::new();
        let mut missing = 0_usize;
        for message in &messages {
            let (result, was_missing) = (match message {
                Ok(text) => assembler.handle_text(text, &LIMITS),
                Err(bytes) => assembler.handle_binary(bytes, &LIMITS),
            }, missing);
            missing = match (message, &result) {
                (Ok(text), Ok(None)) => decode(text, &LIMITS).expect("accepted").attachments,
                (Err(_), Ok(None)) => missing - 1,
                _ => 0,
            };
            match result {
                Err(ParseFault::AttachmentsMissing { missing }) => prop_assert_eq!(missing, was_missing),
                Err(ParseFault::UnexpectedBinary) => prop_assert_eq!(was_missing, 0),
                Ok(Some(_)) if message.is_err() => prop_assert_eq!(was_missing, 1),
                _ => {}
            }
        }
    }
}

#[test]
fn nesting_at_the_ceiling_fits_a_small_stack() {
    let limits = DecodeLimits { depth_max: usize::MAX, ..LIMITS };
    let nested = |levels: usize| format!("3{}{}", "[".repeat(levels), "]".repeat(levels));
    let run = move || {
        assert!(decode(&nested(socketio::DEPTH_CEILING), &limits).is_ok());
        assert!(decode(&nested(socketio::DEPTH_CEILING + 1), &limits).is_err());
        assert!(decode(&nested(1_000_000), &limits).is_err());
    };
    let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(run).expect("a thread");
    thread.join().expect("no overflow");
}
