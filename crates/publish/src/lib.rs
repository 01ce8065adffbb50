//! The publish API over gRPC and as HTTP with JSON: `roomcast.v1.Publisher`, health and reflection on one listener.
//!
//! Who calls and what they may do is decided in `auth` and `guard`, in front of every rpc.
//!
//! Requests are checked and turned into broadcasts here; where those go is the [`Dispatch`]'s business, so that
//! a gateway and a publisher without sockets serve the same API.

mod auth;
mod call;
mod config;
mod connection;
mod convert;
mod dispatch;
mod error;
mod fetch;
mod front;
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod http;
mod id;
mod idempotency;
mod listener;
mod operations;
mod publishing;
mod server;
mod stream;
mod texts;
mod tls;
mod wire;

pub use auth::{
    AuthConfig, AuthFault, JwtConfig, KeysFault, Operation, Rate, RightsConfig, ServerTlsConfig, hash_line,
    new_key,
};
pub use config::{ConfigFault, PublishConfig};
pub use dispatch::{
    CallAnswer, CallEnd, CallEvent, CallRefused, Claim, Coverage, Dispatch, Dropped, HandedOver, Reach,
    ReachLater, Receipt, ReportLevel, ServerAnswer, Unavailable,
};
pub use id::{MESSAGE_ID_CHARS, MessageId};
pub use idempotency::IdempotencyKey;
pub use server::{Access, AccessError, ServeError, serve, serve_with};
pub use tls::TlsFault;

/// What every message of a `PublishStream` goes through before it is handed over, for `benches/counted` to count: its
/// bytes are read and checked. `None` if they break a rule.
#[doc(hidden)]
pub fn checked_of_stream(bytes: &[u8], config: &PublishConfig) -> Option<adapter::Broadcast> {
    let texts = &mut texts::Texts::default();
    let checked = wire::publish_stream_request(bytes, |request| {
        let message = request.message.as_ref()?;
        convert::broadcast(message, config, texts).ok()
    });
    checked.ok().flatten()
}
