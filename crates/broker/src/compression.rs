//! Compressed messages: each compressed once, by whichever shard needs it first, for all clients of a dialect.

use websocket::{Deflate, Deflater};

use crate::{dialect::Dialect, encoded::Encoded};

/// What compresses for all clients of a shard.
#[derive(Debug)]
pub(crate) struct Compressor {
    deflater: Deflater,
    /// Shorter messages are left alone, in bytes.
    bytes_min: usize,
}

/// The form in which one client gets its messages over WebSocket.
pub(crate) struct Form<'a> {
    dialect: Dialect,
    /// If its messages may be compressed: what was agreed on, and what does it.
    deflate: Option<(Deflate, &'a mut Compressor)>,
}

impl Compressor {
    pub(crate) fn new(bytes_min: u32) -> Self {
        Self { deflater: Deflater::default(), bytes_min: usize::try_from(bytes_min).unwrap_or(usize::MAX) }
    }

    /// Whether `frames`, whole messages, may be compressed for a client with which `agreed` holds.
    ///
    /// Our compressor looks back as far as DEFLATE can. A message that is longer than a client's window goes to it as
    /// it is: so all that get it compressed get the same.
    pub(crate) fn takes(&self, frames: &[u8], agreed: Deflate) -> bool {
        frames.len() >= self.bytes_min && frames.len() <= agreed.window_bytes()
    }

    pub(crate) fn compress(&mut self, frames: &[u8]) -> Vec<u8> {
        self.deflater.deflate(frames, self.bytes_min)
    }
}

impl<'a> Form<'a> {
    #[inline]
    pub(crate) fn new(dialect: Dialect, deflate: Option<Deflate>, compressor: &'a mut Compressor) -> Self {
        Self { dialect, deflate: deflate.map(|agreed| (agreed, compressor)) }
    }

    /// The bytes of a message for this client. They are the same each time.
    #[inline]
    pub(crate) fn frames<'m>(&mut self, message: &'m Encoded) -> &'m [u8] {
        match &mut self.deflate {
            None => message.frames(self.dialect),
            Some((agreed, compressor)) => message.deflated(self.dialect, *agreed, compressor),
        }
    }
}
