//! What is fuzzed. Each target is a function of any bytes that panics where a rule is broken.
//!
//! Two run them: an ordinary test, over seeds from the vectors and their seeded mutations (`tests/smoke.rs`), and
//! libFuzzer (`fuzz/` at the root of the repository, a thin shell round these functions).

#![expect(clippy::expect_used, reason = "a target reports by panicking")]

mod edges;
mod engine;
mod json;
mod node;
mod program;
mod redis;
pub mod seeds;
mod session;
mod shard;
mod socket;
mod stream;

/// One target: its name, which is that of its file in `fuzz/fuzz_targets`, and the function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 20] = [
    ("websocket", stream::websocket),
    ("websocket_deflate", stream::deflate),
    ("websocket_extension", stream::extension),
    ("engine_packet", engine::packet),
    ("engine_payload", engine::payload),
    ("engine_query", engine::query),
    ("engine_session", session::session),
    ("socket_packet", socket::packet),
    ("socket_event", socket::event),
    ("json", json::json),
    ("redis_message", redis::message),
    ("cluster_node", node::node),
    ("shard", shard::shard),
    ("http_head", edges::http_head),
    ("resp", edges::resp),
    ("proxy_header", edges::proxy_header),
    ("forwarded_for", edges::forwarded_for),
    ("publish_json", edges::publish_json),
    ("publish_wire", edges::publish_wire),
    ("msgpack_packet", socket::msgpack),
];

/// Runs the target of this name.
///
/// # Panics
/// If there is none, and where it finds a rule broken.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target has this name");
    target(bytes);
}
