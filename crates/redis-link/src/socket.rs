//! A stream with what waits to be written and what has been read of a frame.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::LinkFault;
use crate::resp::{self, Frame, Value};
use crate::stream::Stream;
use crate::target::Endpoint;

/// Room for one read, in bytes. Messages that wait to be looked at keep a buffer of about this size each.
const READ_BYTES: usize = 64 * 1024;
/// With less room than this a new buffer is taken before reading.
const READ_BYTES_MIN: usize = 8 * 1024;
/// An empty write buffer larger than this is given back.
const WRITE_BYTES_KEPT: usize = 256 * 1024;

/// One connection, logged in or about to be.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    /// Where the other end is.
    pub(crate) endpoint: Endpoint,
    /// Commands; the first `written` bytes are gone.
    out: Vec<u8>,
    written: usize,
    read: BytesMut,
}

/// What arrived.
#[derive(Debug)]
pub(crate) enum Incoming {
    Message { channel: Bytes, payload: Bytes },
    Value(Value),
}

impl Socket {
    pub(crate) fn new(stream: Stream, endpoint: Endpoint) -> Self {
        Self { stream, endpoint, out: Vec::new(), written: 0, read: BytesMut::new() }
    }

    /// Where commands are appended; they leave with the next [`poll_flush`](Self::poll_flush).
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Bytes that wait to be written.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.out.len() - self.written
    }

    /// Writes what the kernel takes. Whatever is left is written when this is polled again.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<(), LinkFault> {
        match self.poll_write_all(cx) {
            Poll::Ready(Err(error)) => Err(self.lost(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while let Some(rest) = self.out.get(self.written..)
            && !rest.is_empty()
        {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.written = 0;
        self.out.clear();
        if self.out.capacity() > WRITE_BYTES_KEPT {
            self.out = Vec::new();
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Reads once. Ready means that there was something, and may be more.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkFault>> {
        if self.read.capacity() - self.read.len() < READ_BYTES_MIN {
            self.read.reserve(READ_BYTES);
        }
        let filled = ready!(pin!(self.stream.read_buf(&mut self.read)).poll(cx));
        Poll::Ready(match filled {
            Ok(0) => Err(self.lost(io::Error::new(io::ErrorKind::UnexpectedEof, "Redis closed it"))),
            Ok(_count) => Ok(()),
            Err(error) => Err(self.lost(error)),
        })
    }

    /// The next whole frame of what was read.
    ///
    /// # Errors
    /// [`LinkFault::Protocol`].
    pub(crate) fn next_frame(&mut self) -> Result<Option<Incoming>, LinkFault> {
        let (frame, length) = match resp::parse(&self.read) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Ok(None),
            Err(fault) => return Err(self.strange(fault.to_string())),
        };
        Ok(Some(match frame {
            Frame::Message { channel, payload } => {
                let bytes = self.read.split_to(length).freeze();
                Incoming::Message { channel: bytes.slice(channel), payload: bytes.slice(payload) }
            }
            Frame::Value(value) => {
                self.read.advance(length);
                Incoming::Value(value)
            }
        }))
    }

    /// Sends one command and awaits its reply; for the beginning of a connection, when nothing else is on the way.
    pub(crate) async fn ask(&mut self, parts: &[&[u8]]) -> Result<Value, LinkFault> {
        resp::command(&mut self.out, parts);
        poll_fn(|cx| {
            self.poll_flush(cx)?;
            loop {
                match self.next_frame()? {
                    // Pushes may come at any time; none of them is an answer.
                    Some(Incoming::Message { .. } | Incoming::Value(Value::Push(_))) => {}
                    Some(Incoming::Value(value)) => return Poll::Ready(Ok(value)),
                    None => ready!(self.poll_fill(cx))?,
                }
            }
        })
        .await
    }

    /// The other end did something that Redis does not do.
    pub(crate) fn strange(&self, problem: impl Into<String>) -> LinkFault {
        LinkFault::Protocol { address: self.endpoint.to_string(), problem: problem.into() }
    }

    fn lost(&self, error: io::Error) -> LinkFault {
        LinkFault::Lost { address: self.endpoint.to_string(), cause: Arc::new(error) }
    }
}
