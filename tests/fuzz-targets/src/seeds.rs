//! Where fuzzing begins: what real clients and servers have written, out of the vectors, in the form of each target.

use std::{fs, path::Path};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

/// Longest text that is taken over from a vector: longer ones only make fuzzing slow.
const TEXT_BYTES_MAX: usize = 2_000;
/// Programs for the targets that read one, of chance: their grammar is too dense for a seed to matter.
const PROGRAMS: u64 = 64;
const PROGRAM_BYTES_MAX: usize = 400;

/// What browsers and Node offer, and every parameter.
const OFFERS: [&str; 3] = [
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; client_no_context_takeover",
    "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits=\"9\"; server_max_window_bits=15",
];

/// Frames of every type.
const REPLIES: [&str; 6] = [
    "+OK\r\n-ERR no\r\n:-12\r\n$-1\r\n*-1\r\n_\r\n#t\r\n,1.5\r\n(123\r\n",
    "$0\r\n\r\n=7\r\ntxt:abc\r\n!5\r\nERR x\r\n*2\r\n$1\r\na\r\n:3\r\n",
    "%1\r\n+k\r\n~1\r\n+v\r\n>2\r\n+subscribe\r\n:1\r\n",
    ">3\r\n$7\r\nmessage\r\n$4\r\nroom\r\n$5\r\nhello\r\n",
    ">3\r\n$8\r\nsmessage\r\n$4\r\nroom\r\n$5\r\nhello\r\n+more\r\n",
    ">4\r\n$8\r\npmessage\r\n$2\r\nr*\r\n$4\r\nroom\r\n$5\r\nhello\r\n",
];

const FORWARDED: [&str; 4] = [
    "192.0.2.7",
    "198.51.100.1, 10.0.0.2\n10.0.0.3",
    "[2001:db8::1]:443, 10.1.1.1",
    "unknown, _hidden,\n10.0.0.1:80",
];

/// One request of each rpc with a path, in their order.
const REQUESTS: [&str; 10] = [
    r#"{"message":{"namespace":"/","rooms":["r"],"except":["x"],"event":"e","args":[1,{"_placeholder":true,"num":0}],"attachments":["AQI="],"volatile":true},"report":"REPORT_REACH","idempotencyKey":"k"}"#,
    r#"{"messages":[{"event":"a","arguments":"[1]"},{"event":"b"}]}"#,
    r#"{"message":{"event":"ask"},"timeout":"1.5s","quorum":2}"#,
    r#"{"namespace":"/","rooms":["a"],"join":["b"]}"#,
    r#"{"namespace":"/","rooms":["a"],"leave":["b"]}"#,
    r#"{"namespace":"/","limit":10}"#,
    r#"{"namespace":"/","rooms":["a"],"close":true}"#,
    r#"{"namespace":"/","pageSize":"10"}"#,
    r#"{"namespace":null}"#,
    r#"{"namespace":"/","event":"e","args":["\u00e9\ud83d\ude00"]}"#,
];

/// A request with every field of a message, one with a key and a report, a batch, and one of a stream.
const WIRE: [&[u8]; 4] = [
    b"\n\x26\n\x01/\x12\x01r\x12\x01s\x1a\x01x\x22\x01e*\x11[1,2,\"\xc3\xa9\",null]2\x02\x01\x028\x01",
    b"\n\x05\x22\x01e*\x00\x12\x03key\x18\x02",
    b"\n\x03\x22\x01a\n\x07\x22\x01b*\x02[]\x18\x01",
    b"\x08\x07\x12\x08\x22\x01e*\x03[1]\x1a\x01k\x20\x02",
];

/// Requests for a WebSocket, as browsers and Node write them, and broken ones.
fn heads() -> Vec<Vec<u8>> {
    let targets =
        ["/socket.io/?EIO=4&transport=websocket", "/socket.io/?EIO=3&transport=websocket&b64=1&sid=abc", "/"];
    let extra = [
        "Origin: https://app.example.com\r\nSec-WebSocket-Protocol: a, b\r\nCookie: a=b; c=d\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
        "Origin: null\r\nX-Forwarded-For: 10.0.0.1\r\n",
    ];
    let head = |target: &str, extra: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
        )
    };
    targets.iter().flat_map(|target| extra.iter().map(|extra| head(target, extra).into_bytes())).collect()
}

fn proxy_headers() -> Vec<Vec<u8>> {
    let binary = |command: u8, family: u8, body: &[u8]| {
        let length = u16::try_from(body.len()).expect("a seed is short").to_be_bytes();
        [b"\x03\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, body].concat()
    };
    vec![
        b"\x03PROXY TCP4 192.0.2.1 10.0.0.1 4000 443\r\n".to_vec(),
        b"\x01PROXY TCP6 2001:db8::1 2001:db8::2 4000 443\r\n".to_vec(),
        b"\x03PROXY UNKNOWN\r\n".to_vec(),
        binary(0x21, 0x11, &[192, 0, 2, 1, 10, 0, 0, 1, 15, 160, 1, 187]),
        binary(0x21, 0x21, &[[7; 36].as_slice(), &[4, 0, 2, 1, 2]].concat()),
        binary(0x20, 0, &[]),
        binary(0x21, 0x31, &[0; 216]),
    ]
}

/// Packets in MessagePack with each value of the vectors as their argument.
fn msgpack_packets(values: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let event =
        |value: &Vec<u8>| [b"\x84\xa4type\x02\xa3nsp\xa1/\xa2id\x07\xa4data\x92\xa1x", &**value].concat();
    let connect = b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x81\xa5token\xa1t".to_vec();
    values.iter().map(event).chain([connect]).collect()
}

/// What the vectors hold, whatever they say of it.
struct Vectors {
    texts: Vec<String>,
    /// What stands there in hexadecimal digits.
    blobs: Vec<Vec<u8>>,
}

/// The seeds of a target, in the same order each time.
///
/// # Panics
/// If the vectors are not where they were.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let vectors = Vectors::read();
    let texts = || vectors.texts.iter().map(|text| text.as_bytes().to_vec());
    let with = |prefix: &[u8], bytes: Vec<u8>| [prefix, &bytes].concat();
    let blobs = || vectors.blobs.iter().cloned();
    match target {
        "websocket" => texts()
            .map(|text| client_frame(0x81, &text))
            .chain(blobs().map(|blob| client_frame(0x82, &blob)))
            .chain(texts().take(50).map(fragments))
            .map(|stream| with(&[16], stream))
            .chain(texts().step_by(16).map(|text| with(&[16 + 128], compressed_frame(&text))))
            .collect(),
        "websocket_deflate" => {
            texts().chain(blobs()).step_by(16).map(|message| with(&[1], message)).collect()
        }
        "websocket_extension" => OFFERS.iter().map(|offer| offer.as_bytes().to_vec()).collect(),
        "engine_packet" | "json" => texts().chain(blobs()).collect(),
        "engine_payload" => {
            let text = (0..4).flat_map(|form| texts().map(move |text| [&[form | 4], &*text].concat()));
            text.chain(blobs().map(|blob| with(&[0], blob))).collect()
        }
        "engine_query" => {
            let queries = vectors.texts.iter().filter_map(|text| text.split_once('?'));
            queries.map(|(_, query)| query.as_bytes().to_vec()).collect()
        }
        "socket_packet" => {
            let packets = vectors.texts.iter().map(|text| text.strip_prefix('4').unwrap_or(text));
            let binary = [b"51-[\"x\",{\"_placeholder\":true,\"num\":0}]\x1e\x00\x01\x02".to_vec()];
            packets.map(|text| text.as_bytes().to_vec()).chain(binary).collect()
        }
        "socket_event" => {
            let arguments = vectors.texts.iter().filter_map(|text| text.find('[').map(|at| &text[at..]));
            arguments.map(|text| format!("\u{1}name\n{text}").into_bytes()).collect()
        }
        "redis_message" => blobs().chain(texts().filter(|text| text.starts_with(b"{"))).collect(),
        "cluster_node" => {
            let messages = blobs().chain(texts().filter(|text| text.starts_with(b"{")));
            let on_channels = messages.enumerate().flat_map(|(at, message)| {
                // Family, step, channel, whether the rest belongs to it, and no piece before it.
                (0..8).map(move |channel| with(&[(at % 4) as u8, 0, channel, 0, 0], message.clone()))
            });
            on_channels.collect()
        }
        "http_head" => heads(),
        "resp" => REPLIES.iter().map(|reply| reply.as_bytes().to_vec()).collect(),
        "proxy_header" => proxy_headers(),
        "forwarded_for" => FORWARDED.iter().map(|value| value.as_bytes().to_vec()).collect(),
        "publish_json" => (0..REQUESTS.len()).map(|rpc| with(&[rpc as u8], REQUESTS[rpc].into())).collect(),
        "publish_wire" => WIRE.iter().map(|request| request.to_vec()).collect(),
        "msgpack_packet" => msgpack_packets(&vectors.blobs),
        _ => programs(),
    }
}

fn programs() -> Vec<Vec<u8>> {
    let program = |seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        let length = rng.random_range(1..PROGRAM_BYTES_MAX);
        // Small numbers name what there is.
        (0..length)
            .map(|_| if rng.random_bool(0.8) { rng.random_range(0..26) } else { rng.random() })
            .collect()
    };
    (0..PROGRAMS).map(program).collect()
}

/// A masked frame with the first byte `first`.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let header = websocket::frame_header(websocket::Opcode::Binary, payload.len());
    let mut frame = header.as_bytes().to_vec();
    frame[0] = first;
    frame[1] |= 0x80;
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A text message, compressed where that makes it shorter, as a client would send it.
fn compressed_frame(text: &[u8]) -> Vec<u8> {
    let frame = websocket::Deflater::default().deflate(&websocket::frame(websocket::Opcode::Text, text), 1);
    let header = match frame.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    client_frame(frame[0], &frame[header..])
}

/// A text in two fragments, with a ping between them, and the end.
fn fragments(text: Vec<u8>) -> Vec<u8> {
    let (first, second) = text.split_at(text.len() / 2);
    let frames = [(0x01, first), (0x89, b"ping"), (0x80, second), (0x88, &[3, 232])]
        .map(|(kind, data)| client_frame(kind, data));
    frames.concat()
}

impl Vectors {
    fn read() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors");
        let entries = fs::read_dir(&folder).expect("the vectors lie beside this package");
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        let mut vectors = Self { texts: Vec::new(), blobs: Vec::new() };
        for path in paths {
            let text = fs::read_to_string(&path).expect("a vector is text");
            vectors.add(&serde_json::from_str(&text).expect("a vector is JSON"));
        }
        vectors.blobs.sort();
        vectors.blobs.dedup();
        vectors.texts.sort();
        vectors.texts.dedup();
        vectors
    }

    fn add(&mut self, value: &Value) {
        match value {
            Value::String(text) if text.len() <= TEXT_BYTES_MAX => {
                self.blobs.extend(from_hex(text));
                self.texts.push(text.clone());
            }
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.add(field)),
            _ => {}
        }
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let (pairs, rest) = digits.as_ref()?.as_chunks::<2>();
    (rest.is_empty() && !pairs.is_empty()).then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
