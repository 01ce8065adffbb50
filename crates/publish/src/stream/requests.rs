//! The messages of one stream as they come, each checked as it is read.

use std::task::Poll;

use tonic::Status;

use super::work::Run;
use crate::auth::Caller;
use crate::dispatch::{Dispatch, ReportLevel};
use crate::guard::Guarded;
use crate::publishing::Checked;
use crate::texts::Texts;
use crate::wire::{self, Frames, MessageRef, PublishRef};

/// A message that was read.
pub(super) struct Streamed {
    pub(super) sequence: u64,
    /// What it holds in memory while it is on its way, rooms left aside: their number has its own limit.
    pub(super) bytes: usize,
    /// What may be published, or the answer that says why not.
    pub(super) checked: Result<Checked, Status>,
}

impl Streamed {
    #[inline]
    fn new<D: Dispatch>(
        service: &Guarded<D>,
        caller: Option<&Caller>,
        request: &PublishRef<'_>,
        texts: &mut Texts,
    ) -> Self {
        Self {
            sequence: request.sequence,
            bytes: request.message.as_ref().map_or(0, bytes),
            checked: service.check_streamed(caller, request, texts),
        }
    }

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
    /// Of the messages in `frames`.
    texts: Texts,
    /// What was read behind messages that were handed over as one, and did not belong to them.
    ahead: Option<Streamed>,
    /// The end that was met there.
    end: Option<Result<(), Status>>,
}

impl Requests {
    pub(super) fn new(frames: Frames) -> Self {
        Self { frames, texts: Texts::default(), ahead: None, end: None }
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
            if let Some(read) = self.read(|request, texts| Streamed::new(service, caller, request, texts))? {
                // A message that comes after its sender's key was taken back is not published.
                caller.map_or(Ok(()), Caller::still_good)?;
                return Ok(Some(read));
            }
            if !self.frames.more().await? {
                return Ok(None);
            }
            self.texts = Texts::of(self.frames.waiting());
        }
    }

    /// Adds the plain messages that are there to `run`, up to as many and about as many bytes. What is there and not
    /// plain is left for [`Self::next`].
    pub(super) async fn fill<D: Dispatch>(
        &mut self,
        service: &Guarded<D>,
        caller: Option<&Caller>,
        run: &mut Run,
        (messages_max, bytes_max): (usize, usize),
    ) {
        while self.ahead.is_none()
            && self.end.is_none()
            && run.len() < messages_max
            && run.bytes() < bytes_max
        {
            // Into its place at once: what is read is large, and would be copied at each step of the way.
            let read = self.read(|request, texts| {
                let request = Streamed::new(service, caller, request, texts);
                if request.is_plain() {
                    run.push(request);
                    return None;
                }
                Some(request)
            });
            match read {
                Ok(Some(other)) => self.ahead = other,
                Err(status) => self.end = Some(Err(status)),
                Ok(None) => {
                    let more = futures_util::poll!(std::pin::pin!(self.frames.more()));
                    match more {
                        Poll::Pending => return,
                        Poll::Ready(Ok(true)) => self.texts = Texts::of(self.frames.waiting()),
                        Poll::Ready(ended) => self.end = Some(ended.map(drop)),
                    }
                }
            }
        }
    }

    /// Gives the next message to `read` if all of it is there.
    fn read<T>(&mut self, read: impl FnOnce(&PublishRef<'_>, &mut Texts) -> T) -> Result<Option<T>, Status> {
        let Self { frames, texts, .. } = self;
        let read =
            frames.read(|message| wire::publish_stream_request(message, |request| read(request, texts)))?;
        read.transpose()
    }
}

fn bytes(message: &MessageRef<'_>) -> usize {
    message.arguments.len() + message.attachments.iter().map(|part| part.len()).sum::<usize>()
}
