//! Black-box conformance: what only the real process can show, proved over its ports.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod addresses;
mod calls;
mod cli;
mod compression;
mod cors;
mod eio3;
mod errors_eio4;
mod forwarding;
mod harness;
mod hostile;
mod limits;
mod pace;
mod pressure;
mod proxies;
mod publish_api;
mod rules;
mod sessions;
mod shards;
mod shutdown;
mod slow;
mod socketio_09;
mod tls;
mod websocket_frames;
