//! The wire format of Protobuf, read without copies.
//!
//! What is unusual (a field of another type than its number has, a group, a number that does not fit) is not judged
//! here but left to `prost`, which then also says what is wrong with it.
//!
//! Source: protobuf.dev, "Encoding".

use prost::Message;
use roomcast_proto::v1;
use tonic::Status;

use super::{BatchRef, MessageRef, PublishRef};

/// Reads a [`v1::PublishRequest`] and gives it to `then`.
///
/// # Errors
/// `INTERNAL` in the words of `prost`, as all rpcs answer what is no request.
pub(crate) fn publish_request<T>(bytes: &[u8], then: impl FnOnce(&PublishRef<'_>) -> T) -> Result<T, Status> {
    match single(bytes, &PUBLISH) {
        Some(request) => Ok(then(&request)),
        None => decode::<v1::PublishRequest>(bytes).map(|request| then(&(&request).into())),
    }
}

/// The same for a [`v1::PublishStreamRequest`].
///
/// # Errors
/// As there.
pub(crate) fn publish_stream_request<T>(
    bytes: &[u8],
    then: impl FnOnce(&PublishRef<'_>) -> T,
) -> Result<T, Status> {
    match single(bytes, &PUBLISH_STREAM) {
        Some(request) => Ok(then(&request)),
        None => decode::<v1::PublishStreamRequest>(bytes).map(|request| then(&(&request).into())),
    }
}

/// The same for a [`v1::PublishBatchRequest`].
///
/// # Errors
/// As there.
pub(crate) fn publish_batch_request<T>(
    bytes: &[u8],
    then: impl FnOnce(&BatchRef<'_>) -> T,
) -> Result<T, Status> {
    match batch(bytes) {
        Some(request) => Ok(then(&request)),
        None => decode::<v1::PublishBatchRequest>(bytes).map(|request| then(&(&request).into())),
    }
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| Status::internal(error.to_string()))
}

/// The numbers of the fields of a request with one message.
struct Numbers {
    sequence: Option<u32>,
    message: u32,
    idempotency_key: u32,
    report: u32,
}

const PUBLISH: Numbers = Numbers { sequence: None, message: 1, idempotency_key: 2, report: 3 };
const PUBLISH_STREAM: Numbers = Numbers { sequence: Some(1), message: 2, idempotency_key: 3, report: 4 };

#[inline]
fn single<'a>(bytes: &'a [u8], numbers: &Numbers) -> Option<PublishRef<'a>> {
    let mut request = PublishRef::default();
    let mut fields = Fields(bytes);
    while !fields.0.is_empty() {
        match fields.next()? {
            (number, Value::Bytes(bytes)) if number == numbers.message => {
                // A message that comes in parts is the parts together.
                merge(request.message.get_or_insert_default(), bytes)?;
            }
            (number, Value::Bytes(bytes)) if number == numbers.idempotency_key => {
                request.idempotency_key = text(bytes)?;
            }
            (number, Value::Varint(value)) if number == numbers.report => request.report = value as i32,
            (number, Value::Varint(value)) if Some(number) == numbers.sequence => request.sequence = value,
            (number, _) if number > numbers.report => {}
            _ => return None,
        }
    }
    Some(request)
}

fn batch(bytes: &[u8]) -> Option<BatchRef<'_>> {
    let mut request = BatchRef::default();
    let mut fields = Fields(bytes);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Value::Bytes(bytes)) => {
                let mut message = MessageRef::default();
                merge(&mut message, bytes)?;
                request.messages.push(message);
            }
            (2, Value::Bytes(bytes)) => request.idempotency_key = text(bytes)?,
            (3, Value::Varint(value)) => request.report = value as i32,
            (4.., _) => {}
            _ => return None,
        }
    }
    Some(request)
}

fn merge<'a>(message: &mut MessageRef<'a>, bytes: &'a [u8]) -> Option<()> {
    let mut fields = Fields(bytes);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Value::Bytes(bytes)) => message.namespace = text(bytes)?,
            (2, Value::Bytes(bytes)) => message.rooms.push(text(bytes)?),
            (3, Value::Bytes(bytes)) => message.except.push(text(bytes)?),
            (4, Value::Bytes(bytes)) => message.event = text(bytes)?,
            (5, Value::Bytes(bytes)) => message.arguments = text(bytes)?,
            (6, Value::Bytes(bytes)) => message.attachments.push(bytes),
            (7, Value::Varint(value)) => message.volatile = value != 0,
            (8.., _) => {}
            _ => return None,
        }
    }
    Some(())
}

fn text(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok()
}

/// The value of a field.
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Of 4 or 8 bytes: no field here is.
    Fixed,
}

/// What is left of the fields of a message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The number of the next field and its value; `None` if they are not usual.
    #[inline]
    fn next(&mut self) -> Option<(u32, Value<'a>)> {
        let tag = u32::try_from(self.varint()?).ok()?;
        let number = tag >> 3;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed
            }
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Value::Fixed
            }
            _ => return None,
        };
        (number > 0).then_some((number, value))
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    #[inline]
    fn varint(&mut self) -> Option<u64> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        // Most are lengths and tags below 128.
        if first < 0x80 { Some(first.into()) } else { self.long_varint(first & 0x7f) }
    }

    /// The rest of a number whose lowest 7 bits are known.
    fn long_varint(&mut self, first: u8) -> Option<u64> {
        let mut value = u64::from(first);
        for shift in (7..63).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        let (&last, rest) = self.0.split_first()?;
        self.0 = rest;
        (last <= 1).then_some(value | u64::from(last) << 63)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn message() -> impl Strategy<Value = v1::Message> {
        let names = || vec(".{0,9}", 0..7);
        let parts = vec(vec(any::<u8>(), 0..200).prop_map(Into::into), 0..4);
        (".{0,9}", names(), names(), ".{0,9}", ".{0,300}", parts, any::<bool>()).prop_map(
            |(namespace, rooms, except, event, arguments, attachments, volatile)| v1::Message {
                namespace,
                rooms,
                except,
                event,
                arguments,
                attachments,
                volatile,
            },
        )
    }

    fn request() -> impl Strategy<Value = v1::PublishStreamRequest> {
        let message = proptest::option::of(message());
        (any::<u64>(), message, ".{0,9}", any::<i32>()).prop_map(
            |(sequence, message, idempotency_key, report)| v1::PublishStreamRequest {
                sequence,
                message,
                idempotency_key,
                report,
            },
        )
    }

    /// What is read here is what `prost` reads, or it is left to it; whether it was left.
    fn agrees(bytes: &[u8]) -> bool {
        let (one, all) = (v1::PublishRequest::decode(bytes), v1::PublishBatchRequest::decode(bytes));
        let expected = v1::PublishStreamRequest::decode(bytes);
        let streamed = single(bytes, &PUBLISH_STREAM);
        if let Some(request) = &streamed {
            assert_eq!(*request, expected.as_ref().unwrap().into());
        }
        if let Some(request) = single(bytes, &PUBLISH) {
            assert_eq!(request, one.as_ref().unwrap().into());
        }
        if let Some(request) = batch(bytes) {
            assert_eq!(request, all.as_ref().unwrap().into());
        }
        streamed.is_none()
    }

    proptest! {
        #[test]
        fn what_callers_write_is_read_here_and_as_prost_reads_it(request in request()) {
            prop_assert!(!agrees(&request.encode_to_vec()));
        }

        #[test]
        fn batches_are_read_as_prost_reads_them(messages in vec(message(), 0..4), key in ".{0,9}", report: i32) {
            let request = v1::PublishBatchRequest { messages, idempotency_key: key, report };
            let bytes = request.encode_to_vec();
            prop_assert_eq!(batch(&bytes), Some((&request).into()));
        }

        #[test]
        fn whatever_is_changed_in_a_request_is_read_as_prost_reads_it(
            request in request(),
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = request.encode_to_vec();
            prop_assume!(!bytes.is_empty());
            for (index, byte) in changes {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            agrees(&bytes);
            agrees(&bytes[..cut.index(bytes.len())]);
        }

        #[test]
        fn any_bytes_are_read_as_prost_reads_them(bytes in vec(any::<u8>(), 0..80)) {
            agrees(&bytes);
        }

        #[test]
        fn parts_of_a_request_one_after_the_other_are_put_together(one in request(), two in request()) {
            let bytes = [one.encode_to_vec(), two.encode_to_vec()].concat();
            prop_assert!(!agrees(&bytes));
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_prost() {
        // Field 0, a group, a varint of 11 bytes, a message as a number, text that is not UTF-8.
        let cases: [&[u8]; 5] = [
            &[0, 0],
            &[0x2b, 0x2c],
            &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1],
            &[0x10, 1],
            &[0x1a, 1, 255],
        ];
        for case in cases {
            assert!(agrees(case), "{case:?}");
        }
        // Fields that a later version may have.
        assert!(!agrees(&[0x2d, 1, 2, 3, 4, 0x31, 1, 2, 3, 4, 5, 6, 7, 8, 0x3a, 1, 9, 0x40, 1]));
    }

    #[test]
    fn what_is_no_request_is_answered_as_by_the_other_rpcs() {
        let status = publish_request(&[0x0a, 5, 1], |_| ()).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Internal);
        assert!(status.message().starts_with("failed to decode Protobuf message"), "{status:?}");
    }
}
