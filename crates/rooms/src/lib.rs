//! Who is in which room of a namespace, and whom a broadcast reaches, without IO.

mod index;
mod registry;
mod select;
mod shrink;

pub use registry::{Joined, Left, Member, Registry, SocketKey};
pub use select::Selection;
pub use shrink::{is_worth_shrinking, shrink_after_wave};
