//! The connection to Redis: the only crate that speaks to it.
//!
//! A [`Link`] is dumb but robust. It keeps one publishing and one subscribing connection to the master, or to every
//! master of a Redis Cluster, makes them again when they end or fall silent, says when they are up and down, and does
//! what it is told. What is to be subscribed is known elsewhere and asked for anew after a loss.
//!
//! Publishes keep their order, are never sent twice, and what became of each is told. Nothing is retried after it may have
//! been written, except what a master of a cluster has refused because the slot is another's.
//!
//! Needs Redis 6 (RESP3); shard channels and [`Query::SetIfAbsent`] need Redis 7.

mod backoff;
mod config;
mod dial;
mod event;
mod fault;
#[doc(hidden)]
pub mod fuzzing;
mod gathered;
mod half;
mod link;
mod publisher;
mod queries;
mod redirects;
mod resp;
mod server;
mod slots;
mod socket;
mod stream;
mod subscriber;
mod target;
mod tls;
mod topology;

pub use config::{LinkConfig, LinkConfigFault, LinkTlsConfig};
pub use event::{Event, Kind, LinkStats, Query, Refused, Reply, Way};
pub use fault::LinkFault;
pub use link::Link;
