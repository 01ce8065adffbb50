//! What travels between nodes, and what a node must be subscribed to, without IO.

pub mod classic;
pub mod parser;
pub mod sharded;

mod argument;
mod call;
mod channel;
mod convert;
mod date;
mod details;
mod error;
mod event;
mod id;
mod json;
mod message;
mod msgpack;
mod number;
mod operation;
mod opts;
mod packet;
mod report;
mod responder;
mod subscription;
mod value;

pub use argument::Argument;
pub use call::CallId;
pub use channel::{
    ClassicChannel, ClassicChannels, DEFAULT_PREFIX, ShardedChannel, ShardedChannels, SubscriptionMode,
    report_channel,
};
pub use convert::json_with_arrays;
pub use date::date_text;
pub use details::{Handshake, SocketDetails};
pub use error::WireFault;
pub use id::{RequestId, Uid};
pub use message::{Broadcast, Delivery, Event, Targets};
pub use operation::{Action, Extent, Operation, Outcome, RoomKinds};
pub use opts::Flags;
pub use report::{NodeReach, Report};
pub use responder::Responder;
pub use subscription::{Subscription, Subscriptions, Ticket};
