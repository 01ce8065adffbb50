//! A door for the fuzz targets: requests in JSON and in Protobuf, as far as the checks of the service. Nothing else comes
//! in here.

use std::fmt::Debug;

use adapter::Broadcast;
use prost::Message;
use roomcast_proto::v1;

use crate::config::PublishConfig;
use crate::convert;
use crate::http::{PATHS, json, methods};
use crate::texts::Texts;
use crate::wire::{self, BatchRef, PublishRef};

/// Reads `body` as the request of the rpc with this number, counted round; what it publishes, if it does and may.
///
/// # Panics
/// When what was read is written in another way than it is read.
pub fn request(rpc: usize, body: &[u8]) -> Option<Broadcast> {
    let (method, _) = methods().nth(rpc % PATHS.len())?;
    let input = method.input();
    let message = match method.name() {
        "Publish" => read::<v1::PublishRequest>(input, body)?.message,
        "PublishBatch" => read::<v1::PublishBatchRequest>(input, body)?.messages.into_iter().next(),
        "Call" => read::<v1::CallRequest>(input, body)?.message,
        "JoinRooms" => return read::<v1::JoinRoomsRequest>(input, body).and(None),
        "LeaveRooms" => return read::<v1::LeaveRoomsRequest>(input, body).and(None),
        "ListRooms" => return read::<v1::ListRoomsRequest>(input, body).and(None),
        "DisconnectSockets" => return read::<v1::DisconnectSocketsRequest>(input, body).and(None),
        "FetchSockets" => return read::<v1::FetchSocketsRequest>(input, body).and(None),
        "CountSockets" => return read::<v1::CountSocketsRequest>(input, body).and(None),
        _ => return read::<v1::ServerSideEmitRequest>(input, body).and(None),
    };
    convert::broadcast(&(&message?).into(), &PublishConfig::default(), &mut Texts::default()).ok()
}

/// Reads `bytes` as each request that is read without copies; what the first of them publishes, if it does and may.
///
/// # Panics
/// When `prost` reads another thing.
pub fn wire(bytes: &[u8]) -> Option<Broadcast> {
    // As text: what is read borrows from different bytes.
    let same = |expected: Result<String, prost::DecodeError>, read: Result<String, tonic::Status>| {
        assert_eq!(read.ok(), expected.ok());
    };
    let expected = v1::PublishStreamRequest::decode(bytes);
    let expected = expected.map(|request| format!("{:?}", PublishRef::from(&request)));
    same(expected, wire::publish_stream_request(bytes, |read| format!("{read:?}")));
    let expected = v1::PublishBatchRequest::decode(bytes);
    let expected = expected.map(|request| format!("{:?}", BatchRef::from(&request)));
    same(expected, wire::publish_batch_request(bytes, |read| format!("{read:?}")));
    let expected = v1::PublishRequest::decode(bytes);
    let expected = expected.map(|request| format!("{:?}", PublishRef::from(&request)));
    same(expected, wire::publish_request(bytes, |read| format!("{read:?}")));
    let broadcast = |read: &PublishRef<'_>| {
        convert::broadcast(read.message.as_ref()?, &PublishConfig::default(), &mut Texts::default()).ok()
    };
    wire::publish_request(bytes, broadcast).ok().flatten()
}

fn read<T: Message + Default + PartialEq + Debug>(
    descriptor: prost_reflect::MessageDescriptor,
    body: &[u8],
) -> Option<T> {
    let message: T = json::decode(descriptor.clone(), body).ok()?;
    let written = json::encode(descriptor.clone(), &message).expect("what was read can be written");
    let read: T = json::decode(descriptor, written.as_bytes()).expect("what was written can be read");
    assert_eq!(read, message, "{written}");
    Some(message)
}
