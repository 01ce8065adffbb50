//! The classic Redis adapter (pub/sub) and the emitter: what is published on the channels of
//! [`ClassicChannels`](crate::ClassicChannels).

mod broadcast;
mod request;
mod response;
mod usual;

pub use broadcast::{InboundBroadcast, decode_broadcast, encode_broadcast, is_from, push_broadcast};
pub use request::{AnsweredBy, Asked, Command, Dialect, Request, decode_request, encode_request};
pub use response::{Answer, Response, decode_response, encode_response};

pub(crate) use response::push_sockets;
