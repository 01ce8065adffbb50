//! Clients of Engine.IO 3: socket.io-client 1.x and 2.x.

use broker::{AuthConfig, Dialect, Framing, NamespaceConfig, Opening, Parser};
use engineio::{BodyForm, Query};
use serde_json::json;

use crate::harness::{Broker, V3, V4, bare, config, sid_in};

/// A client in Node, or with JSONP.
const TEXT_ONLY: Opening = Opening::of(Dialect::Json(Framing { base64_only: true, ..Framing::V3 }));

// SHA-256 of "sesame".
const SESAME: &str = "d0c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272";

fn tokens(name: &str) -> NamespaceConfig {
    NamespaceConfig { auth: AuthConfig::Tokens(vec![SESAME.into()]), ..bare(name) }
}

#[test]
fn the_main_namespace_is_joined_by_itself_under_the_sid() {
    let mut broker = Broker::dev();
    let socket = broker.open(V3);
    let received = broker.received(socket);
    assert_eq!(received[1..], ["40"]);
    let sid = sid_in(&received[0]);
    assert_eq!(broker.publish(&[&sid], r#"["x"]"#).written, 1);
}

#[test]
fn a_polling_handshake_brings_the_main_namespace_along() {
    let mut broker = Broker::dev();
    let payload = broker.shard.open_polling(TEXT_ONLY, broker.now);
    let text = String::from_utf8(payload.body.to_vec()).unwrap();
    let (length, rest) = text.split_once(':').unwrap();
    assert_eq!(&rest[length.parse().unwrap()..], "2:40");
    let payload = broker.shard.open_polling(V3, broker.now);
    assert!(payload.body.ends_with(b"}\x00\x02\xff40"), "{payload:?}");
}

#[test]
fn the_token_of_the_handshake_lets_into_the_main_namespace() {
    let check = |raw: &str, answer: &str| {
        let mut broker = Broker::with_namespaces(vec![tokens("/")]);
        let opening = Opening::new(Parser::Json, &Query::parse(raw), raw);
        let socket = broker.open(opening.clone());
        assert_eq!(broker.received(socket)[1..], [answer], "{raw} over WebSocket");
        let payload =
            broker.shard.open_polling(Opening { dialect: TEXT_ONLY.dialect, ..opening }, broker.now);
        let text = String::from_utf8(payload.body.to_vec()).unwrap();
        assert!(text.ends_with(&format!("{}:{answer}", answer.len())), "{raw} over polling: {text}");
    };
    check("EIO=3", r#"44"Not authorized""#);
    check("EIO=3&token=wrong", r#"44"Not authorized""#);
    check("token=s%65same&EIO=3", "40");
}

#[test]
fn on_revision_4_the_token_of_the_handshake_counts_for_nothing() {
    let raw = "EIO=4&token=sesame";
    assert_eq!(Opening::new(Parser::Json, &Query::parse(raw), raw), V4);
}

#[test]
fn other_namespaces_get_ids_made_of_name_and_sid_and_their_query_is_the_credential() {
    let mut broker = Broker::with_namespaces(vec![bare("/"), tokens("/secret")]);
    let socket = broker.open(V3);
    let sid = sid_in(&broker.received(socket)[0]);
    for (packet, answer) in [
        ("40/secret,", r#"44/secret,"Not authorized""#),
        ("40/secret?token=wrong,", r#"44/secret,"Not authorized""#),
        ("40/secret?a=b&token=s%65same", "40/secret,"),
    ] {
        broker.send(socket, packet);
        assert_eq!(broker.received(socket), [answer], "{packet}");
    }
    let mut publication = crate::harness::publication(&[], r#"["x"]"#, adapter::Delivery::Reliable).broadcast;
    publication.namespace = socketio::NamespaceName::new("/secret");
    publication.targets.rooms = vec![socketio::RoomName::new(format!("/secret#{sid}"))];
    assert_eq!(broker.shard.deliver(&broker::Publication::new(publication)).written, 1);
}

#[test]
fn refusals_are_error_packets_with_the_data_alone() {
    let with_data = NamespaceConfig { refusal_data: Some(json!({"code": "E_AUTH"})), ..tokens("/data") };
    let mut broker = Broker::with_namespaces(vec![tokens("/"), with_data]);
    let socket = broker.open(V3);
    assert_eq!(broker.received(socket)[1..], [r#"44"Not authorized""#]);
    broker.send(socket, "40/data,");
    assert_eq!(broker.received(socket), [r#"44/data,{"code":"E_AUTH"}"#]);
    broker.send(socket, "40/unknown?x=1");
    assert_eq!(broker.received(socket), [r#"44/unknown,{"message":"Invalid namespace"}"#]);
}

#[test]
fn joining_again_closes_the_connection() {
    for packets in [&["40"][..], &["40/?a=1"], &["40/a,", "40/a"]] {
        let mut broker = Broker::dev();
        let socket = broker.open(V3);
        for packet in packets {
            broker.send(socket, packet);
        }
        assert!(broker.is_closed(socket), "{packets:?}");
    }
}

#[test]
fn events_carry_the_query_of_their_namespace_or_not() {
    let mut broker = Broker::dev();
    let socket = broker.open(V3);
    broker.send(socket, "40/a?token=x");
    broker.received(socket);
    for packet in [r#"42/a?token=x,1["x"]"#, r#"42/a,1["x"]"#] {
        broker.send(socket, packet);
        assert_eq!(broker.received(socket), [r#"43/a,1[{"status":"ok"}]"#], "{packet}");
    }
}

#[test]
fn pings_are_answered_over_polling_too() {
    let mut broker = Broker::dev();
    let polling = broker.open_polling(TEXT_ONLY);
    let poll = broker.poll(polling).unwrap();
    broker.push(polling, "1:2").unwrap();
    assert_eq!(broker.answer(poll).as_deref(), Some("1:3"));
    broker.push(polling, "2:40").unwrap();
    let poll = broker.poll(polling).unwrap();
    assert_eq!(broker.answer(poll).as_deref(), Some("1:61:1"));
}

#[test]
fn binary_takes_the_forms_of_revision_3() {
    let mut broker = Broker::dev();
    let sender = broker.connect_in("r");
    let websocket = broker.open(V3);
    broker.send(websocket, r#"42["join","r"]"#);
    broker.received(websocket);
    let mut polls = Vec::new();
    for opening in [V3, TEXT_ONLY] {
        let polling = broker.open_polling(opening);
        broker.push(polling, r#"14:42["join","r"]"#).unwrap();
        polls.push(broker.poll(polling).unwrap());
    }
    let head = r#"451-["x",{"_placeholder":true,"num":0}]"#;
    broker.send(sender, head);
    broker.send_binary(sender, &[1, 2, 3]);
    assert_eq!(broker.received(websocket), [head, "<04010203>"]);
    let payloads: Vec<_> = polls.into_iter().map(|poll| broker.payload(poll).unwrap()).collect();
    let mut framed = vec![0, 3, 9, 255];
    framed.extend_from_slice(head.as_bytes());
    framed.extend_from_slice(&[1, 4, 255, 4, 1, 2, 3]);
    assert_eq!((&payloads[0].body[..], payloads[0].form), (&framed[..], BodyForm::Binary));
    let text = format!("39:{head}6:b4AQID");
    assert_eq!((&payloads[1].body[..], payloads[1].form), (text.as_bytes(), BodyForm::Text));
}

#[test]
fn text_without_binary_is_polled_in_the_form_that_the_client_takes() {
    let mut broker = Broker::dev();
    let polls = [V3, TEXT_ONLY].map(|opening| {
        let polling = broker.open_polling(opening);
        broker.poll(polling).unwrap()
    });
    broker.publish(&[], r#"["hé😀"]"#);
    let [binary, text] = polls.map(|poll| broker.payload(poll).unwrap());
    let framed = [&[0, 1, 3, 255][..], r#"42["hé😀"]"#.as_bytes()].concat();
    assert_eq!((&binary.body[..], binary.form), (&framed[..], BodyForm::Binary));
    // 1.x decodes these once more than 2.x; ASCII is the same to both.
    let escaped = br#"25:42["h\u00e9\ud83d\ude00"]"#;
    assert_eq!((&text.body[..], text.form), (&escaped[..], BodyForm::Text));
}

/// A packet of a text body as clients 1.x push it.
fn encoded_twice(packet: &str) -> String {
    let text: String = packet.bytes().map(char::from).collect();
    format!("{}:{text}", text.encode_utf16().count())
}

fn encoded_once(packet: &str) -> String {
    format!("{}:{packet}", packet.encode_utf16().count())
}

#[test]
fn text_that_clients_1_encode_twice_is_decoded_twice() {
    let (genuine, doubtful) = (r#"42["hé€😀"]"#, r#"42["Ã©"]"#);
    let old = || Opening { cache_buster: Some("1795227732773-0".into()), ..V3 };
    for (opening, guess, pushes) in [
        (old(), false, vec![(encoded_twice(genuine), genuine), (encoded_once(doubtful), r#"42["é"]"#)]),
        (V3, true, vec![(encoded_twice(genuine), genuine), (encoded_once(genuine), genuine)]),
        (V3, true, vec![(encoded_once(genuine), genuine), (encoded_once(doubtful), doubtful)]),
        (V3, false, vec![(encoded_once(doubtful), doubtful)]),
    ] {
        let mut config = config();
        config.engine.eio3_guess_encoding = guess;
        let mut broker = Broker::new(config);
        let hears = broker.connect_in("r");
        let polling = broker.open_polling(opening.clone());
        broker.push(polling, r#"14:42["join","r"]"#).unwrap();
        for (body, expected) in pushes {
            broker.push(polling, &body).unwrap();
            assert_eq!(broker.received(hears), [expected], "{body} from {opening:?}, guess {guess}");
        }
    }
}

#[test]
fn text_over_websocket_is_encoded_once_whatever_the_client() {
    let mut broker = Broker::dev();
    let hears = broker.connect_in("r");
    let socket = broker.open(Opening { cache_buster: Some("1795227732773-0".into()), ..V3 });
    broker.send(socket, r#"42["join","r"]"#);
    broker.send(socket, r#"42["Ã©"]"#);
    assert_eq!(broker.received(hears), [r#"42["Ã©"]"#]);
}

#[test]
fn a_pong_from_a_client_closes_its_connection() {
    let mut broker = Broker::dev();
    let socket = broker.open(V3);
    broker.send(socket, "3");
    assert!(broker.is_closed(socket));
}
