//! What the reference server did with hand-made packets, `tests/vectors/invalid-packets.json`.

use broker::Opening;
use serde_json::Value;

use crate::harness::{Broker, Socket, V3, V4, bare, sid_in};

/// Where this broker does otherwise on purpose, the packets it sends then, and why.
const DEVIATIONS: [(&str, &[&str]); 1] = [
    // Without a pause between the two the reference server still sees the old socket. Here packets are
    // handled in order, so a pause makes no difference.
    ("disconnect, then CONNECT again on the same connection", &[r#"40{"sid":"SID"}"#]),
];

fn send(broker: &mut Broker, socket: Socket, frame: &Value) {
    match frame {
        Value::String(text) => broker.send(socket, text),
        binary => {
            let hex = binary["binary"].as_str().expect("a frame is text or binary");
            let digits = (0..hex.len()).step_by(2);
            let bytes: Vec<u8> = digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
            broker.send_binary(socket, &bytes)
        }
    };
}

fn frames(list: &Value) -> &Vec<Value> {
    list.as_array().expect("frames are a list")
}

/// The packet with any id in it replaced.
fn without_id(packet: &str) -> String {
    match packet.contains(r#""sid":""#) {
        true => packet.replace(&sid_in(packet), "SID"),
        false => packet.to_owned(),
    }
}

/// Runs one case; returns the packets received after it and whether the connection was closed.
fn run(case: &Value) -> (Vec<String>, bool) {
    let opening: Opening = if case["eio"] == "EIO=4" { V4 } else { V3 };
    // The recorded server had the main namespace and no other.
    let mut namespace = bare("/");
    namespace.events = broker::NamespaceConfig::dev().events;
    let mut broker = Broker::with_namespaces(vec![namespace]);
    let socket = broker.open(opening);
    for frame in frames(&case["handshake_frames_first"]) {
        send(&mut broker, socket, frame);
    }
    broker.received(socket);
    for frame in frames(&case["client_frames"]) {
        send(&mut broker, socket, frame);
    }
    let mut received = broker.received(socket);
    let closed = broker.is_closed(socket);
    assert_eq!(received.pop_if(|last| last == "CLOSE").is_some(), closed, "closed with a frame");
    (received.iter().map(|packet| without_id(packet)).collect(), closed)
}

#[test]
fn hand_made_packets_are_answered_as_by_the_reference_server() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/invalid-packets.json"));
    let vectors: Value = serde_json::from_str(text).expect("the vectors are JSON");
    let cases = frames(&vectors["cases"]);
    assert_eq!(cases.len(), 48);
    for case in cases {
        let name = case["name"].as_str().expect("a case has a name");
        let (received, closed) = run(case);
        if let Some((_, packets)) = DEVIATIONS.iter().find(|(deviation, _)| *deviation == name) {
            assert_eq!(
                (&received[..], closed),
                (&packets.iter().map(ToString::to_string).collect::<Vec<_>>()[..], false)
            );
            continue;
        }
        let expected: Vec<String> = frames(&case["server_frames_after"])
            .iter()
            .map(|frame| without_id(frame.as_str().expect("text")))
            .collect();
        let expected_closed = case["connection"].as_str().expect("text").starts_with("closed");
        assert_eq!((received, closed), (expected, expected_closed), "{name}");
    }
}
