//! Messages on Redis, before anyone looks whose they are.

use adapter::{
    Broadcast, Report, Uid,
    classic::{
        Asked, Command, Dialect, decode_broadcast, decode_request, decode_response, encode_broadcast,
        encode_request, encode_response, is_from,
    },
    sharded,
};
use socketio::{DecodeLimits, NamespaceName, encode_event};

const LIMITS: DecodeLimits = DecodeLimits { attachments_max: 1000, depth_max: 100 };

/// One payload, read as everything that it could be on any channel.
pub(crate) fn message(bytes: &[u8]) {
    let _is_from = is_from(bytes, &Uid::new("u"));
    if let Ok(inbound) = decode_broadcast(bytes, &LIMITS) {
        clients_take(&inbound.broadcast);
        if let Ok(written) = encode_broadcast(&Uid::new("fuzzed"), &inbound.broadcast, &inbound.flags) {
            let read = decode_broadcast(&written, &LIMITS).expect("what is published is understood");
            assert_eq!((read.broadcast, read.flags), (inbound.broadcast, inbound.flags));
        }
    }
    if let Ok(request) = decode_request(bytes, &NamespaceName::main(), &LIMITS)
        && let Asked::Command(command) = &request.asked
    {
        if let Command::Broadcast { broadcast, .. } = command {
            clients_take(broadcast);
        }
        drop(encode_request(request.uid.as_ref(), request.request_id.as_ref(), command));
    }
    if let Ok(response) = decode_response(bytes, &LIMITS) {
        for dialect in [Dialect::Current, Dialect::SocketIoRedis5] {
            if let Ok(written) =
                encode_response(&response.request_id, dialect, &response.answer, response.from.as_ref())
            {
                decode_response(&written, &LIMITS).expect("what is answered is understood");
            }
        }
    }
    if let Ok(report) = Report::decode(bytes) {
        assert_eq!(Report::decode(&report.encode()).as_ref(), Ok(&report));
    }
    if let Ok(message) = sharded::decode(bytes, &LIMITS) {
        if let Ok(written) = sharded::encode(&message) {
            assert_eq!(sharded::decode(&written, &LIMITS).as_ref(), Ok(&message));
        }
        if let Some(broadcast) = message.into_broadcast() {
            clients_take(&broadcast);
        }
    }
}

/// A client that gets this broadcast understands it: it would close its connection otherwise.
pub(crate) fn clients_take(broadcast: &Broadcast) {
    let event = &broadcast.event;
    let json = std::str::from_utf8(&event.json).expect("the text of an event is UTF-8");
    let mut out = Vec::new();
    encode_event(&mut out, "/", None, event.attachments.len(), json);
    let text = std::str::from_utf8(&out).expect("a packet is text");
    let limits = DecodeLimits { attachments_max: 1000, depth_max: 512 };
    let read = socketio::decode(text, &limits);
    read.expect("a client understands what is delivered to it");
}
