//! The rules of a shard, one by one, through its public interface.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod calls;
mod closing;
mod compression;
mod connecting;
mod harness;
mod heartbeat;
mod msgpack;
mod operations;
mod pace;
mod polling;
mod relay;
mod revision3;
mod rooms;
mod slow_clients;
mod subscriptions;
mod upgrade;
mod v09;
mod vectors;
