//! Clients whose parser is MessagePack.

use broker::{Dialect, Flow, Framing, Happening, NamespaceConfig, Opening};
use bytes::Bytes;
use engineio::CloseReason;
use socketio::{Packet, PacketKind};

use crate::harness::{Broker, Socket, V3, websocket_closed};

const MSGPACK: Opening = Opening::of(Dialect::MsgPack(Framing::V4));
const JOIN: &str = r#"["join","r"]"#;

fn packed(kind: PacketKind, id: Option<u64>, data: Option<&str>) -> Vec<u8> {
    let packet = Packet { kind, namespace: "/", id, attachments: 0, data };
    adapter::parser::encode(&packet, &[Bytes::from_static(&[1, 2])]).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    format!("<{}>", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn connect_in_room(broker: &mut Broker) -> Socket {
    let socket = broker.open(MSGPACK);
    broker.send_binary(socket, &packed(PacketKind::Connect, None, None));
    broker.send_binary(socket, &packed(PacketKind::Event, Some(0), Some(JOIN)));
    let received = broker.received(socket);
    assert!(received[0].starts_with("0{"), "the open packet is text: {received:?}");
    let answer = packed(PacketKind::Ack, Some(0), Some(r#"[{"status":"ok"}]"#));
    assert_eq!(received[2..], [hex(&answer)]);
    socket
}

#[test]
fn an_event_reaches_clients_of_either_parser_with_its_attachments() {
    let mut broker = Broker::dev();
    let (json, msgpack) = (broker.connect_in("r"), connect_in_room(&mut broker));
    let event = r#"["x",{"_placeholder":true,"num":0}]"#;
    broker.send_binary(msgpack, &packed(PacketKind::Event, None, Some(event)));
    assert_eq!(broker.received(json), [format!("451-{event}"), "<0102>".into()]);
    broker.send(json, &format!("451-{event}"));
    broker.send_binary(json, &[1, 2]);
    assert_eq!(broker.received(msgpack), [hex(&packed(PacketKind::Event, None, Some(event)))]);
}

#[test]
fn an_upgrade_and_heartbeats_are_those_of_engine_io() {
    let mut broker = Broker::dev();
    let polling = broker.open_polling(MSGPACK);
    let socket = broker.probe(polling).unwrap();
    broker.send(socket, "2probe");
    broker.send(socket, "5");
    assert_eq!(broker.received(socket), ["3probe"]);
    broker.send_binary(socket, &packed(PacketKind::Connect, None, None));
    assert_eq!(broker.received(socket).len(), 1);
    broker.advance_ms(25_000);
    assert_eq!(broker.received(socket), ["2"]);
}

#[test]
fn a_message_that_is_no_packet_ends_its_session_alone() {
    for (text, bytes) in [
        (Some("40"), None),
        (None, Some(vec![0xc1])),
        (None, Some(packed(PacketKind::Event, None, Some(r#"{"not":"an array"}"#)))),
        (None, Some([packed(PacketKind::Disconnect, None, None), vec![0]].concat())),
        (None, Some(packed(PacketKind::ConnectError, None, Some(r#""no""#)))),
    ] {
        let mut broker = Broker::dev();
        let (other, socket) = (connect_in_room(&mut broker), connect_in_room(&mut broker));
        broker.happenings();
        match (text, bytes) {
            (Some(text), _) => assert_eq!(broker.send(socket, text), Flow::Closed),
            (None, bytes) => assert_eq!(broker.send_binary(socket, &bytes.unwrap()), Flow::Closed),
        }
        assert_eq!(broker.received(socket), ["CLOSE"]);
        let happenings = broker.happenings();
        assert!(matches!(happenings[0], Happening::SocketPeerFault(_)), "{happenings:?}");
        assert_eq!(happenings[1], websocket_closed(CloseReason::ForcedClose));
        broker.publish(&["r"], r#"["x"]"#);
        assert_eq!(broker.received(other).len(), 1);
    }
}

#[test]
fn a_reserved_name_is_no_offence_here_but_goes_nowhere() {
    let mut broker = Broker::dev();
    let (json, msgpack) = (broker.connect_in("r"), connect_in_room(&mut broker));
    broker.send_binary(msgpack, &packed(PacketKind::Event, Some(3), Some(r#"["disconnect"]"#)));
    let refused = r#"[{"status":"error","message":"event not allowed"}]"#;
    assert_eq!(broker.received(msgpack), [hex(&packed(PacketKind::Ack, Some(3), Some(refused)))]);
    assert_eq!(broker.received(json), Vec::<String>::new());
    broker.send_binary(msgpack, &packed(PacketKind::Event, None, Some("[]")));
    assert_eq!(broker.received(json), Vec::<String>::new());
}

#[test]
fn clients_of_revision_3_may_use_it_too() {
    let mut broker =
        Broker::with_namespaces(vec![NamespaceConfig { join: vec!["r".into()], ..NamespaceConfig::dev() }]);
    let socket = broker.open(Opening { dialect: Dialect::MsgPack(Framing::V3), ..V3 });
    let connected = [&[4][..], &packed(PacketKind::Connect, None, None)].concat();
    assert_eq!(broker.received(socket)[1..], [hex(&connected)]);
    broker.publish(&["r"], r#"["x",1]"#);
    let event = [&[4][..], &packed(PacketKind::Event, None, Some(r#"["x",1]"#))].concat();
    assert_eq!(broker.received(socket), [hex(&event)]);
}
