//! Engine.IO 3, as clients of 1.x and 2.x speak it, where a server alone decides the answer.
//!
//! Left out: cookies (an option for sticky load balancing, which nobody needs here), and events that the captured
//! application sent of its own accord; the forms of their payloads are proved with events of a back end.

use std::collections::HashMap;

use serde_json::Value;

use crate::harness::{
    Frame, Frames, Gateway, Opcode, Replay, Request, Response, Vectors, field, framed_3, message, payload_3,
    shape,
};

const POLLING: &str = "/socket.io/?EIO=3&transport=polling";
const OVER_WEBSOCKET: &str = "/socket.io/?EIO=3&transport=websocket";

const TEXT: &str = "text/plain; charset=UTF-8";
const BINARY: &str = "application/octet-stream";

/// The namespaces of the capture.
const NAMESPACES: &str = r#"
[[namespaces]]
name = "/"

[[namespaces]]
name = "/chat"
"#;

/// Where the gateway answers otherwise on purpose.
const DEVIATIONS: &[(&str, &str)] = &[
    (
        "text in binary sessions",
        "every answer without `b64` is `application/octet-stream`, as clients 1.3 need it",
    ),
    ("JSONP session (j=0)", "script answers are `text/javascript`, which browsers with `nosniff` run"),
    (
        "JSONP without b64: binary payload answer",
        "JSONP implies base64; the reference sends a dump of a buffer",
    ),
];

/// Cases that need an option or an application that is not here.
fn is_left_out(name: &str) -> bool {
    name.starts_with("option cookie") || DEVIATIONS[2].0 == name
}

/// A session of revision 3 over polling.
struct Session<'g> {
    gateway: &'g Gateway,
    target: String,
    sid: String,
}

impl<'g> Session<'g> {
    /// Opens a session; its first payload holds the answer of `/` as well.
    fn open(gateway: &'g Gateway, query: &str) -> Self {
        let target = format!("{POLLING}{query}");
        let packets = packets(&gateway.get(&target));
        assert_eq!(packets[1..], ["40"]);
        let open: Value = serde_json::from_str(&packets[0][1..]).unwrap();
        let sid = open["sid"].as_str().unwrap().to_owned();
        Self { gateway, target: format!("{target}&sid={sid}"), sid }
    }

    fn poll(&self) -> Response {
        self.gateway.get(&self.target)
    }

    fn push(&self, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
        let request = Request::post(&self.target, body).header("Content-Type", content_type).close();
        self.gateway.http().send(&request)
    }
}

/// An event with one attachment for everyone in `/`.
fn publish_binary(gateway: &Gateway) {
    let mut event = message(&[], "b", r#"[{"_placeholder":true,"num":0}]"#);
    event.attachments = vec![vec![1, 2, 3].into()];
    gateway.publisher().publish(event);
}

const BINARY_EVENT: &str = r#"451-["b",{"_placeholder":true,"num":0}]"#;

#[test]
fn sessions_of_old_clients_are_those_of_the_reference_server() {
    for (file, expected) in [
        ("session-v2-websocket.json", &["40", "430[", "431[", "close frame", "end"][..]),
        ("session-v2-upgrade.json", &["3probe", "6", "430[", "431[", "close frame", "end"]),
        ("session-v2-polling.json", &["430[", "431[", "ok", "6"]),
        ("session-v1.7-websocket.json", &["40", "430[", "close frame", "end"]),
        ("session-v1.7-upgrade.json", &["3probe", "6", "430[", "close frame", "end"]),
    ] {
        let compared = Replay::run(&Gateway::dev(&[]), file);
        for packet in expected {
            assert!(compared.iter().any(|other| other == packet), "{file}: {packet} in {compared:?}");
        }
    }
}

/// The packets that an answer holds: those of a payload, or the whole if it is none.
fn packets(answer: &Response) -> Vec<String> {
    if answer.header("Content-Type").as_deref() == Some(BINARY) {
        return framed_3(&answer.body);
    }
    let text = answer.text();
    let payload = match text.strip_prefix("___eio[").and_then(|rest| rest.split_once("](")) {
        Some((_, script)) => serde_json::from_str(script.strip_suffix(");").unwrap()).unwrap(),
        None => text.clone(),
    };
    let is_payload = payload.split_once(':').is_some_and(|(length, _)| length.parse::<usize>().is_ok());
    if is_payload { payload_3(&payload) } else { vec![payload] }
}

fn is_of_application(packets: &[String]) -> bool {
    packets
        .iter()
        .any(|packet| packet.starts_with("42") || packet.starts_with("45") || packet.starts_with("43"))
}

#[test]
fn requests_are_answered_as_by_the_reference_server() {
    let gateway = Gateway::with_config(NAMESPACES, &["engine.allow_eio3=true"]);
    let mut compared = 0;
    for case in Vectors::read("eio3-http.json").list("cases") {
        let name = field(case, "name");
        if is_left_out(name) {
            continue;
        }
        let mut sids: HashMap<String, String> = HashMap::new();
        for step in case["steps"].as_array().into_iter().flatten() {
            let (Some(path), expected) = (step["request"]["path"].as_str(), &step["response"]) else {
                continue;
            };
            let Some(expected_body) = expected["body"].as_str() else { continue };
            let expected_packets = packets(&Response::of_text(expected_body));
            // The answer of `/` came with the open packet, and nobody here sends what the application sent.
            if expected_packets == ["40"] || is_of_application(&expected_packets) {
                continue;
            }
            let own = sids.iter().find(|(sid, _)| path.contains(*sid));
            let path = own.map_or_else(|| path.to_owned(), |(sid, own)| path.replace(sid, own));
            let asked = &step["request"];
            let mut request = Request::new(asked["method"].as_str().unwrap_or("GET"), &path).close();
            for (name, value) in asked["headers"].as_object().into_iter().flatten() {
                request = request.header(name, value.as_str().unwrap());
            }
            let base64 = |value: &Value| {
                let text = value["base64"].as_str()?;
                base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text).ok()
            };
            if let Some(body) =
                asked["body"].as_str().map(|body| body.as_bytes().to_vec()).or(base64(&asked["body"]))
            {
                request = request.body(body);
            }
            let answer = gateway.http().send(&request);
            let mut found = packets(&answer);
            if found.len() == 2 && expected_packets.len() == 1 && found[1] == "40" {
                found.pop();
            }
            let sid = |packet: &str| -> Option<String> {
                let open: Value = serde_json::from_str(packet.strip_prefix('0')?).ok()?;
                Some(open["sid"].as_str()?.into())
            };
            sids.extend(sid(&expected_packets[0]).zip(sid(&found[0])));
            let shapes = |packets: &[String]| packets.iter().map(|packet| shape(packet)).collect::<Vec<_>>();
            assert_eq!(answer.status, expected["status"], "{name}: {answer:?}");
            assert_eq!(shapes(&found), shapes(&expected_packets), "{name}: {path}");
            let is_script = answer.body.starts_with(b"___eio");
            assert_eq!(is_script, expected_body.starts_with("___eio"), "{name}");
            let content_type = if is_script {
                let index = expected_body.split_once(']').unwrap().0;
                assert!(answer.text().starts_with(index), "{name}: {answer:?}");
                Some("text/javascript; charset=UTF-8")
            } else {
                match expected["headers"]["Content-Type"].as_str() {
                    Some(TEXT) if !path.contains("b64=") => Some(BINARY),
                    other => other,
                }
            };
            assert_eq!(answer.header("Content-Type").as_deref(), content_type, "{name}");
            let cache = expected["headers"]["cache-control"].as_str();
            assert_eq!(answer.header("cache-control").as_deref(), cache, "{name}");
            compared += 1;
        }
    }
    assert!(compared > 40, "{compared} answers compared");
}

#[test]
fn every_answer_has_the_form_that_the_client_takes() {
    let gateway = Gateway::dev(&[]);
    let session = Session::open(&gateway, "");
    let publish_text = || gateway.publisher().publish(message(&[], "a", r#"["€😀"]"#));
    publish_text();
    let answer = session.poll();
    assert_eq!(answer.header("Content-Type").as_deref(), Some(BINARY));
    let text = "42[\"a\",\"€😀\"]".as_bytes();
    assert_eq!(answer.body, [&[0, 1, 7, 0xff], text].concat());

    let text_only = Session::open(&gateway, "&b64=1");
    publish_text();
    let answer = text_only.poll();
    assert_eq!(answer.header("Content-Type").as_deref(), Some(TEXT));
    // ASCII, for clients 1.x decode it once more than 2.x.
    assert_eq!(answer.text(), "28:42[\"a\",\"\\u20ac\\ud83d\\ude00\"]");
    session.poll();

    publish_binary(&gateway);
    let answer = session.poll();
    assert_eq!(answer.header("Content-Type").as_deref(), Some(BINARY));
    let length = BINARY_EVENT.len();
    let text = [&[0, (length / 10) as u8, (length % 10) as u8, 0xff], BINARY_EVENT.as_bytes()].concat();
    assert_eq!(answer.body, [&text[..], b"\x01\x04\xff\x04\x01\x02\x03"].concat());
}

#[test]
fn clients_without_binary_get_base64() {
    let gateway = Gateway::dev(&[]);
    for query in ["&b64=1", "&j=0"] {
        let session = Session::open(&gateway, query);
        publish_binary(&gateway);
        assert_eq!(packets(&session.poll()), [BINARY_EVENT, "b4AQID"], "{query}");
    }
    let mut websocket = Frames::open(gateway.client, &format!("{OVER_WEBSOCKET}&b64=1"));
    assert!(websocket.text().starts_with("0{"));
    assert_eq!(websocket.text(), "40");
    publish_binary(&gateway);
    assert_eq!(websocket.text(), BINARY_EVENT);
    assert_eq!(websocket.text(), "b4AQID");
    // Revision 4 knows b64 as well, without the type.
    let mut websocket = Frames::open(gateway.client, &format!("{}&b64=1", crate::harness::WEBSOCKET));
    assert!(websocket.text().starts_with("0{"));
    websocket.join();
    publish_binary(&gateway);
    assert_eq!(websocket.text(), BINARY_EVENT);
    assert_eq!(websocket.text(), "bAQID");
}

#[test]
fn frames_carry_the_type_in_front_of_binary() {
    let gateway = Gateway::dev(&[]);
    let mut websocket = Frames::open(gateway.client, OVER_WEBSOCKET);
    assert!(websocket.text().starts_with("0{"));
    assert_eq!(websocket.text(), "40");
    for ping in [masked_text("2"), masked_text("2probe"), crate::harness::masked(0x82, b"\x02")] {
        websocket.write(&ping);
        assert_eq!(websocket.text(), "3");
    }
    let mut other = gateway.joined();
    other.join_room("room");
    websocket.send(Opcode::TEXT, b"420[\"join\",\"room\"]");
    assert_eq!(websocket.text(), "430[{\"status\":\"ok\"}]");
    websocket.send(Opcode::TEXT, b"451-[\"bin\",{\"_placeholder\":true,\"num\":0}]");
    websocket.send(Opcode::BINARY, b"\x04\x09\x08");
    assert_eq!(other.text(), "451-[\"bin\",{\"_placeholder\":true,\"num\":0}]");
    assert_eq!(other.binary(), b"\x09\x08");
    other.send("451-[\"back\",{\"_placeholder\":true,\"num\":0}]");
    other.send_binary(b"\x01\x02");
    assert_eq!(websocket.text(), "451-[\"back\",{\"_placeholder\":true,\"num\":0}]");
    assert_eq!(websocket.frame(), Frame { opcode: Opcode::BINARY, payload: b"\x04\x01\x02".to_vec() });
    websocket.send(Opcode::BINARY, b"");
    websocket.send(Opcode::TEXT, b"3");
    websocket.assert_closed(None);
}

fn masked_text(text: &str) -> Vec<u8> {
    crate::harness::masked(0x81, text.as_bytes())
}

#[test]
fn pushes_in_every_form_reach_the_room() {
    let gateway = Gateway::dev(&[]);
    let mut other = gateway.joined();
    other.join_room("room");
    let session = Session::open(&gateway, "");
    let text = "text/plain;charset=UTF-8";
    assert_eq!(session.push(text, "18:420[\"join\",\"room\"]").text(), "ok");
    assert_eq!(packets(&session.poll()), ["430[{\"status\":\"ok\"}]"]);
    assert_eq!(session.push(text, "13:42[\"a\",\"€😀\"]").text(), "ok");
    assert_eq!(other.text(), "42[\"a\",\"€😀\"]");
    let header = [&[0, 3, 9, 0xff][..], BINARY_EVENT.as_bytes()].concat();
    assert_eq!(BINARY_EVENT.len(), 39);
    let body = [&header[..], b"\x01\x04\xff\x04\x01\x02\x03"].concat();
    assert_eq!(session.push("application/octet-stream", body).text(), "ok");
    assert_eq!(other.text(), BINARY_EVENT);
    assert_eq!(other.binary(), [1, 2, 3]);
    let form = "application/x-www-form-urlencoded";
    let jsonp = Session::open(&gateway, "&j=3");
    assert_eq!(jsonp.push(form, "d=18%3A420%5B%22join%22%2C%22room%22%5D").text(), "ok");
    assert_eq!(jsonp.poll().text(), "___eio[3](\"20:430[{\\\"status\\\":\\\"ok\\\"}]\");");
    assert_eq!(jsonp.push(form, "d=9%3A42%5B%22c%22%2C1%5D").text(), "ok");
    assert_eq!(other.text(), "42[\"c\",1]");
    assert_eq!(packets(&session.poll()), ["42[\"c\",1]"]);
}

#[test]
fn pushes_of_clients_1_are_decoded_twice() {
    let gateway = Gateway::dev(&[]);
    let mut other = gateway.joined();
    other.join_room("room");
    let event = "42[\"é€😀\"]";
    let doubled: String = event.bytes().map(char::from).collect();
    let body = format!("{}:{doubled}", doubled.chars().count());
    for query in ["&t=1795227732773-0&b64=1", "&t=Q7xnQJm&b64=1", "&j=0&b64=1"] {
        let session = Session::open(&gateway, query);
        let push = |body: &str| match query.contains("j=") {
            true => {
                let field: String = body.bytes().map(|byte| format!("%{byte:02X}")).collect();
                session.push("application/x-www-form-urlencoded", format!("d={field}"))
            }
            false => session.push("text/plain;charset=UTF-8", body),
        };
        assert_eq!(push("18:420[\"join\",\"room\"]").text(), "ok");
        assert_eq!(push(&body).text(), "ok");
        assert_eq!(other.text(), event, "{query}");
    }
}

#[test]
fn answers_to_old_browsers_turn_their_filter_off() {
    let gateway = Gateway::dev(&[]);
    for (agent, expected) in [
        ("Mozilla/5.0 (Windows NT 10.0; Trident/7.0; rv:11.0)", Some("0")),
        ("Mozilla/4.0 (compatible;MSIE 8.0)", Some("0")),
        ("Mozilla/5.0 Firefox/150", None),
    ] {
        let answer = gateway.http().send(&Request::get(POLLING).header("User-Agent", agent).close());
        assert_eq!(answer.header("X-XSS-Protection").as_deref(), expected, "{agent}");
    }
}

#[test]
fn a_client_that_never_pings_is_closed_after_the_sum_of_both_times() {
    let gateway = Gateway::dev(&["engine.ping_interval_ms=150", "engine.ping_timeout_ms=150"]);
    let since = std::time::Instant::now();
    let mut websocket = Frames::open(gateway.client, OVER_WEBSOCKET);
    assert!(websocket.text().starts_with("0{"));
    assert_eq!(websocket.text(), "40");
    websocket.assert_closed(None);
    assert!(since.elapsed().as_millis() >= 280, "{:?}", since.elapsed());
}

#[test]
fn socket_ids_are_those_that_clients_derive_from_the_sid() {
    let gateway = Gateway::dev(&[]);
    let session = Session::open(&gateway, "");
    assert_eq!(session.push("text/plain", "9:40/secret").status, 200);
    assert_eq!(packets(&session.poll()), ["40/secret,"]);
    let mut publisher = gateway.publisher();
    let own = message(&[&session.sid], "own", "[]");
    assert_eq!(publisher.publish(own).sockets_matched, 1);
    let mut secret = message(&[&format!("/secret#{}", session.sid)], "own", "[]");
    secret.namespace = "/secret".into();
    assert_eq!(publisher.publish(secret).sockets_matched, 1);
    assert_eq!(packets(&session.poll()), ["42[\"own\"]", "42/secret,[\"own\"]"]);
}
