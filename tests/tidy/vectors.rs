//! Every captured file has a test that reads it.

use std::fs;
use std::path::Path;

use crate::file;

/// Files of `tests/vectors` by the tests that read them; those go through all cases, or list what they leave out with a
/// reason each.
const READ_BY: &[(&str, &[&str])] = &[
    ("crates/adapter/src/parser.rs", &["msgpack-parser"]),
    (
        "crates/adapter/tests/vectors.rs",
        &[
            "msgpack-values",
            "notepack-golden",
            "redis-classic",
            "redis-classic-injected",
            "redis-classic-options",
            "redis-emitter",
            "redis-emitter-old",
            "redis-legacy-5",
            "redis-legacy-6",
            "redis-legacy-sails",
            "redis-malformed",
            "redis-sharded-dynamic",
            "redis-sharded-dynamic-private",
            "redis-sharded-static",
        ],
    ),
    ("crates/broker/tests/rules/vectors.rs", &["invalid-packets"]),
    ("crates/engineio/src/vectors.rs", &["eio3-parser", "eio4-parser"]),
    ("crates/socketio/tests/vectors.rs", &["sio-parser"]),
    ("services/gateway/tests/conformance/cors.rs", &["cors"]),
    (
        "services/gateway/tests/conformance/eio3.rs",
        &[
            "eio3-http",
            "session-v1.7-upgrade",
            "session-v1.7-websocket",
            "session-v2-polling",
            "session-v2-upgrade",
            "session-v2-websocket",
        ],
    ),
    ("services/gateway/tests/conformance/errors_eio4.rs", &["errors-eio4"]),
    (
        "services/gateway/tests/conformance/sessions.rs",
        &[
            "behaviours",
            "namespaces",
            "session-v3-polling",
            "session-v3-upgrade",
            "session-v3-websocket",
            "session-v4-polling",
            "session-v4-upgrade",
            "session-v4-websocket",
        ],
    ),
];

/// What was captured and is not here, with the reason.
#[expect(dead_code, reason = "for those who look for them")]
const NOT_HERE: &[(&str, &str)] = &[
    ("admin-ui", "the admin namespace is an application's"),
    ("legacy-servers", "what servers of 2.x and 3.x answered; ours is compared with that of 4.x"),
    (
        "session-v1.7-polling",
        "the client loses its session with the reference; here it does not: eio3.rs, tests/clients",
    ),
    ("recovery", "there is no recovery of connection state"),
    ("redis-streams", "there is no adapter on streams"),
    ("redis-streams-0.2", "there is no adapter on streams"),
    ("webtransport-framing", "there is no WebTransport"),
];

#[test]
fn every_file_of_vectors_is_read_by_the_test_that_is_said_to() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<_> = names.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect();
    let mut known: Vec<_> =
        READ_BY.iter().flat_map(|(_, names)| names.iter().map(|name| (*name).to_owned())).collect();
    found.sort();
    known.sort();
    assert_eq!(found, known, "a file without a test, or a test without its file");
    for (test, names) in READ_BY {
        let source = file(test);
        for name in *names {
            let quoted = [format!("\"{name}\""), format!("{name}.json")];
            assert!(quoted.iter().any(|quoted| source.contains(quoted)), "{test} does not read {name}.json");
        }
    }
}
