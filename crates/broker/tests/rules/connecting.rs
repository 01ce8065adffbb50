//! Handshakes, CONNECT and DISCONNECT.

use broker::{AuthConfig, ConnectRefusal, Flow, Happening, LimitsConfig, NamespaceConfig, ShardConfig};
use engineio::{BodyForm, CloseReason, Transport};
use serde_json::json;

use crate::harness::{Broker, V4, bare, config, sid_in};

// SHA-256 of "sesame".
const SESAME: &str = "d0c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272";

#[test]
fn greeting_and_open_packet_go_out_in_one_write() {
    let mut broker = Broker::dev();
    let link = broker.new_link();
    broker.shard.open_websocket(link, V4, Some(b"HTTP/1.1 101 X\r\n\r\n"[..].into()), broker.now);
    broker.turn();
    let link = broker.wire.link(link);
    let text = String::from_utf8_lossy(&link.bytes).into_owned();
    let open = text.strip_prefix("HTTP/1.1 101 X\r\n\r\n").unwrap();
    let rest = r#"","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    assert!(open.contains(r#"0{"sid":""#) && open.ends_with(rest), "{open}");
    assert_eq!(link.writes, 1);
}

#[test]
fn a_polling_handshake_is_answered_by_the_open_packet_alone() {
    let mut broker = Broker::dev();
    let payload = broker.shard.open_polling(V4, broker.now);
    let text = String::from_utf8(payload.body.to_vec()).unwrap();
    let sid = sid_in(&text);
    let expected = format!(
        r#"0{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
    );
    assert_eq!((text, payload.form), (expected, BodyForm::Text));
    assert_eq!(sid.len(), 20);
}

#[test]
fn connect_is_answered_by_a_public_id_of_its_own() {
    let mut broker = Broker::dev();
    let socket = broker.open(V4);
    let session = sid_in(&broker.received(socket)[0]);
    assert_eq!(broker.send(socket, "40"), Flow::Continue);
    let answer = broker.received(socket).remove(0);
    let id = sid_in(&answer);
    assert_eq!(answer, format!(r#"40{{"sid":"{id}"}}"#));
    assert_eq!(id.len(), 20);
    assert_ne!(id, session);
}

#[test]
fn one_connection_joins_several_namespaces_with_an_id_each() {
    let mut broker = Broker::dev();
    let (socket, main) = broker.connect();
    broker.send(socket, r#"40/a,{"token":"x"}"#);
    let answer = broker.received(socket).remove(0);
    assert_eq!(answer, format!(r#"40/a,{{"sid":"{}"}}"#, sid_in(&answer)));
    assert_ne!(sid_in(&answer), main);
    assert_eq!(broker.shard.socket_count(), 2);
}

#[test]
fn one_namespace_over_the_limit_is_refused_and_the_connection_stays() {
    let limits = LimitsConfig { namespaces_per_connection: 2, ..LimitsConfig::default() };
    let mut broker = Broker::new(ShardConfig { limits, ..config() });
    let (socket, _) = broker.connect();
    broker.send(socket, "40/a,");
    assert!(broker.received(socket)[0].starts_with(r#"40/a,{"sid""#));
    assert_eq!(broker.send(socket, "40/b,"), Flow::Continue);
    assert_eq!(broker.received(socket), [r#"44/b,{"message":"Too many namespaces"}"#]);
    assert_eq!(broker.happenings(), [Happening::ConnectRefused(ConnectRefusal::TooManyNamespaces)]);
    broker.send(socket, "41/a,");
    broker.send(socket, "40/b,");
    assert!(broker.received(socket)[0].starts_with(r#"40/b,{"sid""#));
}

#[test]
fn an_unknown_namespace_is_refused_and_the_connection_stays() {
    let mut broker = Broker::with_namespaces(vec![bare("/")]);
    let socket = broker.open(V4);
    broker.received(socket);
    assert_eq!(broker.send(socket, "40/x,"), Flow::Continue);
    assert_eq!(broker.received(socket), [r#"44/x,{"message":"Invalid namespace"}"#]);
    assert_eq!(broker.happenings(), [Happening::ConnectRefused(ConnectRefusal::UnknownNamespace)]);
    // On this revision a query is part of the name.
    broker.send(socket, "40/?token=1,");
    assert_eq!(broker.received(socket), [r#"44/?token=1,{"message":"Invalid namespace"}"#]);
}

#[test]
fn offences_against_namespaces_close_the_connection() {
    for (before, offence) in [
        (&[][..], r#"42["x"]"#),
        (&["40"], r#"42/a,["x"]"#),
        (&["40"], "40"),
        (&["40/a,"], "40/a,"),
        (&["40"], r#"44{"message":"x"}"#),
    ] {
        let mut broker = Broker::dev();
        let socket = broker.open(V4);
        for packet in before {
            broker.send(socket, packet);
        }
        broker.received(socket);
        assert_eq!(broker.send(socket, offence), Flow::Closed, "{offence}");
        assert_eq!(broker.received(socket), ["CLOSE"], "{offence}");
        assert!(broker.is_closed(socket));
        let happenings = broker.happenings();
        assert!(
            matches!(
                happenings[..],
                [
                    Happening::SocketPeerFault(_),
                    Happening::SessionClosed(Transport::WebSocket, CloseReason::ForcedClose)
                ]
            ),
            "{happenings:?}"
        );
        broker.assert_empty();
    }
}

#[test]
fn a_namespace_that_was_left_can_be_joined_again_under_a_new_id() {
    let mut broker = Broker::dev();
    let (socket, first) = broker.connect();
    assert_eq!(broker.send(socket, "41"), Flow::Continue);
    assert_eq!(broker.shard.socket_count(), 0);
    assert_eq!(broker.send(socket, "41"), Flow::Continue, "leaving twice is no offence");
    broker.send(socket, "40");
    let answer = broker.received(socket).remove(0);
    assert_ne!(sid_in(&answer), first);
}

#[test]
fn an_event_that_comes_after_its_namespace_was_left_is_ignored() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.send(socket, "41");
    assert_eq!(broker.send(socket, r#"421["x"]"#), Flow::Continue);
    assert_eq!(broker.received(socket), [""; 0]);
    assert!(!broker.is_closed(socket));
}

#[test]
fn a_connection_that_joins_nothing_is_closed_after_the_connect_timeout() {
    let limits = LimitsConfig { connect_timeout_ms: 5000, ..LimitsConfig::default() };
    let mut broker = Broker::new(ShardConfig { limits, ..config() });
    let (joined, _) = broker.connect();
    let idle = broker.open(V4);
    let polling = broker.open_polling(V4);
    let poll = broker.poll(polling).unwrap();
    broker.received(idle);
    broker.advance_ms(4990);
    assert_eq!((broker.received(idle), broker.answer(poll)), (vec![], None));
    broker.advance_ms(20);
    assert_eq!(broker.received(idle), ["CLOSE"]);
    assert_eq!(broker.answer(poll).as_deref(), Some("1"));
    assert_eq!(broker.received(joined), [""; 0]);
    assert_eq!(broker.shard.connection_count(), 1);
}

#[test]
fn a_refused_connect_does_not_stop_the_connect_timeout() {
    let limits = LimitsConfig { connect_timeout_ms: 5000, ..LimitsConfig::default() };
    let mut broker = Broker::new(ShardConfig { limits, namespaces: vec![], ..config() });
    let socket = broker.open(V4);
    broker.send(socket, "40");
    broker.received(socket);
    broker.advance_ms(5010);
    assert_eq!(broker.received(socket), ["CLOSE"]);
}

#[test]
fn who_may_connect_is_decided_by_the_namespace() {
    let namespace = |auth| NamespaceConfig { auth, ..bare("/") };
    let tokens = || AuthConfig::Tokens(vec![SESAME.into()]);
    for (auth, connect, admitted) in [
        (AuthConfig::None, "40", true),
        (AuthConfig::Deny, "40", false),
        (AuthConfig::Deny, r#"40{"token":"sesame"}"#, false),
        (tokens(), r#"40{"token":"sesame"}"#, true),
        (tokens(), r#"40{"token":"\u0073esame"}"#, true),
        (tokens(), r#"40{"token":"Sesame"}"#, false),
        (tokens(), r#"40{"token":17}"#, false),
        (tokens(), r#"40{"other":"sesame"}"#, false),
        (tokens(), "40", false),
    ] {
        let mut broker = Broker::with_namespaces(vec![namespace(auth.clone())]);
        let socket = broker.open(V4);
        broker.received(socket);
        assert_eq!(broker.send(socket, connect), Flow::Continue);
        let answer = broker.received(socket).remove(0);
        match admitted {
            true => assert!(answer.starts_with(r#"40{"sid""#), "{connect} {auth:?}: {answer}"),
            false => assert_eq!(answer, r#"44{"message":"Not authorized"}"#, "{connect} {auth:?}"),
        }
        assert_eq!(broker.shard.socket_count(), usize::from(admitted));
    }
}

#[test]
fn a_refused_client_gets_the_configured_data_and_may_try_again() {
    let namespace = NamespaceConfig {
        auth: AuthConfig::Tokens(vec![SESAME.into()]),
        refusal_data: Some(json!({"code": "E_AUTH"})),
        ..bare("/a")
    };
    let mut broker = Broker::with_namespaces(vec![namespace]);
    let socket = broker.open(V4);
    broker.received(socket);
    broker.send(socket, "40/a,");
    assert_eq!(broker.received(socket), [r#"44/a,{"message":"Not authorized","data":{"code":"E_AUTH"}}"#]);
    assert_eq!(broker.happenings(), [Happening::ConnectRefused(ConnectRefusal::NotAuthorized)]);
    broker.send(socket, r#"40/a,{"token":"sesame"}"#);
    assert!(broker.received(socket)[0].starts_with("40/a,{"));
}
