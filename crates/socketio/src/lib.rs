//! Socket.IO: packets, acknowledgements and the namespaces one client has joined, without IO.

mod ascii;
mod assembler;
mod decode;
mod encode;
mod error;
mod event;
mod id;
mod json;
mod name;
mod packet;
mod pattern;
mod unescape;
pub mod v09;

pub use ascii::ascii_json;
pub use assembler::{Assembler, Incoming};
pub use decode::{decode, split};
pub use encode::{encode_ack, encode_connect, encode_connect_error, encode_disconnect, encode_event};
pub use error::{EventFault, JsonFault, JsonOffence, ParseFault};
pub use event::{event_json, event_name, first_argument};
pub use id::{NamespaceName, RoomName, SOCKET_ID_CHARS, SocketId};
pub use json::{DEPTH_CEILING, string_field};
pub use name::{URL_SAFE, random_text};
pub use packet::{DecodeLimits, Packet, PacketKind, Protocol, reserved_event};
pub use pattern::Pattern;
pub use unescape::unescape;
