//! The other gateways: who they are, and how requests for their sessions reach them.
//!
//! A request whose sid names another node is forwarded to that node's cluster port, signed, and answered with what
//! comes back. A WebSocket is passed on byte by byte. The owner treats both as if its own client port had them.
//! A request that came from a gateway is never forwarded: sids of third nodes are unknown ones there.

mod directory;
mod forward;
mod pool;
mod port;
mod signature;
mod splice;

pub(crate) use directory::{Directory, Peer};
pub(crate) use forward::{FORWARDED_FOR, Failure, Forwarder, end_to_end};
pub(crate) use port::{IDLE_TIME, PeerStream, serve};
pub(crate) use signature::{PEER, PeerKey, Signed};
pub(crate) use splice::splice;
