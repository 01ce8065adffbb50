//! What travels between nodes, and what a node must be subscribed to, without IO.

mod message;
mod operation;
mod subscription;

pub use message::{Broadcast, Delivery, Event, Targets};
pub use operation::{Action, Extent, Operation, Outcome};
pub use subscription::{Subscription, Subscriptions, Ticket};
