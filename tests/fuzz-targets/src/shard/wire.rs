//! The transports of a shard, which hold it to the rules of its sink.

use std::{
    collections::HashMap,
    io::{self, IoSlice},
};

use broker::{ConnectionKey, LinkId, Payload, PollId, Sink};
use engineio::{Revision, decode_body};

use super::MESSAGE_BYTES_MAX;

/// WebSockets and polls that the shard knows of.
#[derive(Default)]
pub(super) struct Wire {
    links: HashMap<LinkId, Link>,
    polls: HashMap<PollId, Revision>,
    /// Links that may be named anew after this turn.
    freed: Vec<LinkId>,
    link_count: u32,
    poll_count: u32,
}

struct Link {
    /// Whose it is. Numbers come back, and what names a link late must not mean the next one.
    owner: Option<ConnectionKey>,
    /// The beginning of a frame whose end has not been written.
    unfinished: Vec<u8>,
    /// Bytes that it takes before it blocks.
    room: usize,
    is_broken: bool,
    /// Whether a close frame was written: nothing may follow.
    is_ended: bool,
    /// Whether the other side has gone: the shard was told.
    is_gone: bool,
    /// Text messages since the last look, if anyone looks.
    texts: Option<Vec<String>>,
    /// Whether compressed messages were agreed on.
    deflate: bool,
}

impl Wire {
    pub(super) fn new_link(&mut self, is_watched: bool, deflate: bool) -> LinkId {
        // A link's number is given to another as soon as it is free.
        let link = self.freed.pop().unwrap_or_else(|| {
            self.link_count += 1;
            LinkId(self.link_count)
        });
        let fresh = Link {
            owner: None,
            unfinished: Vec::new(),
            room: usize::MAX,
            is_broken: false,
            is_ended: false,
            is_gone: false,
            texts: is_watched.then(Vec::new),
            deflate,
        };
        assert!(self.links.insert(link, fresh).is_none());
        link
    }

    pub(super) fn new_poll(&mut self, revision: Revision) -> PollId {
        self.poll_count += 1;
        self.polls.insert(PollId(self.poll_count), revision);
        PollId(self.poll_count)
    }

    /// A poll that was refused, or given up by its client.
    pub(super) fn forget_poll(&mut self, poll: PollId) {
        self.polls.remove(&poll);
    }

    pub(super) fn own(&mut self, owner: ConnectionKey, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.owner = Some(owner);
        }
    }

    /// Whether the link is still this connection's, and there on both sides.
    pub(super) fn is_open(&self, owner: ConnectionKey, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|link| link.owner == Some(owner) && !link.is_gone)
    }

    /// The other side has gone; its number is free at the end of the turn.
    pub(super) fn end(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.is_gone = true;
        }
    }

    pub(super) fn set_room(&mut self, link: LinkId, room: usize) {
        if let Some(link) = self.links.get_mut(&link) {
            link.room = room;
        }
    }

    pub(super) fn break_link(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.is_broken = true;
        }
    }

    /// A link that the shard did not take.
    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    /// The texts of a watched link since the last look.
    pub(super) fn texts(&mut self, link: LinkId) -> Vec<String> {
        let texts = self.links.get_mut(&link).and_then(|link| link.texts.as_mut());
        texts.map(std::mem::take).unwrap_or_default()
    }

    /// After a flush: what has gone is gone.
    pub(super) fn end_turn(&mut self) {
        let gone: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| link.is_gone).map(|(link, _)| *link).collect();
        for link in gone {
            self.links.remove(&link);
            self.freed.push(link);
        }
    }

    /// Everybody is gone, and nobody was left waiting.
    pub(super) fn assert_empty(&self) {
        assert_eq!((self.links.len(), self.polls.len()), (0, 0), "links and polls that nobody ended");
    }
}

impl Sink for Wire {
    fn write(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let link = self.links.get_mut(&link).expect("a link that is there");
        assert!(!link.is_gone, "written to after its end was told");
        if link.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut taken = 0;
        for slice in slices {
            let bytes = slice.get(..slice.len().min(link.room)).unwrap_or_default();
            link.room -= bytes.len();
            taken += bytes.len();
            link.read(bytes);
        }
        Ok(taken)
    }

    fn close(&mut self, link: LinkId) {
        self.links.remove(&link).expect("a link is closed once, and not after its end was told");
        self.freed.push(link);
    }

    fn answer(&mut self, poll: PollId, payload: Payload) {
        let revision = self.polls.remove(&poll).expect("a poll is answered once");
        for packet in decode_body(revision, payload.form, &payload.body) {
            packet.expect("a client understands its answer");
        }
    }
}

impl Link {
    /// Reads frames as a client does: whole, unmasked, and none after the close.
    fn read(&mut self, bytes: &[u8]) {
        self.unfinished.extend_from_slice(bytes);
        while let Some((header, length)) = header(&self.unfinished) {
            let Some(payload) = self.unfinished.get(header..header + length) else { return };
            assert!(!self.is_ended, "a frame after the close");
            match self.unfinished.first() {
                Some(0x81) => note(&mut self.texts, payload),
                Some(0xc1 | 0xc2) => {
                    assert!(self.deflate, "compressed for a client that takes none");
                    let message = inflate(payload);
                    if self.unfinished.first() == Some(&0xc1) {
                        note(&mut self.texts, &message);
                    }
                }
                Some(0x82 | 0x8a) => {}
                Some(0x88) => self.is_ended = true,
                other => panic!("frame with first byte {other:x?}"),
            }
            self.unfinished.drain(..header + length);
        }
    }
}

fn note(texts: &mut Option<Vec<String>>, payload: &[u8]) {
    let text = std::str::from_utf8(payload).expect("text is UTF-8");
    if let Some(texts) = texts {
        texts.push(text.to_owned());
    }
}

/// What a client makes of a compressed payload.
fn inflate(payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(4 * MESSAGE_BYTES_MAX);
    let whole = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut state = flate2::Decompress::new(false);
    state.decompress_vec(&whole, &mut message, flate2::FlushDecompress::Sync).expect("DEFLATE");
    assert_eq!(state.total_in(), whole.len() as u64, "a message longer than any");
    message
}

/// Length of the header and of the payload behind it, once the header is whole.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let wide = |digits: &[u8]| digits.iter().fold(0, |number, digit| number << 8 | usize::from(*digit));
    Some(match bytes.get(1)? {
        126 => (4, wide(bytes.get(2..4)?)),
        127 => (10, wide(bytes.get(2..10)?)),
        length => (2, usize::from(*length)),
    })
}
