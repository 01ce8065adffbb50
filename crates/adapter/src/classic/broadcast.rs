//! Broadcasts: `[uid, {type, data, nsp}, {rooms, except, flags}]` in MessagePack.

use socketio::DecodeLimits;

use super::usual;
use crate::error::WireFault;
use crate::id::Uid;
use crate::message::Broadcast;
use crate::msgpack::{self, Reader, Token};
use crate::opts::{self, Flags, Opts};
use crate::packet::{self, Packet};
use crate::value::Value;

/// A broadcast from another node or an emitter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundBroadcast {
    /// Who sent it; a node ignores its own. `None` if that is no text.
    pub uid: Option<Uid>,
    /// What it is. Its namespace is the one it names: Node ignores it if that is not the channel's.
    pub broadcast: Broadcast,
    /// How it was sent.
    pub flags: Flags,
}

/// Whether the node `uid` sent a broadcast, without reading any more of it: nodes hear their own, and ignore them.
pub fn is_from(message: &[u8], uid: &Uid) -> bool {
    let mut reader = Reader::new(message);
    matches!((reader.token(), reader.text()), (Ok(Token::Array(_)), Some(sender)) if sender == uid.as_str().as_bytes())
}

/// Writes a broadcast byte for byte as `@socket.io/redis-adapter` 8 does.
///
/// Rooms are always text; those that are numbers on a Node server cannot be named.
///
/// # Errors
/// Those of the event: it is not a JSON array, has no name or a reserved one, or names attachments that it
/// does not have. Node processes end on a malformed broadcast, so none is ever returned.
///
/// Source: Redis adapter, broadcast messages.
pub fn encode_broadcast(uid: &Uid, broadcast: &Broadcast, flags: &Flags) -> Result<Vec<u8>, WireFault> {
    let event = &broadcast.event;
    let binary: usize = event.attachments.iter().map(bytes::Bytes::len).sum();
    let mut out = Vec::with_capacity(event.json.len().saturating_add(binary) + 128);
    push_broadcast(&mut out, uid, broadcast, flags)?;
    Ok(out)
}

/// The same, appended to `out`; after an error with whatever was written before it.
///
/// # Errors
/// As [`encode_broadcast`].
pub fn push_broadcast(
    out: &mut Vec<u8>,
    uid: &Uid,
    broadcast: &Broadcast,
    flags: &Flags,
) -> Result<(), WireFault> {
    let Broadcast { namespace, targets, delivery, event } = broadcast;
    msgpack::array(out, 3);
    msgpack::str(out, uid.as_str());
    packet::push_msgpack(out, namespace, event)?;
    opts::push_msgpack(out, targets, *delivery, flags);
    Ok(())
}

/// Reads a broadcast of any adapter from 5 to 8, or of an emitter in any language.
///
/// Keys may be missing but for the type and data of the packet. Numbers as rooms become their text; packet
/// type 5, of old adapters, becomes an event; an ack id is ignored.
///
/// # Errors
/// [`WireFault`]: the message is to be skipped.
///
/// Source: Redis adapter, broadcast messages.
pub fn decode_broadcast(message: &[u8], limits: &DecodeLimits) -> Result<InboundBroadcast, WireFault> {
    match usual::decode(message, limits) {
        Some(inbound) => Ok(inbound),
        None => decode_any(message, limits),
    }
}

/// A message of any form, read value by value.
pub(super) fn decode_any(message: &[u8], limits: &DecodeLimits) -> Result<InboundBroadcast, WireFault> {
    let mut reader = Reader::new(message);
    let Token::Array(length) = reader.token()? else {
        return Err(WireFault::WrongForm("broadcast"));
    };
    let mut parts = [None; 3];
    for index in 0..length {
        let value = Value::MsgPack(reader.value()?);
        if let Some(part) = parts.get_mut(index) {
            *part = Some(value);
        }
    }
    reader.end()?;
    let [Some(uid), Some(packet), Some(opts)] = parts else {
        return Err(WireFault::Missing("opts"));
    };
    let Packet { namespace, event } = Packet::decode(packet, limits)?;
    let Opts { targets, delivery, flags } = Opts::decode(opts)?;
    let uid = uid.text().map(Uid::new);
    Ok(InboundBroadcast { uid, broadcast: Broadcast { namespace, targets, delivery, event }, flags })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use socketio::NamespaceName;

    use super::*;
    use crate::message::{Delivery, Event, Targets};

    fn broadcast(json: &'static str) -> Broadcast {
        Broadcast {
            namespace: NamespaceName::main(),
            targets: Targets::default(),
            delivery: Delivery::Reliable,
            event: Event { json: Bytes::from_static(json.as_bytes()), attachments: Vec::new() },
        }
    }

    #[test]
    fn the_sender_is_known_without_decoding() {
        let me = Uid::new("me-123");
        let message = encode_broadcast(&me, &broadcast("[\"e\"]"), &Flags::default()).unwrap();
        assert!(is_from(&message, &me));
        assert!(!is_from(&message, &Uid::new("me-124")));
        for other in [&[0x92, 5, 0xc0][..], &[0x90], &[0xc1], &[], b"{}"] {
            assert!(!is_from(other, &me), "{other:x?}");
        }
    }

    #[test]
    fn an_event_that_would_harm_others_is_not_published() {
        let fault = |json| encode_broadcast(&Uid::new("u"), &broadcast(json), &Flags::default()).err();
        assert_eq!(fault("[\"e\",]"), Some(WireFault::NotJson));
        assert_eq!(fault("[\"e\"] 1"), Some(WireFault::TrailingBytes));
        assert_eq!(fault("{}"), Some(WireFault::EventName));
        assert_eq!(fault("[]"), Some(WireFault::EventName));
        assert_eq!(fault("[\"disconnect\"]"), Some(WireFault::ReservedEventName("disconnect")));
    }

    #[test]
    fn elements_behind_the_third_are_ignored_and_two_are_too_few() {
        let message = encode_broadcast(&Uid::new("u"), &broadcast("[\"e\"]"), &Flags::default()).unwrap();
        let limits = DecodeLimits::default();
        let mut longer = message.clone();
        longer[0] = 0x94;
        longer.push(0xc0);
        assert_eq!(decode_broadcast(&longer, &limits), decode_broadcast(&message, &limits));
        assert_eq!(decode_broadcast(&[0x92, 0xc0, 0xc0], &limits), Err(WireFault::Missing("opts")));
    }
}
