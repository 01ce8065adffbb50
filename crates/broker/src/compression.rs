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
///
/// Two types and no flag: that a client may have compression costs those without it one branch per turn.
pub(crate) trait Form {
    /// The bytes of a message for this client. They are the same each time.
    fn frames<'m>(&mut self, message: &'m Encoded) -> &'m [u8];

    /// What the bytes depend on.
    fn name(&self) -> FormName;
}

/// Two forms of the same name make the same bytes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FormName(Dialect, Option<Deflate>);

/// Nothing is compressed.
#[derive(Clone, Copy)]
pub(crate) struct Plain(pub(crate) Dialect);

/// Messages may be compressed: what was agreed on, and what does it.
pub(crate) struct Deflated<'a>(pub(crate) Dialect, pub(crate) Deflate, pub(crate) &'a mut Compressor);

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

impl Form for Plain {
    #[inline]
    fn frames<'m>(&mut self, message: &'m Encoded) -> &'m [u8] {
        message.frames(self.0)
    }

    #[inline]
    fn name(&self) -> FormName {
        FormName(self.0, None)
    }
}

impl Form for Deflated<'_> {
    fn frames<'m>(&mut self, message: &'m Encoded) -> &'m [u8] {
        let Self(dialect, agreed, compressor) = self;
        message.deflated(*dialect, *agreed, compressor)
    }

    fn name(&self) -> FormName {
        FormName(self.0, Some(self.1))
    }
}
