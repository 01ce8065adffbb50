//! A stream of messages, for callers.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use roomcast_proto::v1::Published;

use crate::client::Client;
use crate::error::Error;
use crate::message::Message;
use crate::pipeline::{Answer, Pipeline};

/// Messages over one stream, in the order of [`PublishStream::send`]; made by [`Client::stream`](crate::Client::stream).
///
/// It connects when it is first used and again whenever the connection is lost; messages without an answer are then sent
/// again, first to last, and by their idempotency keys none is delivered twice. The order holds at every socket. Only
/// where the server refuses a message as UNAVAILABLE and takes those behind it, these come before its retry.
///
/// Dropping it lets what was sent go on.
#[derive(Debug)]
pub struct PublishStream {
    client: Client,
    pipeline: Pipeline,
}

/// A message that was sent; await it for the answer. Dropping it leaves the message on its way.
#[derive(Debug)]
#[must_use = "await it, or a refused message goes unnoticed"]
pub struct Sent {
    answer: Answer,
}

impl PublishStream {
    pub(crate) fn new(client: Client, pipeline: Pipeline) -> Self {
        Self { client, pipeline }
    }

    /// Sends one message. Waits while as many messages as the window holds have no answer, or 8 MiB of them.
    ///
    /// # Errors
    /// [`Error::DeadlineExceeded`] if no place came free within the client's deadline.
    pub async fn send(&self, message: Message) -> Result<Sent, Error> {
        let answer = self.pipeline.send(self.client.stream_request(message)).await?;
        Ok(Sent { answer })
    }
}

impl IntoFuture for Sent {
    type Output = Result<Published, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.answer.wait())
    }
}
