//! The sharded Redis adapter (Redis 7): what is published on the channels of
//! [`ShardedChannels`](crate::ShardedChannels).

mod message;

pub use message::{Content, Message, decode, encode};
