//! Socket.IO: packets, acknowledgements and the namespaces one client has joined, without IO.

mod id;

pub use id::{NamespaceName, RoomName, SOCKET_ID_CHARS, SocketId};
