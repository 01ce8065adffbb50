//! Bytes read as a program: what to do next, and with what. A program that ends early does nothing more.

/// What is left of the program.
pub(crate) struct Program<'a>(&'a [u8]);

impl<'a> Program<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> Option<usize> {
        self.byte().map(|byte| usize::from(byte) % end.max(1))
    }

    /// As many bytes as the next byte says.
    pub(crate) fn piece(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        let (piece, rest) = self.0.split_at(usize::from(length).min(self.0.len()));
        self.0 = rest;
        Some(piece)
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// `bytes` without what is not UTF-8.
pub(crate) fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
