//! Whole sessions as real clients had them with the reference server, and single behaviours of it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    Frames, Gateway, Opcode, PATIENCE, Polling, Replay, Request, Vectors, WEBSOCKET, field, message, shape,
    unzipped,
};

const OPEN: &str = "0{\"sid\":\"<20 characters>\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}";
const CONNECTED: &str = "40{\"sid\":\"<20 characters>\"}";

/// The scenarios of `namespaces.json` that a client of revision 5 plays without an application, and the keys of
/// the namespaces that it asks for.
const SCENARIOS: &[&str] = &[
    "namespace connect with auth success",
    "namespace connect with auth failure (Error with data)",
    "middleware error without data",
    "middleware error with string data",
    "unknown namespace",
    "dynamic namespace",
    "messages the client emits before connect are sent after the CONNECT answer",
    "auth as function",
];

/// Namespaces that admit and refuse as those of the capture did. The SHA-256 is that of `good`.
const NAMESPACES: &str = r#"
[[namespaces]]
name = "/"
events = [{ event = "*", action = "acknowledge" }]

[[namespaces]]
name = "/secret"
auth = { tokens = ["770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c"] }
refusal_data = { code = "E_AUTH", retry = false }

[[namespaces]]
name = "/plainerr"
auth = "deny"

[[namespaces]]
name = "/strdata"
auth = "deny"
refusal_data = "just a string"

[[namespaces]]
name = "/dyn-*"
"#;

/// Words that name the cases of `behaviours.json` that are proved, here or in `websocket_frames`.
const PROVED: &[&str] = &[
    "EIO4 heartbeat: any packet received",
    "DISCONNECT, 60 ms pause, CONNECT",
    "WebSocket text frame that is not UTF-8",
    "WebSocket-level ping",
    "client close frame 4000",
    "polling answer over 1024 bytes",
    "perMessageDeflate:true",
    "polling without a pending GET",
    "events during an upgrade",
    "TCP connection of a websocket destroyed",
];

/// Words that name the other cases, and why they are not.
const LEFT_OUT: &[(&str, &str)] = &[
    ("v4 client", "about the client"),
    ("v4 polling client", "about the client"),
    ("polling with a pending GET", "how many packets an answer takes is the server's choice"),
    ("sharded adapter", "about an adapter"),
    ("recovery enabled", "about connection state recovery"),
];

#[test]
fn every_behaviour_is_proved_or_left_out_with_a_reason() {
    for case in Vectors::read("behaviours.json").list("cases") {
        let name = field(case, "name");
        let known = PROVED.iter().chain(LEFT_OUT.iter().map(|(start, _)| start));
        assert_eq!(known.filter(|start| name.starts_with(**start)).count(), 1, "{name}");
    }
}

#[test]
fn compression_of_frames_is_offered_and_not_taken() {
    let gateway = Gateway::dev(&[]);
    let offer = "permessage-deflate; client_max_window_bits";
    let mut http = gateway.http();
    let answer = http.send(&Request::upgrade(WEBSOCKET).header("Sec-WebSocket-Extensions", offer));
    assert_eq!((answer.status, answer.header("Sec-WebSocket-Extensions")), (101, None));
    let mut frames = Frames::after(http);
    assert!(frames.text().starts_with("0{"));
    frames.join();
}

#[test]
fn a_session_over_websocket_is_that_of_the_reference_server() {
    for file in ["session-v4-websocket.json", "session-v3-websocket.json"] {
        let compared = Replay::run(&Gateway::dev(&[]), file);
        assert_eq!(compared, [OPEN, CONNECTED, "430[", "431[", "close frame", "end"], "{file}");
    }
}

#[test]
fn a_session_over_polling_is_that_of_the_reference_server() {
    for file in ["session-v4-polling.json", "session-v3-polling.json"] {
        let compared = Replay::run(&Gateway::dev(&[]), file);
        let open = OPEN.replace("[]", "[\"websocket\"]");
        assert_eq!(compared[..3], [open, "ok".into(), CONNECTED.into()], "{file}");
        assert_eq!(compared.iter().filter(|packet| *packet == "ok").count(), 13, "{file}: {compared:?}");
        for packet in ["430[", "431[", "6"] {
            assert!(compared.iter().any(|other| other == packet), "{file}: {packet} in {compared:?}");
        }
    }
}

#[test]
fn an_upgraded_session_is_that_of_the_reference_server() {
    for file in ["session-v4-upgrade.json", "session-v3-upgrade.json"] {
        let compared = Replay::run(&Gateway::dev(&[]), file);
        let open = OPEN.replace("[]", "[\"websocket\"]");
        let expected =
            [&open, "ok", CONNECTED, "3probe", "6", "430[", "431[", "close frame", "end"].map(str::to_owned);
        assert_eq!(compared, expected, "{file}");
    }
}

#[test]
fn namespaces_admit_and_refuse_as_those_of_the_reference_server() {
    let gateway = Gateway::with_config(NAMESPACES, &[]);
    let vectors = Vectors::read("namespaces.json");
    for name in SCENARIOS {
        let mut scenarios = vectors.list("scenarios").iter();
        let scenario = scenarios.find(|other| other["name"] == **name && other["client"] == "v4").unwrap();
        let mut frames = Frames::open(gateway.client, WEBSOCKET);
        for entry in scenario["transcript"].as_array().unwrap() {
            let (from_client, text) = (entry["dir"] == "c2s", entry["text"].as_str());
            match (from_client, text) {
                (true, Some(text)) => frames.send(Opcode::TEXT, text.as_bytes()),
                (false, Some(text)) => {
                    // The text of a refusal is the captured application's.
                    let expected = shape(text);
                    let found = shape(&frames.text());
                    let texts = ["\"not authorized\"", "\"plain\"", "\"m\""];
                    let expected = texts.iter().fold(expected, |text, message| {
                        text.replace(&format!("\"message\":{message}"), "\"message\":\"Not authorized\"")
                    });
                    assert_eq!(found, expected, "{name}");
                }
                (true, None) if entry["close"].is_string() => frames.send(Opcode::CLOSE, b""),
                (false, None) if entry["close"].is_string() => frames.assert_closed(None),
                _ => {}
            }
        }
    }
}

/// The other scenarios of `namespaces.json`, by how they begin, and where their rule is tested. What clients of revision
/// 4, and old ones, do in those of [`SCENARIOS`] is tested with the clients themselves.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "two namespaces on one connection",
        "tests/clients: namespaces_of_one_connection_do_not_mix; a second CONNECT: rules",
    ),
    ("root namespace refused by middleware", "tests/clients: client_refused_in_the_root_hears_the_data"),
    ("server: socket.disconnect()", "crates/broker/tests/rules/operations.rs"),
    ("server: socket.disconnect(true)", "crates/broker/tests/rules/operations.rs"),
    ("server: engine connection closed", "tests/clients: comes_back_after_the_server_did"),
    ("same over polling", "tests/clients: comes_back_after_the_server_did"),
    ("server: io.close()", "shutdown.rs"),
    ("heartbeats", "tests/clients: stays_connected_over_many_heartbeats"),
    ("per-socket packet middleware error", "an application's; nothing is sent"),
    ("server emit with ack and timeout", "calls.rs"),
    ("client timeout().emit", "the client's own clock"),
    ("client retries option", "the client's own, a new event to a server"),
    (
        "volatile, compress(false) and plain emits",
        "events_without_a_poll_wait_together_and_volatile_ones_are_dropped",
    ),
];

#[test]
fn every_scenario_of_namespaces_is_compared_here_or_elsewhere() {
    for scenario in Vectors::read("namespaces.json").list("scenarios") {
        let name = field(scenario, "name");
        let elsewhere = ELSEWHERE.iter().any(|(start, _)| name.starts_with(start));
        assert!(SCENARIOS.contains(&name) || elsewhere, "{name}");
    }
}

#[test]
fn a_namespace_left_may_be_joined_again_with_a_new_id() {
    let gateway = Gateway::dev(&[]);
    let mut client = gateway.websocket();
    let first = client.join("/");
    client.send("41");
    let second = client.join("/");
    assert_ne!(first, second);
    assert_eq!((first.len(), second.len()), (20, 20));
}

#[test]
fn a_packet_while_a_pong_is_due_extends_the_time_once() {
    let gateway = Gateway::dev(&["engine.ping_interval_ms=200", "engine.ping_timeout_ms=600"]);
    let mut frames = gateway.frames();
    frames.join();
    assert_eq!(frames.text(), "2");
    let pinged = Instant::now();
    // Half of the time passes with traffic of others.
    while pinged.elapsed() < Duration::from_millis(300) {
        gateway.get("/socket.io/?EIO=4&transport=polling");
    }
    loop {
        assert!(pinged.elapsed() < PATIENCE, "every packet extends the time");
        frames.send(Opcode::TEXT, b"420[\"a\"]");
        if frames.frame().opcode == Opcode::CLOSE {
            break;
        }
    }
    let closed = pinged.elapsed();
    assert!(closed >= Duration::from_millis(850), "no packet extends the time: {closed:?}");
    let closed = [("transport", "websocket"), ("reason", "ping timeout")];
    gateway.expect_metric("roomcast_connections_closed_total", &closed, 1.0);
}

#[test]
fn a_busy_session_is_pinged_and_a_pong_starts_the_next_interval() {
    let gateway = Gateway::dev(&["engine.ping_interval_ms=100", "engine.ping_timeout_ms=5000"]);
    let mut client = gateway.joined();
    let mut ponged = Instant::now();
    for ping in 0..4 {
        loop {
            client.send("420[\"a\"]");
            if client.text() == "2" {
                break;
            }
        }
        assert!(ping == 0 || ponged.elapsed() >= Duration::from_millis(90), "{:?}", ponged.elapsed());
        client.send("3");
        ponged = Instant::now();
        // The acknowledgement that the ping came in front of.
        assert_eq!(client.text(), "430[{\"status\":\"ok\"}]");
    }
}

#[test]
fn long_polling_answers_are_compressed_for_clients_that_accept_it() {
    let gateway = Gateway::dev(&[]);
    let vectors = Vectors::read("behaviours.json");
    let expected =
        &vectors.case("polling answer over 1024 bytes with Accept-Encoding: gzip, deflate")["response"];
    let mut publisher = gateway.publisher();
    let session = Polling::joined(&gateway);
    let event = |length: usize| format!("42[\"n\",\"{}\"]", "x".repeat(length - 10));
    let mut polled = |length: usize, accept: &str| {
        publisher.publish(message(&[], "n", &format!("[\"{}\"]", "x".repeat(length - 10))));
        session.send(&Request::get(&session.target()).header("Accept-Encoding", accept))
    };
    let answer = polled(1024, "gzip, deflate");
    for header in ["Content-Type", "Content-Encoding", "cache-control"] {
        assert_eq!(answer.header(header).as_deref(), Some(field(&expected["headers"], header)), "{answer:?}");
    }
    assert!(answer.body.len() < 200);
    assert_eq!(unzipped(&answer.body), event(1024).as_bytes());
    for (length, accept) in [(1023, "gzip, deflate"), (1024, "br"), (1024, "gzip;q=0")] {
        let answer = polled(length, accept);
        assert_eq!(answer.header("Content-Encoding"), None, "{length} {accept}");
        assert_eq!(answer.text(), event(length));
    }
}

#[test]
fn events_without_a_poll_wait_together_and_volatile_ones_are_dropped() {
    let gateway = Gateway::dev(&[]);
    let mut publisher = gateway.publisher();
    let session = Polling::joined(&gateway);
    for number in 0..3 {
        publisher.publish(message(&[], "n", &format!("[{number}]")));
        let mut volatile = message(&[], "volatile", "[]");
        volatile.volatile = true;
        let reach = publisher.publish(volatile);
        assert_eq!((reach.sockets_written, reach.sockets_dropped.unwrap().not_ready), (0, 1));
    }
    let vectors = Vectors::read("behaviours.json");
    let case = vectors.case(
        "polling without a pending GET: plain events are queued and sent together, the volatile one is dropped",
    );
    assert_eq!(session.poll(), field(&case["get"], "body"));
}

#[test]
fn events_during_an_upgrade_arrive_in_order_on_one_transport_or_the_other() {
    let gateway = Gateway::dev(&[]);
    let mut publisher = gateway.publisher();
    let session = Polling::joined(&gateway);
    let mut during = |text: &str| publisher.publish(message(&[], "during", &format!("[\"{text}\"]")));
    let mut websocket = Frames::open(gateway.client, &session.upgrade_target());
    websocket.send(Opcode::TEXT, b"2probe");
    assert_eq!(websocket.text(), "3probe");
    during("1");
    during("2");
    let vectors = Vectors::read("behaviours.json");
    let case = vectors.case(
        "events during an upgrade: sent on polling if a GET comes before the upgrade packet, else flushed to the WebSocket right after it",
    );
    assert_eq!(session.poll(), field(case, "poll"));
    during("3");
    websocket.send(Opcode::TEXT, b"5");
    assert_eq!(websocket.text(), case["websocket"][1]);
    publisher.publish(message(&[], "after", "[]"));
    assert_eq!(websocket.text(), case["websocket"][2]);
}

#[test]
fn a_connection_that_is_cut_is_a_transport_close() {
    let gateway = Gateway::dev(&[]);
    drop(gateway.joined());
    gateway.expect_metric("roomcast_connections_closed_total", &[("reason", "transport close")], 1.0);
    gateway.expect_metric("roomcast_connections", &[], 0.0);
}

#[test]
fn open_packets_state_what_is_configured() {
    let keys =
        ["engine.ping_interval_ms=1234", "engine.ping_timeout_ms=567", "engine.max_payload_bytes=89000"];
    let open = Polling::open(&Gateway::dev(&keys)).open;
    let expected: Value = serde_json::json!({
        "sid": open["sid"], "upgrades": ["websocket"], "pingInterval": 1234, "pingTimeout": 567, "maxPayload": 89000,
    });
    assert_eq!(open, expected);
}
