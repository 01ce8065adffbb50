//! Compressed messages, each by itself: one compressor and one decompressor serve all clients of a thread.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::{Fault, frame::frame_header, header::Opcode};

/// What ends every flushed DEFLATE stream: it does not travel.
///
/// Source: RFC 7692 section 7.2.1.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Bytes of an inflated message for which memory is kept between two messages.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// What the first bytes of a message are given room for.
const FIRST_BYTES: usize = 4 * 1024;

/// Inflates the messages of all clients of a thread, one at a time. Unused it owns no memory.
#[derive(Debug, Default)]
pub struct Inflater {
    state: Option<Box<Decompress>>,
    message: Vec<u8>,
}

impl Inflater {
    /// Has no memory yet.
    pub const fn new() -> Self {
        Self { state: None, message: Vec::new() }
    }

    #[cfg(test)]
    pub(crate) fn kept_bytes(&self) -> usize {
        self.message.capacity()
    }

    /// The message that `payload` was compressed from, of at most `bytes_max` bytes.
    ///
    /// Memory grows with what comes out, up to the limit: a few bytes that stand for a gigabyte are given up early.
    ///
    /// # Errors
    /// [`Fault::TooBig`], [`Fault::NotDeflate`].
    ///
    /// Source: RFC 7692 section 7.2.2.
    pub(crate) fn inflate(&mut self, payload: &[u8], bytes_max: usize) -> Result<&[u8], Fault> {
        let state = self.state.get_or_insert_with(|| Box::new(Decompress::new(false)));
        state.reset(false);
        self.message.clear();
        self.message.shrink_to(KEPT_BYTES_MAX);
        for part in [payload, &TAIL] {
            feed(state, part, &mut self.message, bytes_max)?;
        }
        Ok(&self.message)
    }
}

fn feed(state: &mut Decompress, mut part: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<(), Fault> {
    loop {
        if out.len() == out.capacity() {
            let more = out.len().max(FIRST_BYTES);
            // One byte more than allowed shows that there are more.
            out.reserve_exact(more.min(bytes_max.saturating_add(1) - out.len()));
        }
        let (taken, given) = (state.total_in(), state.total_out());
        let status = state.decompress_vec(part, out, FlushDecompress::Sync).map_err(|_| Fault::NotDeflate)?;
        let taken = usize::try_from(state.total_in() - taken).unwrap_or(usize::MAX);
        part = part.get(taken..).unwrap_or_default();
        if out.len() > bytes_max {
            return Err(Fault::TooBig);
        }
        let is_stuck = taken == 0 && state.total_out() == given;
        match status {
            // A block that says it is the last; others may follow it all the same (section 7.2.3.4).
            Status::StreamEnd => state.reset(false),
            _ if part.is_empty() && out.len() < out.capacity() => return Ok(()),
            _ if is_stuck && out.len() < out.capacity() => return Err(Fault::NotDeflate),
            _ => {}
        }
        if part.is_empty() && status == Status::StreamEnd {
            return Ok(());
        }
    }
}

/// Compresses messages to all clients of a thread, one at a time. Unused it owns no memory.
#[derive(Debug, Default)]
pub struct Deflater {
    state: Option<Box<Compress>>,
    payload: Vec<u8>,
}

impl Deflater {
    /// `frames`, whole messages of the server, with the payload of each compressed that has at least `bytes_min`
    /// bytes and gets shorter by it.
    ///
    /// Source: RFC 7692 section 7.2.1.
    pub fn deflate(&mut self, frames: &[u8], bytes_min: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(frames.len() / 2);
        let mut rest = frames;
        while let Some((first, header_bytes, payload_bytes)) = read_header(rest) {
            let (frame, behind) = rest.split_at_checked(header_bytes + payload_bytes).unwrap_or((rest, &[]));
            let payload = frame.get(header_bytes..).unwrap_or_default();
            let compressed = match Opcode::from_bits(first & 0x0f) {
                Some(opcode @ (Opcode::Text | Opcode::Binary)) => {
                    self.compressed(payload, bytes_min).map(|compressed| (opcode, compressed))
                }
                _ => None,
            };
            match compressed {
                Some((opcode, compressed)) => {
                    let header = frame_header(opcode, compressed.len()).of_compressed();
                    out.extend_from_slice(header.as_bytes());
                    out.extend_from_slice(compressed);
                }
                None => out.extend_from_slice(frame),
            }
            rest = behind;
        }
        out
    }

    /// `payload` compressed, if it is worth it.
    fn compressed(&mut self, payload: &[u8], bytes_min: usize) -> Option<&[u8]> {
        if payload.len() < bytes_min.max(1) {
            return None;
        }
        let state = self.state.get_or_insert_with(|| Box::new(Compress::new(Compression::default(), false)));
        state.reset();
        self.payload.clear();
        self.payload.shrink_to(KEPT_BYTES_MAX);
        // More than the worst case of any input: one call is enough.
        self.payload.reserve(payload.len() + payload.len() / 8 + 64);
        let status = state.compress_vec(payload, &mut self.payload, FlushCompress::Sync);
        let is_whole = matches!(status, Ok(Status::Ok)) && state.total_in() == payload.len() as u64;
        let compressed = self.payload.strip_suffix(&TAIL).filter(|_| is_whole)?;
        (compressed.len() < payload.len()).then_some(compressed)
    }
}

/// The first byte of a server's frame, and the lengths of its header and of its payload.
fn read_header(frame: &[u8]) -> Option<(u8, usize, usize)> {
    let wide = |digits: &[u8]| digits.iter().fold(0_usize, |number, digit| number << 8 | usize::from(*digit));
    let (header_bytes, payload_bytes) = match frame.get(1)? {
        126 => (4, wide(frame.get(2..4)?)),
        127 => (10, wide(frame.get(2..10)?)),
        length => (2, usize::from(*length)),
    };
    Some((*frame.first()?, header_bytes, payload_bytes))
}
