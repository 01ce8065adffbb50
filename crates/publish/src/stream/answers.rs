//! The answers of one stream on their way to the caller.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};
use h2::SendStream;
use tonic::codegen::http::HeaderMap;

/// The caller has gone, or its connection has.
pub(crate) struct Gone;

/// Gathers answers, and sends as many in one frame as there are.
pub(super) struct Answers {
    stream: SendStream<Bytes>,
    encoded: BytesMut,
    /// Answers in `encoded`.
    waiting: usize,
}

/// What an answer without a report takes, roughly.
const ANSWER_BYTES: usize = 48;

impl Answers {
    pub(super) fn new(stream: SendStream<Bytes>) -> Self {
        Self { stream, encoded: BytesMut::new(), waiting: 0 }
    }

    /// How many answers HTTP/2 has not taken yet.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Where `answers` more are to be written.
    pub(super) fn encoded(&mut self, answers: usize) -> &mut BytesMut {
        self.waiting += answers;
        self.encoded.reserve(answers * ANSWER_BYTES);
        &mut self.encoded
    }

    /// Adds answers that are written already.
    pub(super) fn push(&mut self, encoded: &BytesMut, answers: usize) {
        self.waiting += answers;
        self.encoded.extend_from_slice(encoded);
    }

    /// Hands all of them to HTTP/2, as fast as the caller takes them; without any, waits for the caller to give up.
    /// Dropped before it is ready, it has lost nothing.
    pub(super) async fn send(&mut self) -> Result<(), Gone> {
        if self.encoded.is_empty() {
            // An error means that the connection has ended.
            poll_fn(|context| self.stream.poll_reset(context)).await.ok();
            return Err(Gone);
        }
        while !self.encoded.is_empty() {
            let capacity = capacity(&mut self.stream, self.encoded.len()).await.map_err(|_| Gone)?;
            let part = self.encoded.split_to(capacity).freeze();
            self.stream.send_data(part, false).map_err(|_| Gone)?;
        }
        self.waiting = 0;
        Ok(())
    }

    /// Ends the stream.
    pub(super) fn end(mut self, trailers: HeaderMap) -> Result<(), h2::Error> {
        self.stream.send_trailers(trailers)
    }
}

/// Sends all of `data`, as fast as it is taken.
pub(crate) async fn send_all(stream: &mut SendStream<Bytes>, data: &mut Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        let capacity = capacity(stream, data.len()).await?;
        stream.send_data(data.split_to(capacity), false)?;
    }
    Ok(())
}

/// Waits until some of `wanted` bytes may be sent, and says how many: from 1 to `wanted`.
async fn capacity(stream: &mut SendStream<Bytes>, wanted: usize) -> Result<usize, h2::Error> {
    stream.reserve_capacity(wanted);
    let mut capacity = stream.capacity();
    while capacity == 0 {
        capacity = match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(capacity) => capacity?,
            None => return Err(h2::Reason::CANCEL.into()),
        };
    }
    Ok(capacity.min(wanted))
}
