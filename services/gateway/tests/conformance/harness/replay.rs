//! Plays the client's side of a captured session against the gateway.
//!
//! What the protocol decides is compared: open packets, CONNECT answers, probes, noops, closes, answers to pushes.
//! Acknowledgements compare by their id, since their contents are an application's. Other events of the server
//! are the captured application's: here nobody sends them, and a poll that they answered goes on waiting.

use std::collections::HashMap;

use serde_json::Value;

use super::{Frames, Gateway, Http, Opcode, Request, Response, Vectors, field, shape};

/// A replay on its way.
pub(crate) struct Replay<'g> {
    gateway: &'g Gateway,
    /// Our sids by the captured ones.
    sids: HashMap<String, String>,
    websockets: HashMap<u64, Frames>,
    /// Answers of handshakes and pushes by the number of their connection.
    answers: HashMap<u64, Response>,
    /// The poll that waits.
    poll: Option<Http>,
    /// Whether the first payload of an EIO 3 session held the answer of `/` as well, which is legal and saves a
    /// round trip; the poll that fetched it in the capture is then left out.
    joined: bool,
    /// What has been compared.
    pub(crate) compared: Vec<String>,
}

/// What a captured packet of the server is.
enum Decided {
    Protocol,
    Ack,
    Application,
}

fn decided(packet: &str) -> Decided {
    match packet.as_bytes() {
        [b'4', b'3' | b'6', ..] => Decided::Ack,
        [b'4', b'2' | b'5', ..] | [b'b', ..] => Decided::Application,
        _ => Decided::Protocol,
    }
}

/// `43` and the id of an acknowledgement, with or without attachments.
fn ack_start(packet: &str) -> String {
    let rest = &packet[2..];
    let rest = rest.split_once('-').map_or(rest, |(_, rest)| rest);
    format!("43{}[", rest.split('[').next().unwrap())
}

/// The packets of a payload of revision 3, whose lengths count UTF-16 units.
pub(crate) fn payload_3(payload: &str) -> Vec<String> {
    let mut packets = Vec::new();
    let mut rest = payload;
    while let Some((length, after)) = rest.split_once(':') {
        let mut left: usize = length.parse().unwrap();
        let end = after.char_indices().find_map(|(at, char)| {
            let fits = left >= char.len_utf16();
            left = left.saturating_sub(char.len_utf16());
            (!fits).then_some(at)
        });
        let (packet, after) = after.split_at(end.unwrap_or(after.len()));
        packets.push(packet.into());
        rest = after;
    }
    packets
}

/// The packets of a binary payload of revision 3; binary ones as the text form has them, `b4` and base64.
pub(crate) fn framed_3(mut payload: &[u8]) -> Vec<String> {
    let mut packets = Vec::new();
    while let [kind, rest @ ..] = payload {
        let end = rest.iter().position(|byte| *byte == 0xff).unwrap();
        let length = rest[..end].iter().fold(0, |length, digit| length * 10 + usize::from(*digit));
        let (packet, after) = rest[end + 1..].split_at(length);
        packets.push(match kind {
            0 => String::from_utf8(packet.into()).unwrap(),
            _ => {
                let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &packet[1..]);
                format!("b{}{base64}", packet[0])
            }
        });
        payload = after;
    }
    packets
}

fn packets(payload: &str) -> Vec<String> {
    let is_3 = payload.split_once(':').is_some_and(|(length, _)| length.parse::<usize>().is_ok());
    if is_3 { payload_3(payload) } else { payload.split('\u{1e}').map(str::to_owned).collect() }
}

impl<'g> Replay<'g> {
    pub(crate) fn new(gateway: &'g Gateway) -> Self {
        Self {
            gateway,
            sids: HashMap::new(),
            websockets: HashMap::new(),
            answers: HashMap::new(),
            poll: None,
            joined: false,
            compared: Vec::new(),
        }
    }

    /// Replays the transcript of a file; what was compared.
    pub(crate) fn run(gateway: &'g Gateway, file: &str) -> Vec<String> {
        let vectors = Vectors::read(file);
        let transcript = vectors.list("transcript");
        let mut replay = Self::new(gateway);
        for (at, entry) in transcript.iter().enumerate() {
            let conn = entry["conn"].as_u64().unwrap_or_default();
            match (field(entry, "kind"), entry["dir"].as_str()) {
                ("http-request", _) => {
                    let answer = transcript[at..]
                        .iter()
                        .find(|other| other["kind"] == "http-response" && other["conn"] == conn);
                    replay.request(conn, entry, answer);
                }
                ("http-response", _) => replay.response(conn, entry),
                ("ws-frame", Some("c2s")) => replay.send_frame(conn, entry),
                ("ws-frame", _) => replay.frame(conn, entry),
                ("tcp-end", _) => replay.end(conn),
                _ => {}
            }
        }
        assert!(replay.poll.is_none(), "a poll of {file} was never answered");
        replay.compared
    }

    /// `target` with our sid.
    fn target(&self, captured: &str) -> String {
        let found = self.sids.iter().find(|(sid, _)| captured.contains(*sid));
        found.map_or_else(|| captured.into(), |(sid, own)| captured.replace(sid, own))
    }

    fn request(&mut self, conn: u64, entry: &Value, answer: Option<&Value>) {
        let target = self.target(field(entry, "url"));
        let headers = entry["headers"].as_object().unwrap();
        if headers.contains_key("Upgrade") {
            let frames = Frames::open(self.gateway.client, &target);
            self.websockets.insert(conn, frames);
            return;
        }
        let mut request = Request::new(field(entry, "method"), &target).close();
        for (name, value) in headers {
            if !["Host", "Connection", "Content-Length"].contains(&name.as_str()) {
                request = request.header(name, value.as_str().unwrap());
            }
        }
        let is_push = entry["method"] == "POST";
        if is_push {
            request = request.body(field(entry, "body"));
        }
        if is_push || !target.contains("sid=") {
            let answer = self.gateway.http().send(&request);
            self.answers.insert(conn, answer);
        } else if self.poll.is_none() && !self.is_left_out(answer) {
            let mut http = self.gateway.http();
            http.write(&request.bytes());
            self.poll = Some(http);
        }
    }

    fn is_left_out(&self, answer: Option<&Value>) -> bool {
        self.joined && answer.is_some_and(|answer| answer["body"] == "2:40")
    }

    fn response(&mut self, conn: u64, entry: &Value) {
        if self.websockets.contains_key(&conn) {
            assert_eq!(entry["status"], 101);
            return;
        }
        if let Some(answer) = self.answers.remove(&conn) {
            return self.compare(&answer, entry);
        }
        if self.is_left_out(Some(entry)) {
            return;
        }
        let expected = packets(field(entry, "body"));
        match decided(&expected[0]) {
            Decided::Application => {}
            Decided::Protocol => {
                let answer = self.poll.take().expect("a poll waits").answer();
                self.compare(&answer, entry);
            }
            Decided::Ack => {
                let body = self.poll.take().expect("a poll waits").answer().text();
                let start = ack_start(&expected[0]);
                assert!(packets(&body)[0].starts_with(&start), "{body} is not {start}");
                self.compared.push(start);
            }
        }
    }

    fn compare(&mut self, answer: &Response, entry: &Value) {
        assert_eq!(answer.status, entry["status"], "{answer:?}");
        for header in ["Content-Type", "cache-control"] {
            assert_eq!(answer.header(header).as_deref(), entry["headers"][header].as_str(), "{answer:?}");
        }
        let (mut found, expected) = (packets(&answer.text()), packets(field(entry, "body")));
        if found.len() == 2 && expected.len() == 1 && found[1] == "40" {
            self.joined = true;
            found.pop();
        }
        self.learn(&expected[0], &found[0]);
        let shapes = |packets: &[String]| packets.iter().map(|packet| shape(packet)).collect::<Vec<_>>();
        assert_eq!(shapes(&found), shapes(&expected));
        self.compared.extend(shapes(&found));
    }

    /// Takes over the sid of an open packet.
    fn learn(&mut self, captured: &str, own: &str) {
        let sid = |open: &str| {
            let open: Value = serde_json::from_str(open.strip_prefix('0')?).ok()?;
            open["sid"].as_str().map(str::to_owned)
        };
        self.sids.extend(sid(captured).zip(sid(own)));
    }

    fn send_frame(&mut self, conn: u64, entry: &Value) {
        let websocket = self.websockets.get_mut(&conn).unwrap();
        match field(entry, "opcode") {
            "text" => websocket.send(Opcode::TEXT, field(entry, "text").as_bytes()),
            "binary" => {
                let base64 = field(&entry["data"], "base64");
                let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, base64).unwrap();
                websocket.send(Opcode::BINARY, &bytes);
            }
            "close" => websocket.send(Opcode::CLOSE, b""),
            other => panic!("a frame of kind {other}"),
        }
    }

    fn frame(&mut self, conn: u64, entry: &Value) {
        let websocket = self.websockets.get_mut(&conn).unwrap();
        match (field(entry, "opcode"), entry["text"].as_str()) {
            ("close", _) => {
                assert_eq!(websocket.frame().close_code(), None);
                self.compared.push("close frame".into());
            }
            ("text", Some(expected)) => match decided(expected) {
                Decided::Application => {}
                Decided::Protocol => {
                    let found = websocket.text();
                    assert_eq!(shape(&found), shape(expected));
                    self.compared.push(shape(&found));
                    self.learn(expected, &found);
                }
                Decided::Ack => {
                    let (found, start) = (websocket.text(), ack_start(expected));
                    assert!(found.starts_with(&start), "{found} is not {start}");
                    self.compared.push(start);
                }
            },
            _ => {}
        }
    }

    fn end(&mut self, conn: u64) {
        if let Some(mut websocket) = self.websockets.remove(&conn) {
            assert_eq!(websocket.next(), None);
            self.compared.push("end".into());
        }
    }
}
