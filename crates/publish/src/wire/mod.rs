//! Requests to publish, read where they lie: the fields borrow from the bytes that came.
//!
//! `Publish`, `PublishBatch` and `PublishStream` are called for every message, and owned copies of its fields, made
//! only to be checked and encoded anew, cost more than the publish. The other rpcs use the generated types.

mod frames;
mod read;
mod write;

use roomcast_proto::v1;
use smallvec::SmallVec;

pub(crate) use frames::Frames;
pub(crate) use read::{publish_batch_request, publish_request, publish_stream_request};
pub(crate) use write::{
    publish_batch_response, publish_response, publish_stream_accepted, publish_stream_response,
};

/// [`v1::Message`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MessageRef<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) rooms: SmallVec<[&'a str; 4]>,
    pub(crate) except: SmallVec<[&'a str; 1]>,
    pub(crate) event: &'a str,
    pub(crate) arguments: &'a str,
    pub(crate) attachments: SmallVec<[&'a [u8]; 1]>,
    pub(crate) volatile: bool,
}

/// [`v1::PublishRequest`], and [`v1::PublishStreamRequest`], which has a `sequence` besides.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PublishRef<'a> {
    pub(crate) sequence: u64,
    pub(crate) message: Option<MessageRef<'a>>,
    pub(crate) idempotency_key: &'a str,
    /// A [`v1::Report`], or what this version does not know.
    pub(crate) report: i32,
}

/// [`v1::PublishBatchRequest`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BatchRef<'a> {
    pub(crate) messages: Vec<MessageRef<'a>>,
    pub(crate) idempotency_key: &'a str,
    pub(crate) report: i32,
}

impl<'a> From<&'a v1::Message> for MessageRef<'a> {
    fn from(message: &'a v1::Message) -> Self {
        Self {
            namespace: &message.namespace,
            rooms: message.rooms.iter().map(String::as_str).collect(),
            except: message.except.iter().map(String::as_str).collect(),
            event: &message.event,
            arguments: &message.arguments,
            attachments: message.attachments.iter().map(|part| part.as_ref()).collect(),
            volatile: message.volatile,
        }
    }
}

impl<'a> PublishRef<'a> {
    fn new(sequence: u64, message: Option<&'a v1::Message>, idempotency_key: &'a str, report: i32) -> Self {
        Self { sequence, message: message.map(MessageRef::from), idempotency_key, report }
    }
}

impl<'a> From<&'a v1::PublishRequest> for PublishRef<'a> {
    fn from(request: &'a v1::PublishRequest) -> Self {
        let v1::PublishRequest { message, idempotency_key, report } = request;
        Self::new(0, message.as_ref(), idempotency_key, *report)
    }
}

impl<'a> From<&'a v1::PublishStreamRequest> for PublishRef<'a> {
    fn from(request: &'a v1::PublishStreamRequest) -> Self {
        let v1::PublishStreamRequest { sequence, message, idempotency_key, report } = request;
        Self::new(*sequence, message.as_ref(), idempotency_key, *report)
    }
}

impl<'a> From<&'a v1::PublishBatchRequest> for BatchRef<'a> {
    fn from(request: &'a v1::PublishBatchRequest) -> Self {
        Self {
            messages: request.messages.iter().map(MessageRef::from).collect(),
            idempotency_key: &request.idempotency_key,
            report: request.report,
        }
    }
}
