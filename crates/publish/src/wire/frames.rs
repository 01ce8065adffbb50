//! gRPC messages out of the DATA of an HTTP/2 stream.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use h2::RecvStream;
use tonic::Status;

/// Reads messages as they come. What has been read and not been taken is at most one message and one DATA frame.
pub(crate) struct Frames {
    body: RecvStream,
    data: Bytes,
    bytes_max: usize,
}

impl Frames {
    /// Messages of at most `bytes_max` bytes out of `body`.
    pub(crate) fn new(body: RecvStream, bytes_max: usize) -> Self {
        Self { body, data: Bytes::new(), bytes_max }
    }

    /// The bytes of the next message, prefix included, if all of it is there.
    fn next_bytes(&self) -> Result<Option<usize>, Status> {
        // Source: "gRPC over HTTP2", Length-Prefixed-Message. The words are those of the other rpcs.
        let Some(&[flag, a, b, c, d]) = self.data.first_chunk() else { return Ok(None) };
        match flag {
            0 => {}
            1 => {
                let text = "protocol error: received message with compressed-flag but no grpc-encoding was specified";
                return Err(Status::internal(text));
            }
            _ => {
                let text = "protocol error: received message with invalid compression flag";
                return Err(Status::internal(format!("{text}: {flag} (valid flags are 0 and 1)")));
            }
        }
        let bytes = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if bytes > self.bytes_max {
            return Err(Status::out_of_range(format!(
                "Error, decoded message length too large: found {bytes} bytes, the limit is: {} bytes",
                self.bytes_max
            )));
        }
        Ok(Some(PREFIX_BYTES + bytes).filter(|bytes| *bytes <= self.data.len()))
    }

    /// The bytes of messages that were read and not taken.
    pub(crate) fn waiting(&self) -> usize {
        self.data.len()
    }

    /// Gives the next message to `read` if all of it is there.
    ///
    /// # Errors
    /// The sender does not keep to the protocol or a limit: nothing more can be read.
    pub(crate) fn read<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Status> {
        let Some(bytes) = self.next_bytes()? else { return Ok(None) };
        let read = read(self.data.get(PREFIX_BYTES..bytes).unwrap_or_default());
        self.data.advance(bytes);
        Ok(Some(read))
    }

    /// Waits for more of the stream; false at its end.
    ///
    /// # Errors
    /// The stream is broken, or ends within a message.
    pub(crate) fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Status>> {
        let more = match ready!(self.body.poll_data(context)) {
            Some(Ok(more)) => more,
            Some(Err(error)) => return Poll::Ready(Err(Status::cancelled(error.to_string()))),
            None if self.data.is_empty() => return Poll::Ready(Ok(false)),
            None => return Poll::Ready(Err(Status::internal("Unexpected EOF decoding stream."))),
        };
        // Fails only for a stream that is gone, which says so next.
        self.body.flow_control().release_capacity(more.len()).ok();
        if self.data.is_empty() {
            self.data = more;
        } else {
            let left = std::mem::take(&mut self.data);
            let mut joined = left.try_into_mut().unwrap_or_else(|left| BytesMut::from(left.as_ref()));
            joined.extend_from_slice(&more);
            self.data = joined.freeze();
        }
        Poll::Ready(Ok(true))
    }

    /// As [`Self::poll_more`].
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn more(&mut self) -> Result<bool, Status> {
        poll_fn(|context| self.poll_more(context)).await
    }

    /// The one message of a call that has one, once the sender has said all.
    ///
    /// # Errors
    /// There is none, or as for [`Self::read`].
    pub(crate) async fn only<T>(mut self, read: impl FnOnce(&[u8]) -> T) -> Result<T, Status> {
        while self.next_bytes()?.is_none() {
            if !self.more().await? {
                return Err(Status::internal("Missing request message."));
            }
        }
        // Whoever is answered before that would be told to send no more. What comes behind the message is not looked at.
        while !self.body.is_end_stream() {
            match self.body.data().await {
                Some(Ok(more)) => drop(self.body.flow_control().release_capacity(more.len())),
                Some(Err(error)) => return Err(Status::cancelled(error.to_string())),
                None => break,
            }
        }
        self.read(read)?.ok_or_else(|| Status::internal("Missing request message."))
    }
}

const PREFIX_BYTES: usize = 5;
