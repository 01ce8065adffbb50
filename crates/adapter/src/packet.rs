//! The packet inside a broadcast.

use socketio::{DecodeLimits, NamespaceName, PacketKind};

use crate::convert::{json_to_msgpack, utf8};
use crate::error::WireFault;
use crate::event::check_client_event;
use crate::message::Event;
use crate::msgpack;
use crate::value::{Value, namespace, required};

const EVENT: u64 = PacketKind::Event as u64;
const BINARY_EVENT: u64 = PacketKind::BinaryEvent as u64;

/// What an event's packet is written with in front of its data, and in front of its namespace: the head of the map,
/// keys, and type 2.
pub(crate) const DATA: &[u8] = b"\x83\xa4type\x02\xa4data";
pub(crate) const NAMESPACE: &[u8] = b"\xa3nsp";

/// An event, and the namespace it names.
pub(crate) struct Packet {
    pub(crate) namespace: NamespaceName,
    pub(crate) event: Event,
}

impl Packet {
    /// Reads `{"type":2,"data":["name",…],"nsp":"/"}`. Type 5 is an event too: 5.x adapters mark events with
    /// bytes themselves, and a Node 4 server that passes the number on loses its clients.
    ///
    /// # Errors
    /// [`WireFault::NotAnEvent`] for other types: an acknowledgement for many sockets means nothing.
    pub(crate) fn decode(value: Value<'_>, limits: &DecodeLimits) -> Result<Self, WireFault> {
        let (mut kind, mut data, mut nsp) = (None, None, None);
        value.fields("packet", |key, value| {
            match key {
                "type" => kind = Some(value),
                "data" => data = Some(value),
                "nsp" => nsp = Some(value),
                _ => {}
            }
            Ok(())
        })?;
        let (Some(EVENT) | Some(BINARY_EVENT)) = required(kind, "packet.type")?.unsigned() else {
            return Err(WireFault::NotAnEvent);
        };
        Ok(Self { namespace: namespace(nsp)?, event: required(data, "packet.data")?.event(limits)? })
    }
}

/// Appends the packet of `event` as MessagePack, always with type 2 and keys in the order of the adapters.
///
/// # Errors
/// Those of the event: it is not JSON, has no name, or names attachments that it does not have.
pub(crate) fn push_msgpack(
    out: &mut Vec<u8>,
    namespace: &NamespaceName,
    event: &Event,
) -> Result<(), WireFault> {
    let json = utf8(&event.json)?;
    out.extend_from_slice(DATA);
    json_to_msgpack(out, json, &event.attachments)?;
    // Behind the conversion, which has found it to be JSON.
    check_client_event(json)?;
    out.extend_from_slice(NAMESPACE);
    msgpack::str(out, namespace.as_str());
    Ok(())
}
