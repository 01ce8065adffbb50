//! What clients may do by configuration alone: who connects, which rooms, which events go where.

use std::{collections::HashMap, net::TcpStream};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::harness::{Gateway, Polling, Publisher, WebSocket, message};

/// A namespace per rule; `TOKEN` stands for the SHA-256 of `sesame`.
const CONFIG: &str = r#"
[limits]
rooms_per_socket = 3
room_name_bytes = 12
namespaces_per_connection = 2

[[namespaces]]
name = "/"
join = ["lobby"]
may_join = { event = "join", rooms = ["public:*", "hall"] }
may_leave = { event = "leave", rooms = ["public:*", "lobby"] }

[[namespaces.events]]
event = "to-room"
action = "relay-to-room"

[[namespaces.events]]
event = "to-rooms"
action = "relay-to-rooms"

[[namespaces.events]]
event = "to-all"
action = "relay-to-all"

[[namespaces.events]]
event = "to-all-and-me"
action = "relay-to-all"
include_sender = true

[[namespaces.events]]
event = "silent"
action = "relay-to-all"
acknowledge = false

[[namespaces.events]]
event = "noted"
action = "acknowledge"

[[namespaces.events]]
event = "admin:*"
action = "refuse"

[[namespaces]]
name = "/news"
auth = "deny"
refusal_data = { why = "publishing only" }

[[namespaces]]
name = "/vault"
auth = { tokens = ["TOKEN"] }

[[namespaces]]
name = "/tenant-*"
"#;

const OK: &str = r#"[{"status":"ok"}]"#;

fn error(message: &str) -> String {
    format!(r#"[{{"status":"error","message":"{message}"}}]"#)
}

fn gateway() -> Gateway {
    let hash = Sha256::digest("sesame").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Gateway::with_config(&CONFIG.replace("TOKEN", &hash), &[])
}

/// Clients of `/`, and a publisher whose last word to each proves that nothing else was under way.
struct Hall {
    gateway: Gateway,
    publisher: Publisher,
    clients: HashMap<&'static str, WebSocket<TcpStream>>,
}

impl Hall {
    fn new(names: &[&'static str]) -> Self {
        let gateway = gateway();
        let clients = names.iter().map(|name| (*name, gateway.joined())).collect();
        Self { publisher: gateway.publisher(), gateway, clients }
    }

    fn client(&mut self, name: &str) -> &mut WebSocket<TcpStream> {
        self.clients.get_mut(name).unwrap()
    }

    fn ask(&mut self, name: &str, event: &str) -> String {
        self.client(name).ask(7, event)
    }

    /// Who has received exactly this event, and everyone else nothing.
    fn assert_received(&mut self, event: &str, receivers: &[&str]) {
        self.publisher.publish(message(&[], "end", "[]"));
        for (name, client) in &mut self.clients {
            if receivers.contains(name) {
                assert_eq!(client.text(), format!("42{event}"), "{name}");
            }
            assert_eq!(client.text(), "42[\"end\"]", "{name}");
        }
    }
}

#[test]
fn clients_join_the_rooms_of_the_configuration_on_connecting() {
    let mut hall = Hall::new(&["ada", "bob"]);
    let reach = hall.publisher.publish(message(&["lobby"], "hello", "[1]"));
    assert_eq!(reach.sockets_matched, 2);
    hall.assert_received("[\"hello\",1]", &["ada", "bob"]);
}

#[test]
fn clients_join_and_leave_what_the_patterns_name() {
    let mut hall = Hall::new(&["ada", "bob"]);
    for (event, expected) in [
        ("[\"join\",\"public:1\"]", OK.to_owned()),
        ("[\"join\",\"public:1\"]", OK.into()),
        ("[\"join\",\"hall\"]", OK.into()),
        ("[\"join\",\"private\"]", error("room not allowed")),
        ("[\"join\",\"hall:1\"]", error("room not allowed")),
        ("[\"join\",\"public:123456\"]", error("room not allowed")),
        ("[\"join\",\"\"]", error("room not allowed")),
        ("[\"join\",7]", error("the first argument must be a room")),
        ("[\"join\",[\"hall\"]]", error("the first argument must be a room")),
        ("[\"join\"]", error("the first argument must be a room")),
        // With the lobby these are three, and no more may be.
        ("[\"join\",\"public:2\"]", error("too many rooms")),
        ("[\"leave\",\"hall\"]", error("room not allowed")),
        ("[\"leave\",\"lobby\"]", OK.into()),
        ("[\"join\",\"public:2\"]", OK.into()),
    ] {
        assert_eq!(hall.ask("ada", event), expected, "{event}");
    }
    for (room, members) in
        [("public:1", 1), ("public:2", 1), ("hall", 1), ("lobby", 1), ("private", 0), ("hall:1", 0)]
    {
        let reach = hall.publisher.publish(message(&[room], "probe", "[]"));
        assert_eq!(reach.sockets_matched, members, "{room}");
    }
}

#[test]
fn events_go_where_their_rule_says() {
    let mut hall = Hall::new(&["ada", "bob", "eve"]);
    for (name, room) in [("ada", "public:1"), ("bob", "public:1"), ("eve", "hall")] {
        assert_eq!(hall.ask(name, &format!("[\"join\",\"{room}\"]")), OK);
        assert_eq!(hall.ask(name, "[\"leave\",\"lobby\"]"), OK);
    }
    for (event, answer, receivers) in [
        ("[\"to-room\",\"public:1\",{\"n\":1.0}]", OK.to_owned(), &["bob"][..]),
        ("[\"to-room\",\"hall\",1]", error("not in that room"), &[]),
        ("[\"to-room\"]", error("the first argument must be a room"), &[]),
        ("[\"to-rooms\",\"x\"]", OK.into(), &["bob"]),
        ("[\"to-all\",\"x\"]", OK.into(), &["bob", "eve"]),
        ("[\"noted\",\"x\"]", OK.into(), &[]),
        ("[\"admin:drop\",\"x\"]", error("event not allowed"), &[]),
        ("[\"unheard\",\"x\"]", error("event not allowed"), &[]),
    ] {
        assert_eq!(hall.ask("ada", event), answer, "{event}");
        hall.assert_received(event, receivers);
    }
    hall.gateway.expect_metric("roomcast_events_refused_total", &[], 4.0);

    hall.client("ada").send("42[\"to-all-and-me\"]");
    hall.assert_received("[\"to-all-and-me\"]", &["ada", "bob", "eve"]);
    // Asked for an acknowledgement, and none comes.
    hall.client("ada").send("429[\"silent\"]");
    hall.client("ada").assert_alive();
    hall.assert_received("[\"silent\"]", &["bob", "eve"]);
    // A refused event without a question is refused in silence.
    hall.client("ada").send("42[\"unheard\"]");
    hall.client("ada").assert_alive();
    hall.assert_received("", &[]);
}

#[test]
fn a_client_in_no_room_relays_to_nobody() {
    let mut hall = Hall::new(&["ada", "bob"]);
    assert_eq!(hall.ask("ada", "[\"leave\",\"lobby\"]"), OK);
    assert_eq!(hall.ask("ada", "[\"to-rooms\",1]"), OK);
    hall.assert_received("", &[]);
}

#[test]
fn a_socket_in_several_rooms_gets_one_copy() {
    let mut hall = Hall::new(&["ada", "bob"]);
    for name in ["ada", "bob"] {
        assert_eq!(hall.ask(name, "[\"join\",\"hall\"]"), OK);
    }
    assert_eq!(hall.ask("ada", "[\"to-rooms\",1]"), OK);
    hall.assert_received("[\"to-rooms\",1]", &["bob"]);
    let reach = hall.publisher.publish(message(&["hall", "lobby", "nobody"], "once", "[]"));
    assert_eq!((reach.sockets_matched, reach.sockets_written), (2, 2));
    hall.assert_received("[\"once\"]", &["ada", "bob"]);
}

#[test]
fn namespaces_admit_whom_their_auth_names() {
    let gateway = gateway();
    for (connect, expected) in [
        ("40/news,", r#"44/news,{"message":"Not authorized","data":{"why":"publishing only"}}"#),
        (
            r#"40/news,{"token":"sesame"}"#,
            r#"44/news,{"message":"Not authorized","data":{"why":"publishing only"}}"#,
        ),
        ("40/vault,", r#"44/vault,{"message":"Not authorized"}"#),
        (r#"40/vault,{"token":"Sesame"}"#, r#"44/vault,{"message":"Not authorized"}"#),
        (r#"40/vault,{"token":["sesame"]}"#, r#"44/vault,{"message":"Not authorized"}"#),
        (r#"40/vault,{"auth":{"token":"sesame"}}"#, r#"44/vault,{"message":"Not authorized"}"#),
        ("40/elsewhere,", r#"44/elsewhere,{"message":"Invalid namespace"}"#),
        ("40/vaul,", r#"44/vaul,{"message":"Invalid namespace"}"#),
        ("40/tenant,", r#"44/tenant,{"message":"Invalid namespace"}"#),
    ] {
        let mut client = gateway.websocket();
        client.send(connect);
        assert_eq!(client.text(), expected, "{connect}");
        // The connection stays, and may join another.
        client.join("/tenant-1");
    }
    let mut client = gateway.websocket();
    client.send(r#"40/vault,{"token":"sesame"}"#);
    assert!(client.text().starts_with("40/vault,{\"sid\":\""));
    gateway.expect_metric("roomcast_connects_refused_total", &[("cause", "not_authorized")], 6.0);
    gateway.expect_metric("roomcast_connects_refused_total", &[("cause", "unknown_namespace")], 3.0);
    assert!(!gateway.log_text().contains("sesame"));
}

#[test]
fn namespaces_of_a_pattern_are_apart_from_each_other() {
    let gateway = gateway();
    let (mut one, mut two) = (gateway.websocket(), gateway.websocket());
    one.join("/tenant-1");
    two.join("/tenant-2");
    let mut publisher = gateway.publisher();
    for namespace in ["/tenant-1", "/tenant-2"] {
        let mut event = message(&[], "mine", &Value::from(vec![namespace]).to_string());
        event.namespace = namespace.into();
        assert_eq!(publisher.publish(event).sockets_matched, 1);
    }
    assert_eq!(one.text(), "42/tenant-1,[\"mine\",\"/tenant-1\"]");
    assert_eq!(two.text(), "42/tenant-2,[\"mine\",\"/tenant-2\"]");
    // Nothing is allowed there, and the refusal names the namespace.
    one.send("42/tenant-1,5[\"to-all\"]");
    assert_eq!(one.text(), format!("43/tenant-1,5{}", error("event not allowed")));
}

#[test]
fn one_namespace_too_many_is_refused_and_the_others_stay() {
    let gateway = gateway();
    let mut client = gateway.joined();
    client.join("/tenant-1");
    client.send("40/tenant-2,");
    assert_eq!(client.text(), r#"44/tenant-2,{"message":"Too many namespaces"}"#);
    client.send("41/tenant-1,");
    client.join("/tenant-2");
    gateway.expect_metric("roomcast_connects_refused_total", &[("cause", "too_many_namespaces")], 1.0);
}

#[test]
fn rules_hold_over_polling_as_well() {
    let gateway = gateway();
    let mut bob = gateway.joined();
    let ada = Polling::joined(&gateway);
    ada.push(
        "421[\"join\",\"private\"]\u{1e}422[\"join\",\"hall\"]\u{1e}423[\"to-all\",\"x\"]\u{1e}40/news,",
    );
    let refused = error("room not allowed");
    let news = r#"44/news,{"message":"Not authorized","data":{"why":"publishing only"}}"#;
    assert_eq!(ada.poll(), format!("431{refused}\u{1e}432{OK}\u{1e}433{OK}\u{1e}{news}"));
    assert_eq!(bob.text(), "42[\"to-all\",\"x\"]");
}
