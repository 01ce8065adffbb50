//! What travels between nodes, and what a node must be subscribed to, without IO.

mod message;

pub use message::{Broadcast, Delivery, Event, Targets};
