//! One node of a cluster of Roomcast gateways and Node servers on the same Redis, without IO.
//!
//! [`Node`] takes what the shards of this process, Redis and callers say, each with the time, and gives back
//! [`Output`]s: what to tell Redis, the shards and the callers. Everything that decides what is subscribed,
//! published, asked and answered is here; `redis-link` only carries it.

mod config;
mod io;
mod members;
mod node;
mod wanted;

pub use config::{ClusterConfig, Family, ListenMode};
pub use io::{
    Ask, AskId, Coverage, Happening, InquiryId, Listen, Output, Part, Query, QueryId, Reply, ShardSet, Stats,
};
pub use members::Peer;
pub use node::Node;
