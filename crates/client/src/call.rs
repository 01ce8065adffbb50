//! The answers of clients to one event.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use roomcast_proto::v1::call_request::Quorum as WireQuorum;
use roomcast_proto::v1::call_response::Part;
use roomcast_proto::v1::{CallAnswer, CallResponse, CallSummary};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Streaming;

use crate::error::Error;

/// When a call ends before its timeout and before all have answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quorum {
    /// After so many answers, at least 1.
    Answers(u64),
    /// After answers of this share of the sockets asked, above 0 and at most 1.
    Share(f64),
}

impl From<Quorum> for WireQuorum {
    fn from(quorum: Quorum) -> Self {
        match quorum {
            Quorum::Answers(answers) => Self::QuorumAnswers(answers),
            Quorum::Share(share) => Self::QuorumShare(share),
        }
    }
}

/// One client's acknowledgement.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The socket; empty for sockets of servers that do not say.
    pub socket_id: String,
    /// The node that holds it; empty as above.
    pub node: String,
    /// What it answered, as the text of a JSON array.
    pub arguments: String,
    /// Binary that `arguments` names as `{"_placeholder":true,"num":n}`.
    pub attachments: Vec<Bytes>,
}

impl Answer {
    /// The arguments as what serde reads from them: a tuple, or a `Vec`.
    ///
    /// # Errors
    /// [`Error::Arguments`] if they are something else.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(serde_json::from_str(&self.arguments)?)
    }
}

/// The answers to one event, as they arrive: a [`Stream`], and without one [`Answers::next`].
#[derive(Debug)]
#[must_use = "the call ends when this is dropped"]
pub struct Answers {
    parts: Streaming<CallResponse>,
    late: Pin<Box<Sleep>>,
    summary: Option<CallSummary>,
    ended: bool,
}

impl Answers {
    /// The server ends the call; that it does is waited for no longer than `time`.
    pub(crate) fn new(parts: Streaming<CallResponse>, time: Duration) -> Self {
        let late = Box::pin(sleep_until(Instant::now() + time));
        Self { parts, late, summary: None, ended: false }
    }

    /// The next answer; `None` once the call has ended.
    pub async fn next(&mut self) -> Option<Result<Answer, Error>> {
        StreamExt::next(self).await
    }

    /// All answers that are still to come.
    ///
    /// # Errors
    /// The first that comes, with which the call ends.
    pub async fn all(&mut self) -> Result<Vec<Answer>, Error> {
        let mut all = Vec::new();
        while let Some(answer) = self.next().await {
            all.push(answer?);
        }
        Ok(all)
    }

    /// How the call ended, once it has.
    pub fn summary(&self) -> Option<&CallSummary> {
        self.summary.as_ref()
    }

    fn end(&mut self, error: Error) -> Poll<Option<Result<Answer, Error>>> {
        self.ended = true;
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for Answers {
    type Item = Result<Answer, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match self.parts.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(CallResponse { part: Some(Part::Answer(answer)) }))) => {
                let CallAnswer { socket_id, node, arguments, attachments } = answer;
                Poll::Ready(Some(Ok(Answer { socket_id, node, arguments, attachments })))
            }
            Poll::Ready(Some(Ok(CallResponse { part: Some(Part::Summary(summary)) }))) => {
                self.summary = Some(summary);
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(status))) => self.end(status.into()),
            Poll::Ready(_) => self.end(Error::protocol("the call ended without a summary")),
            Poll::Pending if self.late.as_mut().poll(context).is_ready() => {
                self.end(Error::DeadlineExceeded("the server did not end the call in time".into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
