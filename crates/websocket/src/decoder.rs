//! Messages out of the bytes of a client, wherever the reads happen to split them.

use std::borrow::Cow;

use crate::{
    Fault, Inflater, Message, Opcode,
    header::{ClientHeader, HEADER_BYTES_MAX},
    mask::unmask,
};

/// What [`Decoder::decode`] made of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// Bytes of the input that are done with; at least 1 unless there were none.
    pub consumed: usize,
    /// The message that ended with them, if one did.
    pub message: Option<Message<'a>>,
}

/// Decodes the frames of one client.
///
/// ```text
///  idle ────────── whole frame ──────────► idle
///  idle ────────── whole fragment ───────► mid-message ── last fragment ──► idle
///  idle, mid-message ── input ends ──────► mid-frame
///  mid-frame ───── fragment complete ────► mid-message
///  mid-frame ───── message complete ─────► idle
///  mid-frame ───── control complete ─────► idle or mid-message, where it came from
/// ```
///
/// Most connections are idle at most times, so an idle decoder is one empty pointer.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
    /// Whether compressed messages were agreed on.
    deflate: bool,
}

/// What has arrived of a frame or a fragmented message.
#[derive(Debug, Default)]
struct Partial {
    /// Header bytes of a frame whose header is not complete.
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    frame: Option<PartialFrame>,
    /// Unmasked payload of a control frame that is not complete.
    control: Vec<u8>,
    /// The message being reassembled, from its first fragment on.
    message: Option<DataKind>,
    is_compressed: bool,
    /// Its unmasked payload, that of an incomplete last frame included.
    payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct PartialFrame {
    header: ClientHeader,
    received: usize,
}

#[derive(Clone, Copy, Debug)]
enum DataKind {
    Text,
    Binary,
}

impl Decoder {
    /// A decoder at the start of a connection. Does not allocate.
    pub const fn new() -> Self {
        Self { partial: None, deflate: false }
    }

    /// The same for a client with which [`Deflate`](crate::Deflate) was agreed on.
    pub const fn with_deflate() -> Self {
        Self { partial: None, deflate: true }
    }

    /// Whether no part of a frame or of a fragmented message is held; then the decoder holds no heap either.
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Decodes at most one message from the front of `input`, which is unmasked in place.
    ///
    /// To be called while input is left. A frame that is whole, and no fragment, is borrowed from `input`.
    /// When `input` ends inside a frame the rest is kept in a buffer of the decoder's own, which grows with
    /// the bytes that arrive and never by what a header declares. Control frames may come between the fragments of a message.
    /// `message_bytes_max` is for a whole message, all its fragments together; exactly that many are allowed. A compressed
    /// message is kept as it came until it is whole, and is inflated by `inflater`, which all clients share.
    ///
    /// # Errors
    /// [`Fault::TooBig`] as soon as a header declares too much, or too much comes out of a compressed message;
    /// [`Fault::NotUtf8`] and [`Fault::NotDeflate`] at the end of a message, [`Fault::Protocol`] with the rule broken. After an error the decoder must not be used again.
    ///
    /// Source: RFC 6455 sections 5 and 8.1.
    pub fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        message_bytes_max: usize,
        inflater: &'a mut Inflater,
    ) -> Result<Step<'a>, Fault> {
        if input.is_empty() {
            return Ok(Step { consumed: 0, message: None });
        }
        let held = self.partial.as_deref();
        if held.is_none_or(Partial::is_between_frames) {
            let Some(header) = ClientHeader::parse(input, self.deflate)? else {
                return self.decode_partial(input, message_bytes_max, inflater);
            };
            check_order(&header, held.map_or(Progress::default(), Partial::progress), message_bytes_max)?;
            let is_whole_message =
                header.opcode.is_control() || (header.is_final && header.opcode != Opcode::Continuation);
            let is_here = input.len() - header.len >= header.payload_len;
            if is_whole_message && is_here {
                let (_, payload) = input.split_at_mut(header.len);
                let (payload, _) = payload.split_at_mut(header.payload_len);
                unmask(payload, header.mask, 0);
                let payload = match header.is_compressed {
                    true => inflater.inflate(payload, message_bytes_max)?,
                    false => payload,
                };
                let message = Message::of(header.opcode, Cow::Borrowed(payload))?;
                return Ok(Step { consumed: header.len + header.payload_len, message: Some(message) });
            }
        }
        self.decode_partial(input, message_bytes_max, inflater)
    }

    /// Takes what belongs to one frame from `input` into the decoder's own buffers.
    fn decode_partial<'a>(
        &mut self,
        input: &mut [u8],
        message_bytes_max: usize,
        inflater: &'a mut Inflater,
    ) -> Result<Step<'a>, Fault> {
        let partial = self.partial.get_or_insert_default();
        let (frame, header_bytes) = match partial.frame {
            Some(frame) => (frame, 0),
            None => {
                let (header, header_bytes) = partial.take_header(input, self.deflate)?;
                let Some(header) = header else {
                    return Ok(Step { consumed: header_bytes, message: None });
                };
                check_order(&header, partial.progress(), message_bytes_max)?;
                partial.begin(header);
                (PartialFrame { header, received: 0 }, header_bytes)
            }
        };
        let rest = input.get_mut(header_bytes..).unwrap_or_default();
        let wanted = frame.header.payload_len - frame.received;
        let payload_bytes = wanted.min(rest.len());
        let (payload, _) = rest.split_at_mut(payload_bytes);
        unmask(payload, frame.header.mask, frame.received);
        partial.append(frame.header.opcode, payload);

        let message = if payload_bytes == wanted {
            let ended = partial.end_frame(frame.header)?;
            if partial.is_between_frames() && partial.message.is_none() {
                self.partial = None;
            }
            ended.map(|ended| ended.into_message(message_bytes_max, inflater)).transpose()?
        } else {
            partial.frame = Some(PartialFrame { received: frame.received + payload_bytes, ..frame });
            None
        };
        Ok(Step { consumed: header_bytes + payload_bytes, message })
    }
}

impl Partial {
    fn is_between_frames(&self) -> bool {
        self.header_len == 0 && self.frame.is_none()
    }

    /// What is here of the message that is being reassembled. Between frames only.
    fn progress(&self) -> Progress {
        Progress {
            in_message: self.message.is_some(),
            is_compressed: self.is_compressed,
            bytes: self.payload.len(),
        }
    }

    /// Completes the header with bytes from `input`, and says how many those are: all, if it is still incomplete.
    fn take_header(&mut self, input: &[u8], deflate: bool) -> Result<(Option<ClientHeader>, usize), Fault> {
        let held = self.header_len;
        let room = self.header.get_mut(held..).unwrap_or_default();
        let fed = room.len().min(input.len());
        for (to, from) in room.iter_mut().zip(input) {
            *to = *from;
        }
        let known = self.header.get(..held + fed).unwrap_or_default();
        Ok(match ClientHeader::parse(known, deflate)? {
            Some(header) => {
                self.header_len = 0;
                (Some(header), header.len - held)
            }
            None => {
                self.header_len = held + fed;
                (None, fed)
            }
        })
    }

    fn begin(&mut self, header: ClientHeader) {
        let kind = match header.opcode {
            Opcode::Text => DataKind::Text,
            Opcode::Binary => DataKind::Binary,
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => return,
        };
        (self.message, self.is_compressed) = (Some(kind), header.is_compressed);
    }

    fn append(&mut self, opcode: Opcode, payload: &[u8]) {
        if opcode.is_control() { &mut self.control } else { &mut self.payload }.extend_from_slice(payload);
    }

    fn end_frame(&mut self, header: ClientHeader) -> Result<Option<Ended>, Fault> {
        self.frame = None;
        if header.opcode.is_control() {
            let payload = std::mem::take(&mut self.control);
            return Ok(Some(Ended { opcode: header.opcode, payload, is_compressed: false }));
        }
        if !header.is_final {
            return Ok(None);
        }
        let opcode = match self.message.take() {
            Some(DataKind::Text) => Opcode::Text,
            Some(DataKind::Binary) => Opcode::Binary,
            None => return Err(Fault::Protocol(CONTINUES_NOTHING)),
        };
        let payload = std::mem::take(&mut self.payload);
        Ok(Some(Ended { opcode, payload, is_compressed: std::mem::take(&mut self.is_compressed) }))
    }
}

/// A message or control frame that has come in pieces, whole and unmasked.
struct Ended {
    opcode: Opcode,
    payload: Vec<u8>,
    is_compressed: bool,
}

impl Ended {
    fn into_message(self, message_bytes_max: usize, inflater: &mut Inflater) -> Result<Message<'_>, Fault> {
        let payload = match self.is_compressed {
            true => Cow::Borrowed(inflater.inflate(&self.payload, message_bytes_max)?),
            false => Cow::Owned(self.payload),
        };
        Message::of(self.opcode, payload)
    }
}

/// What is here of the message that is being reassembled.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    in_message: bool,
    is_compressed: bool,
    bytes: usize,
}

const CONTINUES_NOTHING: &str = "continuation of no message";

/// Checks a header against the message that is being reassembled.
fn check_order(header: &ClientHeader, progress: Progress, message_bytes_max: usize) -> Result<(), Fault> {
    match header.opcode {
        Opcode::Close | Opcode::Ping | Opcode::Pong => return Ok(()),
        Opcode::Continuation if !progress.in_message => return Err(Fault::Protocol(CONTINUES_NOTHING)),
        Opcode::Text | Opcode::Binary if progress.in_message => {
            return Err(Fault::Protocol("new message inside a fragmented one"));
        }
        Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
    }
    // Few messages come near the limit: whether this one is compressed matters only then.
    if header.payload_len > message_bytes_max.saturating_sub(progress.bytes) {
        let is_compressed = header.is_compressed || progress.is_compressed;
        let bytes_max = compressed_bytes_max(message_bytes_max);
        if !is_compressed || header.payload_len > bytes_max.saturating_sub(progress.bytes) {
            return Err(Fault::TooBig);
        }
    }
    Ok(())
}

/// What a message of `message_bytes_max` bytes may come to when compression makes it longer, as it does with noise.
fn compressed_bytes_max(message_bytes_max: usize) -> usize {
    message_bytes_max.saturating_add(message_bytes_max / 8 + 64)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;
    use crate::{
        Deflater,
        peer::{client_frame, client_stream, compressed_frame, outgoing},
    };

    const LIMIT: usize = 1000;

    /// Feeds `reads` one after the other; the messages, the fault if one ended it, and the decoder.
    fn run<'a>(
        reads: impl IntoIterator<Item = &'a [u8]>,
        message_bytes_max: usize,
    ) -> (Vec<Message<'static>>, Option<Fault>, Decoder) {
        run_in(Decoder::new(), reads, message_bytes_max)
    }

    fn run_in<'a>(
        mut decoder: Decoder,
        reads: impl IntoIterator<Item = &'a [u8]>,
        message_bytes_max: usize,
    ) -> (Vec<Message<'static>>, Option<Fault>, Decoder) {
        let mut inflater = Inflater::new();
        let mut messages = Vec::new();
        for read in reads {
            let mut input = read.to_vec();
            let mut position = 0;
            while position < input.len() {
                match decoder.decode(&mut input[position..], message_bytes_max, &mut inflater) {
                    Ok(step) => {
                        assert!(step.consumed > 0, "no progress");
                        position += step.consumed;
                        messages.extend(step.message.map(into_owned));
                    }
                    Err(fault) => return (messages, Some(fault), decoder),
                }
            }
        }
        (messages, None, decoder)
    }

    fn into_owned(message: Message<'_>) -> Message<'static> {
        match message {
            Message::Text(text) => Message::Text(text.into_owned().into()),
            Message::Binary(bytes) => Message::Binary(bytes.into_owned().into()),
            Message::Ping(bytes) => Message::Ping(bytes.into_owned().into()),
            Message::Pong => Message::Pong,
            Message::Close(code) => Message::Close(code),
        }
    }

    /// `stream` gives `messages`, then `fault` if any, in one read and byte by byte.
    fn check(stream: &[u8], messages: &[Message<'_>], fault: Option<Fault>) {
        for reads in [vec![stream], stream.chunks(1).collect()] {
            let (decoded, ended, decoder) = run(reads, LIMIT);
            assert_eq!(decoded, messages, "{}", stream.escape_ascii());
            assert_eq!(ended, fault, "{}", stream.escape_ascii());
            assert!(fault.is_some() || decoder.is_idle());
        }
    }

    /// The same for a client with which compression was agreed on.
    fn check_deflate(stream: &[u8], messages: &[Message<'_>], fault: Option<Fault>) {
        for reads in [vec![stream], stream.chunks(1).collect()] {
            let (decoded, ended, decoder) = run_in(Decoder::with_deflate(), reads, LIMIT);
            assert_eq!(decoded, messages, "{}", stream.escape_ascii());
            assert_eq!(ended, fault, "{}", stream.escape_ascii());
            assert!(fault.is_some() || decoder.is_idle());
        }
    }

    fn text_message(text: &str) -> Message<'_> {
        Message::Text(text.into())
    }

    #[test]
    fn an_idle_decoder_is_small() {
        assert!(size_of::<Decoder>() <= 16);
    }

    #[test]
    fn no_input_leaves_the_decoder_idle() {
        let mut decoder = Decoder::new();
        assert_eq!(
            decoder.decode(&mut [], LIMIT, &mut Inflater::new()),
            Ok(Step { consumed: 0, message: None })
        );
        assert!(decoder.is_idle());
    }

    #[test]
    fn a_decoder_is_idle_only_between_messages() {
        let mut decoder = Decoder::new();
        let mut feed = |first, payload, kept: usize| {
            let mut input = client_frame(first, payload);
            input.truncate(input.len() - kept);
            decoder.decode(&mut input, LIMIT, &mut Inflater::new()).unwrap();
            decoder.is_idle()
        };
        assert!(feed(0x81, b"whole", 0));
        assert!(!feed(0x01, b"fragment", 0));
        assert!(!feed(0x89, b"ping", 0));
        assert!(feed(0x80, b"last", 0));
        assert!(!feed(0x81, b"cut", 1));
    }

    #[test]
    fn the_masked_hello_of_the_rfc_is_decoded() {
        // RFC 6455 section 5.7.
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        check(&hello, &[text_message("Hello")], None);
        let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        check(&pong, &[Message::Pong], None);
    }

    #[test]
    fn a_whole_frame_is_borrowed_from_the_read() {
        let mut input = client_frame(0x81, b"4hello");
        let mut inflater = Inflater::new();
        let step = Decoder::new().decode(&mut input, LIMIT, &mut inflater).unwrap();
        assert!(matches!(step.message, Some(Message::Text(Cow::Borrowed("4hello")))));
    }

    #[test]
    fn control_frames_come_between_fragments() {
        let stream = [
            client_frame(0x01, "4é".as_bytes()),
            client_frame(0x89, b"ping"),
            client_frame(0x00, b""),
            client_frame(0x8a, b""),
            client_frame(0x80, "€".as_bytes()),
            client_frame(0x82, b"\x00\xff"),
        ];
        let messages = [
            Message::Ping(b"ping".into()),
            Message::Pong,
            text_message("4é€"),
            Message::Binary([0, 255].as_slice().into()),
        ];
        check(&stream.concat(), &messages, None);
    }

    #[test]
    fn a_character_may_be_split_between_fragments() {
        let stream = [client_frame(0x01, b"\xe2\x82"), client_frame(0x80, b"\xac")].concat();
        check(&stream, &[text_message("€")], None);
        let stream = [client_frame(0x01, b"\xe2\x82"), client_frame(0x80, b"")].concat();
        check(&stream, &[], Some(Fault::NotUtf8));
    }

    #[test]
    fn messages_before_a_fault_are_delivered() {
        let stream =
            [client_frame(0x81, b"a"), client_frame(0x81, b"\xff"), client_frame(0x81, b"b")].concat();
        check(&stream, &[text_message("a")], Some(Fault::NotUtf8));
        // A header that breaks a rule; header.rs has them all.
        check(b"\x81\x01a", &[], Some(Fault::Protocol("frame of a client not masked")));
    }

    #[test]
    fn fragments_come_in_order() {
        check(&client_frame(0x80, b"a"), &[], Some(Fault::Protocol("continuation of no message")));
        let stream = [client_frame(0x01, b"a"), client_frame(0x80, b"b"), client_frame(0x00, b"c")].concat();
        check(&stream, &[text_message("ab")], Some(Fault::Protocol("continuation of no message")));
        for second in [0x01, 0x81, 0x02, 0x82] {
            let stream = [client_frame(0x01, b"a"), client_frame(second, b"b")].concat();
            check(&stream, &[], Some(Fault::Protocol("new message inside a fragmented one")));
        }
    }

    #[test]
    fn a_message_of_exactly_the_limit_is_allowed() {
        let full = "a".repeat(LIMIT);
        let over = "a".repeat(LIMIT + 1);
        let halves = |second: usize| {
            [
                client_frame(0x01, &[b'a'; 500]),
                client_frame(0x89, &[7; 125]),
                client_frame(0x80, &vec![b'a'; second]),
            ]
            .concat()
        };
        let ping = Message::Ping(vec![7; 125].into());
        check(&client_frame(0x81, full.as_bytes()), &[text_message(&full)], None);
        check(&client_frame(0x81, over.as_bytes()), &[], Some(Fault::TooBig));
        check(&halves(LIMIT - 500), &[ping.clone(), text_message(&full)], None);
        check(&halves(LIMIT - 499), &[ping], Some(Fault::TooBig));
    }

    #[test]
    fn the_declared_length_is_refused_before_the_payload_comes() {
        let header = [0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0];
        check(&header, &[], Some(Fault::TooBig));
    }

    #[test]
    fn buffers_grow_with_what_arrives() {
        let declared = 100_000_000_u64;
        let mut input = [&[0x82, 0xff][..], &declared.to_be_bytes(), &[0; 4], &[1; 10]].concat();
        let mut decoder = Decoder::new();
        let read_bytes = input.len();
        let mut inflater = Inflater::new();
        let step = decoder.decode(&mut input, usize::MAX, &mut inflater).unwrap();
        assert_eq!(step, Step { consumed: read_bytes, message: None });
        let partial = decoder.partial.as_ref().unwrap();
        assert_eq!(partial.payload.len(), 10);
        assert!(partial.payload.capacity() < 1000);
    }

    #[test]
    fn the_compressed_hellos_of_the_rfc_are_decoded() {
        let hello = [text_message("Hello")];
        // RFC 7692 section 7.2.3: one block, in two frames, uncompressed, final, two blocks, empty.
        let deflated = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        check_deflate(&client_frame(0xc1, &deflated), &hello, None);
        let fragments =
            [client_frame(0x41, &deflated[..3]), client_frame(0x89, b""), client_frame(0x80, &deflated[3..])];
        check_deflate(
            &fragments.concat(),
            &[Message::Ping([].as_slice().into()), text_message("Hello")],
            None,
        );
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        check_deflate(&client_frame(0xc1, &stored), &hello, None);
        let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        check_deflate(&client_frame(0xc1, &last), &hello, None);
        let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        check_deflate(&client_frame(0xc1, &two), &hello, None);
        check_deflate(&client_frame(0xc1, &[0x00]), &[text_message("")], None);
        check_deflate(&client_frame(0xc1, &[]), &[text_message("")], None);
        // What is not marked is not compressed.
        check_deflate(&client_frame(0x81, b"Hello"), &hello, None);
    }

    #[test]
    fn compressed_messages_that_are_none_are_faults() {
        check_deflate(&client_frame(0xc1, &[0xff; 4]), &[], Some(Fault::NotDeflate));
        check_deflate(&compressed_frame(0xc1, &[0xff, 0xfe]), &[], Some(Fault::NotUtf8));
        check(&compressed_frame(0xc1, b"Hello"), &[], Some(Fault::Protocol("reserved bit set")));
    }

    #[test]
    fn the_limit_is_for_what_comes_out() {
        let full = "a".repeat(LIMIT);
        check_deflate(&compressed_frame(0xc1, full.as_bytes()), &[text_message(&full)], None);
        let over = [full.as_bytes(), b"a"].concat();
        check_deflate(&compressed_frame(0xc1, &over), &[], Some(Fault::TooBig));
        // Noise gets longer, and is allowed all the same.
        let mut noise = vec![0_u8; LIMIT];
        noise.iter_mut().fold(1_u32, |state, byte| {
            let state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = state.to_be_bytes()[0];
            state
        });
        let frame = compressed_frame(0xc2, &noise);
        assert!(frame.len() > LIMIT + 8, "it got shorter");
        check_deflate(&frame, &[Message::Binary(noise.into())], None);
        check_deflate(&client_frame(0xc1, &[0; LIMIT + LIMIT / 8 + 65]), &[], Some(Fault::TooBig));
    }

    #[test]
    fn a_bomb_is_given_up_early() {
        // A gigabyte of zeros, in a megabyte.
        let block = compressed_frame(0xc2, &vec![0; 1 << 20]);
        let block = [&*crate::peer::unmasked(&block), &[0, 0, 0xff, 0xff]].concat();
        let bomb = client_frame(0xc2, &block.repeat(1 << 10));
        assert!(bomb.len() < 1_200_000, "{}", bomb.len());
        let mut inflater = Inflater::new();
        let mut input = bomb;
        let decoded = Decoder::with_deflate().decode(&mut input, 1_200_000, &mut inflater);
        assert_eq!(decoded, Err(Fault::TooBig));
        assert!(inflater.kept_bytes() <= 1_200_001, "{}", inflater.kept_bytes());
        let mut next = compressed_frame(0xc2, b"next");
        Decoder::with_deflate().decode(&mut next, 1_200_000, &mut inflater).unwrap();
        assert!(inflater.kept_bytes() <= 64 * 1024, "memory comes back");
    }

    proptest! {
        // Compressors are large, and slow without optimisation.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn compressed_messages_are_the_same_however_they_are_split(
            messages in vec((any::<bool>(), prop_oneof!["[a-c]{0,400}", ".{0,20}"]), 0..5),
            fragment_bytes in 1_usize..200,
            splits in vec(any::<Index>(), 0..8),
        ) {
            let mut stream = Vec::new();
            for (is_compressed, text) in &messages {
                let (first, payload) = match is_compressed {
                    true => (0x41, crate::peer::unmasked(&compressed_frame(0xc1, text.as_bytes()))),
                    false => (0x01, text.as_bytes().to_vec()),
                };
                let chunks: Vec<_> = payload.chunks(fragment_bytes).collect();
                for (number, chunk) in chunks.iter().enumerate() {
                    let kind = if number == 0 { first } else { 0 };
                    let last = if number + 1 == chunks.len() { 0x80 } else { 0 };
                    stream.extend(client_frame(kind | last, chunk));
                }
                if chunks.is_empty() {
                    stream.extend(client_frame(0x81, b""));
                }
            }
            let mut ends: Vec<usize> = splits.iter().map(|split| split.index(stream.len() + 1)).collect();
            ends.extend([0, stream.len()]);
            ends.sort_unstable();
            let reads = ends.windows(2).map(|ends| &stream[ends[0]..ends[1]]);
            let (decoded, fault, decoder) = run_in(Decoder::with_deflate(), reads, 1 << 20);
            prop_assert_eq!(fault, None);
            prop_assert!(decoder.is_idle());
            let expected: Vec<_> = messages.iter().map(|(_, text)| text_message(text)).collect();
            prop_assert_eq!(decoded, expected);
        }

        #[test]
        fn what_we_compress_is_read_back(
            messages in vec(prop_oneof!["[a-c]{0,600}", ".{0,40}"], 0..4), bytes_min in 0_usize..300,
        ) {
            let frames: Vec<u8> = messages.iter().flat_map(|text| crate::frame(Opcode::Text, text.as_bytes())).collect();
            let deflated = Deflater::default().deflate(&frames, bytes_min);
            prop_assert!(deflated.len() <= frames.len());
            let stream = crate::peer::masked(&deflated);
            let (decoded, fault, _) = run_in(Decoder::with_deflate(), [&*stream], 1 << 20);
            prop_assert_eq!(fault, None);
            let expected: Vec<_> = messages.iter().map(|text| text_message(text)).collect();
            prop_assert_eq!(decoded, expected);
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_messages_that_tungstenite_sent(
            sent in vec(outgoing(), 0..8),
            splits in vec(any::<Index>(), 0..12),
        ) {
            let stream = client_stream(&sent);
            let mut ends: Vec<usize> = splits.iter().map(|split| split.index(stream.len() + 1)).collect();
            ends.extend([0, stream.len()]);
            ends.sort_unstable();
            let (messages, fault, decoder) = run(ends.windows(2).map(|ends| &stream[ends[0]..ends[1]]), 1 << 20);
            prop_assert_eq!(fault, None);
            prop_assert!(decoder.is_idle());
            let expected: Vec<_> = sent.iter().flat_map(|sent| sent.messages()).collect();
            prop_assert_eq!(messages, expected);
        }

        #[test]
        fn any_split_of_any_bytes_gives_the_same(
            frames in vec((prop_oneof![Just(0x81_u8), Just(0x01), Just(0x80), Just(0x00), Just(0xc1), Just(0x41), any::<u8>()], vec(any::<u8>(), 0..20)), 0..8),
            noise: Vec<u8>,
            deflate: bool,
            split in any::<Index>(),
            message_bytes_max in 0_usize..60,
        ) {
            let frames = frames.iter().flat_map(|(first, payload)| client_frame(*first, payload));
            let stream: Vec<u8> = frames.chain(noise).collect();
            let (first, second) = stream.split_at(split.index(stream.len() + 1));
            let decoder = || if deflate { Decoder::with_deflate() } else { Decoder::new() };
            let (messages, fault, _) = run_in(decoder(), [&*stream], message_bytes_max);
            let (split_messages, split_fault, _) = run_in(decoder(), [first, second], message_bytes_max);
            prop_assert_eq!(&split_messages, &messages);
            prop_assert_eq!(&split_fault, &fault);
            let (split_messages, split_fault, _) = run_in(decoder(), stream.chunks(1), message_bytes_max);
            prop_assert_eq!(split_messages, messages);
            prop_assert_eq!(split_fault, fault);
        }
    }
}
