//! The messages of one stream as they come, each checked as it is read.

use std::task::Poll;

use tonic::Status;

use crate::auth::Caller;
use crate::dispatch::{Dispatch, ReportLevel};
use crate::guard::Guarded;
use crate::publishing::Checked;
use crate::wire::{self, Frames, MessageRef};

/// A message that was read.
pub(super) struct Streamed {
    pub(super) sequence: u64,
    /// What it holds in memory while it is on its way, rooms left aside: their number has its own limit.
    pub(super) bytes: usize,
    /// What may be published, or the answer that says why not.
    pub(super) checked: Result<Checked, Status>,
}

impl Streamed {
    /// Whether it may be handed over together with others: it has no name, and no report is asked for. One that is
    /// only to be answered may.
    pub(super) fn is_plain(&self) -> bool {
        match &self.checked {
            Ok(Checked { key, level, .. }) => key.is_none() && *level == ReportLevel::Accepted,
            Err(_) => true,
        }
    }
}

/// Reads the messages of one stream.
pub(super) struct Requests {
    frames: Frames,
    /// What was read behind messages that were handed over as one, and did not belong to them.
    ahead: Option<Streamed>,
    /// The end that was met there.
    end: Option<Result<(), Status>>,
}

impl Requests {
    pub(super) fn new(frames: Frames) -> Self {
        Self { frames, ahead: None, end: None }
    }

    /// Waits for the next message; `None` at the end. Dropped before it is ready, it has taken nothing.
    ///
    /// # Errors
    /// The stream cannot be read on, or the sender's credentials are no longer good.
    pub(super) async fn next<D: Dispatch>(
        &mut self,
        service: &Guarded<D>,
        caller: Option<&Caller>,
    ) -> Result<Option<Streamed>, Status> {
        loop {
            if let Some(ahead) = self.ahead.take() {
                return Ok(Some(ahead));
            }
            if let Some(end) = self.end.take() {
                return end.map(|()| None);
            }
            if let Some(read) = self.read(service, caller)? {
                // A message that comes after its sender's key was taken back is not published.
                caller.map_or(Ok(()), Caller::still_good)?;
                return Ok(Some(read));
            }
            if !self.frames.more().await? {
                return Ok(None);
            }
        }
    }

    /// The next message if it is there and plain. What is there and not plain is left for [`Self::next`].
    pub(super) async fn plain<D: Dispatch>(
        &mut self,
        service: &Guarded<D>,
        caller: Option<&Caller>,
    ) -> Option<Streamed> {
        while self.ahead.is_none() && self.end.is_none() {
            match self.read(service, caller) {
                Ok(Some(read)) if read.is_plain() => return Some(read),
                Ok(Some(other)) => self.ahead = Some(other),
                Err(status) => self.end = Some(Err(status)),
                Ok(None) => match futures_util::poll!(std::pin::pin!(self.frames.more())) {
                    Poll::Pending => return None,
                    Poll::Ready(Ok(true)) => {}
                    Poll::Ready(ended) => self.end = Some(ended.map(drop)),
                },
            }
        }
        None
    }

    /// The next message if all of it is there.
    fn read<D: Dispatch>(
        &mut self,
        service: &Guarded<D>,
        caller: Option<&Caller>,
    ) -> Result<Option<Streamed>, Status> {
        let read = self.frames.read(|message| {
            wire::publish_stream_request(message, |request| Streamed {
                sequence: request.sequence,
                bytes: request.message.as_ref().map_or(0, bytes),
                checked: service.check_streamed(caller, &request),
            })
        })?;
        read.transpose()
    }
}

fn bytes(message: &MessageRef<'_>) -> usize {
    message.arguments.len() + message.attachments.iter().map(|part| part.len()).sum::<usize>()
}
