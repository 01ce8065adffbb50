//! Answers to publishes, written into the gRPC frames that carry them.

use bytes::{BufMut as _, BytesMut};
use prost::Message;
use roomcast_proto::v1;

use crate::id::{MESSAGE_ID_CHARS, MessageId};
use crate::publishing::{Published, batch_response};

/// Compression flag and length in front of a message. Source: "gRPC over HTTP2", Length-Prefixed-Message.
const PREFIX_BYTES: usize = 5;
/// Field 1 with an id of [`MESSAGE_ID_CHARS`]: tag, length, text.
const ID_FIELD_BYTES: usize = 2 + MESSAGE_ID_CHARS;
const ID_LENGTH: u8 = MESSAGE_ID_CHARS as u8;
/// A field with a [`v1::Published`] that holds nothing but an id.
const PUBLISHED_BYTES: usize = 2 + ID_FIELD_BYTES;

fn put_prefix(out: &mut BytesMut, message_bytes: usize) {
    // What is written here is far below 4 GiB: ids, or a report on nodes.
    let [a, b, c, d] = u32::try_from(message_bytes).unwrap_or(u32::MAX).to_be_bytes();
    out.put_slice(&[0, a, b, c, d]);
}

fn put_id(out: &mut BytesMut, id: MessageId) {
    out.put_slice(&[0x0a, ID_LENGTH]);
    out.put_slice(&id.text());
}

fn put(out: &mut BytesMut, message: &impl Message) {
    put_prefix(out, message.encoded_len());
    message.encode(out).expect("a BytesMut grows as needed");
}

/// A [`v1::PublishResponse`].
pub(crate) fn publish_response(id: MessageId, reach: Option<v1::Reach>) -> BytesMut {
    if reach.is_some() {
        let mut out = BytesMut::new();
        put(&mut out, &v1::PublishResponse { message_id: id.to_string(), reach });
        return out;
    }
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + ID_FIELD_BYTES);
    put_prefix(&mut out, ID_FIELD_BYTES);
    put_id(&mut out, id);
    out
}

/// A [`v1::PublishBatchResponse`].
pub(crate) fn publish_batch_response(published: Vec<Published>) -> BytesMut {
    let mut out = BytesMut::new();
    if published.iter().any(|published| published.reach.is_some()) {
        put(&mut out, &batch_response(published));
        return out;
    }
    let bytes = published.len() * PUBLISHED_BYTES;
    out.reserve(PREFIX_BYTES + bytes);
    put_prefix(&mut out, bytes);
    for Published { id, .. } in published {
        out.put_slice(&published_field(0x0a, id));
    }
    out
}

/// A [`v1::PublishStreamResponse`] for a message that is on its way, without a report.
pub(crate) fn publish_stream_accepted(out: &mut BytesMut, sequence: u64, id: MessageId) {
    let (sequence_field, sequence_bytes) = varint_field(0x08, sequence);
    let sequence_field = sequence_field.get(..sequence_bytes).unwrap_or_default();
    out.reserve(PREFIX_BYTES + sequence_bytes + PUBLISHED_BYTES);
    put_prefix(out, sequence_bytes + PUBLISHED_BYTES);
    out.put_slice(sequence_field);
    out.put_slice(&published_field(0x12, id));
}

/// The field with that tag, and in it a [`v1::Published`] that holds nothing but an id.
fn published_field(tag: u8, id: MessageId) -> [u8; PUBLISHED_BYTES] {
    let mut field = [0; PUBLISHED_BYTES];
    let (head, text) = field.split_at_mut(PUBLISHED_BYTES - MESSAGE_ID_CHARS);
    head.copy_from_slice(&[tag, 2 + ID_LENGTH, 0x0a, ID_LENGTH]);
    text.copy_from_slice(&id.text());
    field
}

/// Any other [`v1::PublishStreamResponse`].
pub(crate) fn publish_stream_response(out: &mut BytesMut, response: &v1::PublishStreamResponse) {
    put(out, response);
}

/// Tag and value of a number, and how many bytes that is; none for 0.
fn varint_field(tag: u8, mut value: u64) -> ([u8; 11], usize) {
    let mut field = [0; 11];
    if value == 0 {
        return (field, 0);
    }
    let mut bytes = 0;
    let mut next = tag;
    for place in &mut field {
        *place = next;
        bytes += 1;
        if bytes > 1 && next < 0x80 {
            break;
        }
        next = (value & 0x7f) as u8;
        value >>= 7;
        if value > 0 {
            next |= 0x80;
        }
    }
    (field, bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use v1::publish_stream_response::Outcome;

    use super::*;

    /// The message in a frame.
    fn unframed<M: Message + Default>(frame: &[u8]) -> M {
        let (prefix, message) = frame.split_at(PREFIX_BYTES);
        assert_eq!(prefix[0], 0);
        assert_eq!(prefix[1..], u32::try_from(message.len()).unwrap().to_be_bytes());
        M::decode(message).unwrap()
    }

    proptest! {
        #[test]
        fn answers_in_streams_are_read_by_prost(sequence: u64, shift in 0..64_u32, random: [u8; 10]) {
            let (sequence, id) = (sequence >> shift, MessageId::new(7, random));
            let mut out = BytesMut::new();
            publish_stream_accepted(&mut out, sequence, id);
            let published = v1::Published { message_id: id.to_string(), reach: None };
            let expected = v1::PublishStreamResponse { sequence, outcome: Some(Outcome::Published(published)) };
            prop_assert_eq!(unframed::<v1::PublishStreamResponse>(&out), expected.clone());
            let mut plain = BytesMut::new();
            publish_stream_response(&mut plain, &expected);
            prop_assert_eq!(plain, out);
        }
    }

    #[test]
    fn answers_to_batches_are_read_by_prost() {
        let id = |nth| MessageId::new(1, [nth; 10]);
        let reach = v1::Reach { sockets_matched: 3, ..v1::Reach::default() };
        for reaches in [vec![], vec![None, None], vec![None, Some(reach)]] {
            let published = || {
                let published = |(nth, reach)| Published { id: id(nth), reach };
                (0..).zip(reaches.clone()).map(published).collect::<Vec<_>>()
            };
            let answer: v1::PublishBatchResponse = unframed(&publish_batch_response(published()));
            assert_eq!(answer, batch_response(published()));
            assert_eq!(answer.published.len(), reaches.len());
        }
    }

    #[test]
    fn answers_to_one_publish_are_read_by_prost() {
        let id = MessageId::new(1, [3; 10]);
        for reach in [None, Some(v1::Reach { sockets_matched: 3, ..v1::Reach::default() })] {
            let answer: v1::PublishResponse = unframed(&publish_response(id, reach.clone()));
            assert_eq!((answer.message_id, answer.reach), (id.to_string(), reach));
        }
    }
}
