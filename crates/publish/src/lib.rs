//! The publish API over gRPC: `roomcast.v1.Publisher`, health and reflection on one listener.
//!
//! Requests are checked and turned into broadcasts here; where those go is the [`Dispatch`]'s business, so that
//! a gateway and a publisher without sockets serve the same API.

mod call;
mod config;
mod convert;
mod dispatch;
mod error;
mod id;
mod operations;
mod publishing;
mod server;
mod service;
mod stream;

pub use config::{ConfigFault, PublishConfig};
pub use dispatch::{
    CallAnswer, CallEnd, CallEvent, CallRefused, Coverage, Dispatch, Dropped, Reach, Receipt, ReportLevel,
    Unavailable,
};
pub use id::{MESSAGE_ID_CHARS, MessageId};
pub use server::{ServeError, serve};
