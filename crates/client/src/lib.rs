//! Publishes to Socket.IO clients through Roomcast, in the words of Socket.IO.
//!
//! ```
//! # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/support/doc.rs")); }
//! use roomcast_client::{Client, Error};
//!
//! async fn announce(endpoint: &str) -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::builder(endpoint).build()?;
//!     client.to("lobby").except("muted").emit("news", &("hello", 1)).await?;
//!     match client.to("").emit("news", &()).await {
//!         Err(Error::InvalidArgument { field, .. }) => assert_eq!(field.as_deref(), Some("message.rooms[0]")),
//!         other => panic!("a room has a name: {other:?}"),
//!     }
//!     Ok(())
//! }
//! # doc::on_a_gateway(async |client| Ok(announce(&client.endpoint).await.unwrap()));
//! ```
//!
//! A client connects when it is first used, again whenever the connection is lost, and to another endpoint when one
//! fails. Calls are tried again until their deadline where that can do no harm: messages carry idempotency keys, so that
//! the server delivers once what it gets twice. [`Builder`] has the settings.

mod arguments;
mod builder;
mod call;
mod client;
mod connection;
mod credentials;
mod error;
mod message;
mod pages;
mod pipeline;
mod retry;
mod rooms;
mod server_side;
mod sockets;
mod stream;
mod targets;

pub use arguments::Binary;
pub use builder::{BuildError, Builder, CONNECT_TIMEOUT_DEFAULT, DEADLINE_DEFAULT, KEEP_ALIVE_DEFAULT};
pub use call::{Answer, Answers, Quorum};
pub use client::Client;
pub use error::Error;
pub use message::Message;
pub use pages::Pages;
pub use retry::Retries;
pub use roomcast_proto::v1::{
    CallEnd, CallSummary, Coverage, Dropped, Handshake, NameValue, Published, Reach, Room, Socket,
};
pub use rooms::ListRooms;
pub use server_side::{ServerAnswer, ServerAnswers};
pub use stream::{PublishStream, Sent};
pub use targets::{Changed, Count, Targets};
/// The code of [`Error::Other`].
pub use tonic::Code;
