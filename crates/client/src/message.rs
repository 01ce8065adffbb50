//! One event for many sockets.

use bytes::Bytes;
use roomcast_proto::v1;
use serde::Serialize;

use crate::arguments::Arguments;
use crate::error::Error;

/// One event for many sockets, to be published by itself, in a batch or over a stream.
///
/// Without a room it goes to the whole namespace, and without a namespace to `/`.
#[derive(Clone, Debug)]
pub struct Message {
    pub(crate) message: v1::Message,
    pub(crate) report: v1::Report,
}

impl Message {
    /// An event with its arguments: a tuple or an array is the list of them, `()` none, anything else the one argument.
    ///
    /// # Errors
    /// [`Error::Arguments`] for what has no form in JSON, such as a map whose keys are no text.
    pub fn new<T: Serialize + ?Sized>(event: impl Into<String>, arguments: &T) -> Result<Self, Error> {
        let Arguments { text, attachments } = Arguments::of(arguments)?;
        let mut message = Self::raw(event, text);
        message.message.attachments = attachments;
        Ok(message)
    }

    /// An event whose arguments are the text of a JSON array, which clients get byte for byte.
    pub fn raw(event: impl Into<String>, arguments: impl Into<String>) -> Self {
        let message =
            v1::Message { event: event.into(), arguments: arguments.into(), ..v1::Message::default() };
        Self { message, report: v1::Report::Accepted }
    }

    /// Binary that [`Message::raw`] names as `{"_placeholder":true,"num":n}`, counted from 0 in the order of calls.
    #[must_use]
    pub fn attachment(mut self, bytes: impl Into<Bytes>) -> Self {
        self.message.attachments.push(bytes.into());
        self
    }

    /// Into this namespace instead of `/`.
    #[must_use]
    pub fn of(mut self, namespace: impl Into<String>) -> Self {
        self.message.namespace = namespace.into();
        self
    }

    /// To the sockets of this room too; each socket gets it once.
    #[must_use]
    pub fn to(mut self, room: impl Into<String>) -> Self {
        self.message.rooms.push(room.into());
        self
    }

    /// Not to the sockets of this room, whatever other rooms they are in.
    #[must_use]
    pub fn except(mut self, room: impl Into<String>) -> Self {
        self.message.except.push(room.into());
        self
    }

    /// Dropped for clients that are not ready to take it at once.
    #[must_use]
    pub fn volatile(mut self) -> Self {
        self.message.r#volatile = true;
        self
    }

    /// Answered once the nodes have said what became of it: [`Published::reach`](crate::Published::reach).
    #[must_use]
    pub fn with_reach(mut self) -> Self {
        self.report = v1::Report::Reach;
        self
    }
}
