//! The codecs against what Node's adapters and emitters were seen to send.

#![expect(clippy::unwrap_used, reason = "a vector that is not what it should be fails the test")]

use std::collections::BTreeMap;

use adapter::classic::{
    Asked, Dialect, decode_broadcast, decode_request, decode_response, encode_broadcast, encode_request,
    encode_response,
};
use adapter::{ClassicChannel, ClassicChannels, ShardedChannels, SubscriptionMode, WireFault, sharded};
use serde_json::Value;
use socketio::{DecodeLimits, NamespaceName};

macro_rules! vectors {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("../../../tests/vectors/", $name, ".json")))
            .unwrap()
    };
}

/// Cases whose bytes differ on purpose.
const DEVIATIONS: &[(&str, &str)] = &[
    ("io.to(42)", "rooms are text here; a number cannot be named"),
    (
        "remote socket object: emit, join, leave (sharded)",
        "flags of a join or leave mean nothing to its receiver",
    ),
    ("\"types\"", "NaN and dates have become JSON text before they are sent again"),
];

fn bytes(argument: &Value) -> Vec<u8> {
    match argument.as_str().or(argument["text"].as_str()) {
        Some(text) => text.as_bytes().to_vec(),
        None => unhex(argument["hex"].as_str().unwrap()),
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Name of the operation, channel and message of every PUBLISH or SPUBLISH.
fn published(vectors: &Value) -> Vec<(String, String, Vec<u8>)> {
    let mut all = Vec::new();
    for operation in vectors["operations"].as_array().unwrap() {
        for entry in operation["redis"].as_array().unwrap() {
            let command = entry["command"].as_array().unwrap();
            if matches!(command[0].as_str(), Some("PUBLISH" | "SPUBLISH")) {
                let name = operation["name"].as_str().unwrap().to_owned();
                all.push((name, command[1].as_str().unwrap().to_owned(), bytes(&command[2])));
            }
        }
    }
    all
}

fn show(message: &[u8]) -> String {
    String::from_utf8_lossy(message).into_owned()
}

/// Decodes every message of a file of classic adapters, encodes it again where `exact`, and returns how many
/// of each kind there were.
fn check_classic(file: &str, vectors: &Value, prefix: &str, exact: bool) -> BTreeMap<&'static str, usize> {
    let limits = DecodeLimits::default();
    let mut counts = BTreeMap::new();
    for (name, channel, message) in published(vectors) {
        if message == b"{\"type\":" || name.starts_with("unknown request type") {
            continue;
        }
        let namespaces = ["/", "/chat"].map(NamespaceName::new);
        let prefix = if channel.starts_with("myapp") { "myapp" } else { prefix };
        let found = namespaces.iter().find_map(|namespace| {
            let channels = ClassicChannels::new(prefix, namespace);
            Some((namespace, channels.clone(), channels.parse(&channel)?))
        });
        let Some((namespace, channels, kind)) = found else { panic!("{file}: {name}: {channel}") };
        let deviates = DEVIATIONS.iter().any(|(part, _)| name.contains(part));
        let context = || format!("{file}: {name}: {}", show(&message));
        let (counted, again) = match kind {
            ClassicChannel::Namespace | ClassicChannel::Room(_) => {
                let inbound = decode_broadcast(&message, &limits)
                    .unwrap_or_else(|fault| panic!("{fault} {}", context()));
                if exact {
                    assert_eq!(inbound.broadcast.namespace, *namespace, "{}", context());
                    assert_eq!(channels.for_targets(&inbound.broadcast.targets), channel, "{}", context());
                }
                let again = encode_broadcast(&inbound.uid.unwrap(), &inbound.broadcast, &inbound.flags);
                ("broadcast", Some(again.unwrap()))
            }
            ClassicChannel::Request => {
                let request = decode_request(&message, namespace, &limits)
                    .unwrap_or_else(|fault| panic!("{fault} {}", context()));
                let again = match &request.asked {
                    Asked::Command(command) if request.dialect == Dialect::Current => Some(
                        encode_request(request.uid.as_ref(), request.request_id.as_ref(), command).unwrap(),
                    ),
                    _ => None,
                };
                ("request", again)
            }
            ClassicChannel::Response | ClassicChannel::SpecificResponse(_) => {
                if message == b"{}" {
                    continue;
                }
                let response = decode_response(&message, &limits)
                    .unwrap_or_else(|fault| panic!("{fault} {}", context()));
                let dialect = if show(&message).contains("requestid") {
                    Dialect::SocketIoRedis5
                } else {
                    Dialect::Current
                };
                (
                    "response",
                    Some(
                        encode_response(
                            &response.request_id,
                            dialect,
                            &response.answer,
                            response.from.as_ref(),
                        )
                        .unwrap(),
                    ),
                )
            }
        };
        *counts.entry(counted).or_default() += 1;
        if let Some(again) = again {
            *counts.entry(if again == message { "equal" } else { "differs" }).or_default() += 1;
            if exact {
                assert_eq!(again == message, !deviates, "{}\n{}", context(), show(&again));
            }
        }
    }
    println!("{file}: {counts:?}");
    counts
}

#[test]
fn messages_of_the_current_adapter_are_read_and_written_byte_for_byte() {
    check_classic("redis-classic", &vectors!("redis-classic"), "socket.io", true);
    check_classic("redis-classic-options", &vectors!("redis-classic-options"), "myapp", true);
}

#[test]
fn messages_of_emitters_old_adapters_and_other_languages_are_read() {
    let mut emitter = vectors!("redis-emitter");
    // The last is JSON text, of a parser option that all nodes have to share.
    emitter["operations"].as_array_mut().unwrap().pop();
    check_classic("redis-emitter", &emitter, "socket.io", false);
    check_classic("redis-emitter-old", &vectors!("redis-emitter-old"), "socket.io", false);
    check_classic("redis-classic-injected", &vectors!("redis-classic-injected"), "socket.io", false);
    check_classic("redis-legacy-5", &vectors!("redis-legacy-5"), "socket.io", false);
    check_classic("redis-legacy-6", &vectors!("redis-legacy-6"), "socket.io", false);
    check_classic("redis-legacy-sails", &vectors!("redis-legacy-sails"), "socket.io", false);
}

#[test]
fn messages_of_the_sharded_adapter_are_read_and_written_byte_for_byte() {
    let files = [
        (SubscriptionMode::Static, "socket.io", vectors!("redis-sharded-static")),
        (SubscriptionMode::Dynamic, "socket.io", vectors!("redis-sharded-dynamic")),
        (SubscriptionMode::DynamicPrivate, "pfx", vectors!("redis-sharded-dynamic-private")),
    ];
    for (mode, prefix, vectors) in files {
        let (mut equal, mut differs) = (0, Vec::new());
        for (name, channel, message) in published(&vectors) {
            let decoded = sharded::decode(&message, &DecodeLimits::default())
                .unwrap_or_else(|fault| panic!("{fault} {name}"));
            if let sharded::Content::Broadcast { targets, request_id: None, .. } = &decoded.content {
                let channels = ShardedChannels::new(prefix, &decoded.namespace, mode);
                assert_eq!(channels.for_targets(targets), channel, "{mode:?} {name}");
            }
            let again = sharded::encode(&decoded).unwrap();
            if again == message { equal += 1 } else { differs.push((name, show(&message), show(&again))) }
        }
        println!("{mode:?}: {equal} equal, {} differ", differs.len());
        for (name, sent, again) in &differs {
            let join_of_one = name.contains("remote socket object: emit, join, leave");
            let deviates = join_of_one || DEVIATIONS.iter().any(|(part, _)| name.contains(part));
            assert!(deviates, "{mode:?} {name}\n{sent}\n{again}");
        }
    }
}

#[test]
fn malformed_messages_are_survived() {
    let limits = DecodeLimits::default();
    for case in vectors!("redis-malformed")["cases"].as_array().unwrap() {
        let Some(channel) = case["payload"]["channel"].as_str() else { continue };
        let message = bytes(&case["payload"]);
        let result: Result<(), WireFault> = match (case["adapter"].as_str().unwrap(), channel) {
            ("classic", channel) if channel.contains("-request") => {
                decode_request(&message, &NamespaceName::main(), &limits).map(drop)
            }
            ("classic", channel) if channel.contains("-response") => {
                decode_response(&message, &limits).map(drop)
            }
            ("classic", _) => decode_broadcast(&message, &limits).map(drop),
            ("sharded", _) => sharded::decode(&message, &limits).map(drop),
            _ => continue,
        };
        println!(
            "{:55} {:20} {result:?}",
            case["name"].as_str().unwrap(),
            case["node_process"].as_str().unwrap()
        );
        if case["node_process"] != "survives" {
            assert!(result.is_err(), "{case}");
        }
    }
}

/// A broadcast with `value` as the only argument.
fn around(value: &[u8]) -> Vec<u8> {
    [&[0x93, 0xa1, b'u', 0x82, 0xa4][..], b"type", &[2, 0xa4], b"data", &[0x92, 0xa1, b'e'], value, &[0x80]]
        .concat()
}

fn decoded(value: &[u8]) -> String {
    let inbound = decode_broadcast(&around(value), &DecodeLimits::default()).unwrap();
    let json = String::from_utf8(inbound.broadcast.event.json.to_vec()).unwrap();
    json.strip_prefix("[\"e\",").and_then(|rest| rest.strip_suffix(']')).unwrap().to_owned()
}

fn contains(message: &[u8], part: &[u8]) -> bool {
    message.windows(part.len()).any(|window| window == part)
}

#[test]
fn values_are_those_of_notepack_and_json_stringify() {
    let golden = vectors!("notepack-golden");
    for section in ["numbers", "large_numbers", "dates", "values"] {
        for row in golden[section].as_array().unwrap() {
            let (json, value) = (row["json"].as_str().unwrap(), unhex(row["hex"].as_str().unwrap()));
            // Integers keep all their bits here, where JavaScript prints the nearest shorter one.
            match (decoded(&value), json.parse::<f64>()) {
                (ours, Ok(theirs)) if theirs.abs() > 9e15 => {
                    assert_eq!(ours.parse(), Ok(theirs), "{section} {row}")
                }
                (ours, _) => assert_eq!(ours, json, "{section} {row}"),
            }
            if section != "dates" {
                let inbound = decode_broadcast(&around(&value), &DecodeLimits::default()).unwrap();
                let again =
                    encode_broadcast(&inbound.uid.unwrap(), &inbound.broadcast, &inbound.flags).unwrap();
                assert!(contains(&again, &value), "{section} {row} {again:02x?}");
            }
        }
    }
}

#[test]
fn values_of_every_library_are_read() {
    let vectors = vectors!("msgpack-values");
    let rows = ["values", "notepack_2"].iter().flat_map(|section| vectors[section].as_array().unwrap());
    for row in rows {
        for library in ["notepack_3", "msgpack_msgpack", "notepack_2"] {
            let Some(hex) = row[library]["hex"].as_str() else { continue };
            println!(
                "{:40} {library:16} {}",
                row["name"].as_str().unwrap(),
                decoded(&unhex(hex)).chars().take(60).collect::<String>()
            );
        }
    }
}
