//! Clients of Socket.IO 0.9.

use adapter::{Action, Extent, Operation, Targets};
use broker::{AuthConfig, NamespaceConfig, Refusal};
use engineio::{BodyForm, CloseReason, HttpFault};
use socketio::NamespaceName;

use crate::harness::{Broker, Polling, Socket, bare, polling_closed, websocket_closed};

const UNKNOWN: Refusal = Refusal::Fault(HttpFault::SessionUnknown);

fn open_websocket(broker: &mut Broker) -> Socket {
    let session = broker.handshake_09();
    let socket = broker.probe(session).unwrap();
    assert_eq!(broker.received(socket), ["1::"]);
    socket
}

/// A session with its first poll answered.
fn open_polling(broker: &mut Broker) -> Polling {
    let session = broker.handshake_09();
    let poll = broker.poll(session).unwrap();
    assert_eq!(broker.answer(poll).as_deref(), Some("1::"));
    session
}

#[test]
fn nobody_is_in_the_root_before_the_first_transport() {
    let mut broker = Broker::dev();
    broker.handshake_09();
    assert_eq!(broker.shard.socket_count(), 0);
    broker.advance_ms(45_100);
    broker.assert_empty();
}

#[test]
fn events_messages_and_answers_cross_to_current_clients_and_back() {
    let mut broker = Broker::dev();
    let (current, old) = (broker.connect_in("r"), open_websocket(&mut broker));
    broker.send(old, r#"5:1+::{"name":"join","args":["r"]}"#);
    assert_eq!(broker.received(old), [r#"6:::1+[{"status":"ok"}]"#]);
    broker.send(old, r#"5:::{"name":"x","args":[1,"hé"]}"#);
    broker.send(old, "3:2::hi");
    broker.send(old, r#"4:::{"a":1}"#);
    let heard = [r#"42["x",1,"hé"]"#, r#"42["message","hi"]"#, r#"42["message",{"a":1}]"#];
    assert_eq!(broker.received(current), heard);
    assert_eq!(broker.received(old), ["6:::2"]);
    for (sent, expected) in [
        (r#"42["x",1]"#, r#"5:::{"name":"x","args":[1]}"#),
        (r#"42["message","hi"]"#, "3:::hi"),
        (r#"42["message",null]"#, "4:::null"),
    ] {
        broker.send(current, sent);
        assert_eq!(broker.received(old), [expected]);
    }
}

#[test]
fn a_polling_client_gets_what_waits_counted_and_its_packets_are_heard() {
    let mut broker = Broker::dev();
    let session = open_polling(&mut broker);
    broker.push(session, r#"5:1+::{"name":"join","args":["r"]}"#).unwrap();
    broker.publish(&["r"], r#"["message","😀"]"#);
    let poll = broker.poll(session).unwrap();
    let joined = r#"6:::1+[{"status":"ok"}]"#;
    let expected = format!("\u{fffd}{}\u{fffd}{joined}\u{fffd}6\u{fffd}3:::😀", joined.len());
    assert_eq!(broker.answer(poll), Some(expected));
    let key = broker.shard.push_started(&session.sid, session.wire, broker.now).unwrap();
    let form = b"d=%225%3A%3A%3A%7B%5C%22name%5C%22%3A%5C%22leave%5C%22%2C%5C%22args%5C%22%3A%5B%5C%22r%5C%22%5D%7D%22";
    assert_eq!(broker.shard.push(key, BodyForm::Form, form, broker.now), Ok(()));
    assert_eq!(broker.publish(&["r"], r#"["x"]"#).matched, 0);
}

#[test]
fn an_idle_poll_is_answered_within_twenty_seconds_and_a_newer_one_replaces_it() {
    let mut broker = Broker::dev();
    let session = open_polling(&mut broker);
    let first = broker.poll(session).unwrap();
    let second = broker.poll(session).unwrap();
    assert_eq!(broker.answer(first).as_deref(), Some("8::"));
    broker.advance_ms(20_050);
    assert_eq!(broker.answer(second).as_deref(), Some("8::"));
    // 45 s from the last poll, which none of its answers prolongs.
    broker.happenings();
    broker.advance_ms(25_050);
    assert_eq!(broker.happenings(), [polling_closed(CloseReason::PingTimeout)]);
    assert_eq!(broker.poll(session), Err(UNKNOWN));
}

#[test]
fn a_poll_that_is_given_up_does_not_end_the_session() {
    let mut broker = Broker::dev();
    let session = open_polling(&mut broker);
    let poll = broker.poll(session).unwrap();
    let (key, _) = broker.shard.waiting_poll(&session.sid).unwrap();
    broker.shard.handle_poll_lost(key, poll, broker.now);
    broker.publish(&[], r#"["message","kept"]"#);
    let poll = broker.poll(session).unwrap();
    assert_eq!(broker.answer(poll).as_deref(), Some("3:::kept"));
}

#[test]
fn a_heartbeat_that_is_not_sent_back_ends_the_session() {
    let mut broker = Broker::dev();
    let socket = open_websocket(&mut broker);
    broker.advance_ms(25_050);
    assert_eq!(broker.received(socket), ["2::"]);
    broker.send(socket, "2::");
    broker.advance_ms(25_050);
    assert_eq!(broker.received(socket), ["2::"]);
    broker.happenings();
    broker.advance_ms(20_050);
    assert_eq!(broker.received(socket), ["CLOSE"]);
    assert_eq!(broker.happenings(), [websocket_closed(CloseReason::PingTimeout)]);
}

#[test]
fn namespaces_are_connected_as_often_as_asked_and_refused_without_an_end() {
    let private = NamespaceConfig { auth: AuthConfig::Deny, ..bare("/private") };
    let mut broker = Broker::with_namespaces(vec![private, bare("/"), bare("/chat")]);
    let socket = open_websocket(&mut broker);
    for (sent, received) in [
        ("1::/chat?a=b", "1::/chat"),
        ("1::/chat", "1::/chat"),
        ("1::/private", "7::/private:2"),
        ("1::/nowhere", "7::/nowhere:2"),
        (r#"5:7+:/chat:{"name":"x"}"#, r#"6::/chat:7+[{"status":"error","message":"event not allowed"}]"#),
    ] {
        broker.send(socket, sent);
        assert_eq!(broker.received(socket), [received], "{sent}");
    }
    // It does not wait for the answer to its connect.
    broker.send(socket, r#"5::/private:{"name":"x"}"#);
    broker.send(socket, "0::/chat");
    assert_eq!((broker.received(socket), broker.shard.socket_count()), (Vec::new(), 1));
}

#[test]
fn a_disconnect_by_packet_or_by_request_ends_the_session() {
    let mut broker = Broker::dev();
    let (polling, by_request) = (open_polling(&mut broker), open_polling(&mut broker));
    let socket = open_websocket(&mut broker);
    broker.push(polling, "0::").unwrap();
    broker.send(socket, "0::");
    broker.shard.disconnect_09(&by_request.sid, broker.now);
    broker.turn();
    assert_eq!(broker.received(socket), ["CLOSE"]);
    assert_eq!(broker.shard.socket_count(), 0);
    assert_eq!(broker.poll(polling), Err(UNKNOWN));
    assert_eq!(broker.poll(by_request), Err(UNKNOWN));
}

#[test]
fn a_client_that_is_disconnected_from_the_root_is_disconnected_from_all() {
    let mut broker = Broker::dev();
    let socket = open_websocket(&mut broker);
    broker.send(socket, "1::/chat");
    broker.received(socket);
    let operation = Operation {
        namespace: NamespaceName::main(),
        targets: Targets::default(),
        action: Action::Disconnect(Extent::Namespace),
    };
    broker.shard.operate(&operation, broker.now);
    broker.turn();
    assert_eq!(broker.received(socket), ["0::", "0::/chat", "CLOSE"]);
}

#[test]
fn what_is_no_packet_ends_its_session_alone() {
    for (text, offence) in
        [("9::", CloseReason::ForcedClose), ("\u{fffd}9\u{fffd}3:::", CloseReason::ParseError)]
    {
        let mut broker = Broker::dev();
        let (other, socket) = (open_websocket(&mut broker), open_websocket(&mut broker));
        broker.happenings();
        broker.send(socket, text);
        assert_eq!(broker.received(socket), ["CLOSE"]);
        assert!(broker.happenings().contains(&websocket_closed(offence)), "{text}");
        broker.publish(&[], r#"["x"]"#);
        assert_eq!(broker.received(other), [r#"5:::{"name":"x"}"#]);
    }
}

#[test]
fn a_second_websocket_is_not_let_in() {
    let mut broker = Broker::dev();
    let session = broker.handshake_09();
    broker.probe(session).unwrap();
    assert_eq!(broker.probe(session).err(), Some(Refusal::Busy));
}

#[test]
fn drained_clients_hear_of_it_by_their_transport() {
    let mut broker = Broker::dev();
    let (polling, socket) = (open_polling(&mut broker), open_websocket(&mut broker));
    let poll = broker.poll(polling).unwrap();
    broker.shard.drain(10, broker.now);
    broker.turn();
    assert_eq!(broker.received(socket), ["CLOSE"]);
    assert_eq!(broker.answer(poll).as_deref(), Some("8::"));
    // Unknown is what tells it to begin anew.
    assert_eq!(broker.poll(polling), Err(UNKNOWN));
}
