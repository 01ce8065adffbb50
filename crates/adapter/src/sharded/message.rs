//! Messages `{type, data, uid, nsp}`: JSON text, or the same map in MessagePack if there are bytes in it.

use bytes::Bytes;
use socketio::{DecodeLimits, NamespaceName, PacketKind, RoomName, SocketId};

use crate::argument::Argument;
use crate::classic::push_sockets;
use crate::convert::{json_to_msgpack, push_json, utf8};
use crate::details::SocketDetails;
use crate::error::WireFault;
use crate::event::{self, check_client_event, check_server_event};
use crate::id::{RequestId, Uid};
use crate::json::Object;
use crate::message::{Broadcast, Delivery, Event, Targets};
use crate::operation::Extent;
use crate::opts::{self, Flags, Opts};
use crate::packet::Packet;
use crate::responder::Responder;
use crate::value::{Value, namespace, required};

/// One message of a node of one namespace. A node ignores its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it; answers go to that node's channel.
    pub uid: Uid,
    /// The namespace; it is to be ignored if that is not the channel's.
    pub namespace: NamespaceName,
    /// What it says.
    pub content: Content,
    /// Who says it, of an answer: Node servers do not tell more than their uid.
    pub from: Option<Responder>,
}

/// What a message says. Unlike with the classic adapter, the sender applies everything to its own sockets by
/// itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An event for sockets; with a request id, clients are asked to acknowledge it, every node answers with a
    /// [`ClientCount`](Self::ClientCount) and passes on each [`Acknowledgement`](Self::Acknowledgement).
    Broadcast {
        /// Which sockets.
        targets: Targets,
        /// What happens for clients that are not ready.
        delivery: Delivery,
        /// What they get.
        event: Event,
        /// How it was sent.
        flags: Flags,
        /// What answers have to repeat.
        request_id: Option<RequestId>,
    },
    /// Sockets join rooms.
    Join {
        /// Which sockets.
        targets: Targets,
        /// The rooms.
        rooms: Vec<RoomName>,
        /// Roomcast nodes are to say what became of it.
        report_id: Option<RequestId>,
    },
    /// Sockets leave rooms.
    Leave {
        /// Which sockets.
        targets: Targets,
        /// The rooms.
        rooms: Vec<RoomName>,
        /// As of a join.
        report_id: Option<RequestId>,
    },
    /// Sockets are disconnected.
    Disconnect {
        /// Which sockets.
        targets: Targets,
        /// How far.
        extent: Extent,
        /// As of a join.
        report_id: Option<RequestId>,
    },
    /// Every node answers with [`Sockets`](Self::Sockets).
    Fetch {
        /// Which sockets.
        targets: Targets,
        /// What answers have to repeat.
        request_id: RequestId,
    },
    /// The details of sockets, an answer.
    Sockets {
        /// To which request.
        request_id: RequestId,
        /// The sockets.
        sockets: Vec<SocketDetails>,
    },
    /// An event for the servers themselves; with a request id, every node answers.
    ServerSideEmit {
        /// Its name and arguments.
        event: Event,
        /// What answers have to repeat.
        request_id: Option<RequestId>,
    },
    /// The first argument a server answers an event with.
    ServerSideAnswer {
        /// To which request.
        request_id: RequestId,
        /// The argument.
        argument: Argument,
    },
    /// How many clients will get a broadcast, an answer.
    ClientCount {
        /// To which request.
        request_id: RequestId,
        /// How many.
        count: u64,
    },
    /// The first argument of one client's acknowledgement, an answer.
    Acknowledgement {
        /// To which request.
        request_id: RequestId,
        /// The argument.
        argument: Argument,
        /// Whose it is: Node servers do not tell.
        socket: Option<SocketId>,
    },
}

impl Message {
    /// This message as a broadcast, if it is one.
    pub fn into_broadcast(self) -> Option<Broadcast> {
        match self.content {
            Content::Broadcast { targets, delivery, event, .. } => {
                Some(Broadcast { namespace: self.namespace, targets, delivery, event })
            }
            _ => None,
        }
    }
}

const BROADCAST: u64 = 3;
const SOCKETS_JOIN: u64 = 4;
const SOCKETS_LEAVE: u64 = 5;
const DISCONNECT_SOCKETS: u64 = 6;
const FETCH_SOCKETS: u64 = 7;
const FETCH_SOCKETS_RESPONSE: u64 = 8;
const SERVER_SIDE_EMIT: u64 = 9;
const SERVER_SIDE_EMIT_RESPONSE: u64 = 10;
const BROADCAST_CLIENT_COUNT: u64 = 11;
const BROADCAST_ACK: u64 = 12;

impl Content {
    fn number(&self) -> u64 {
        match self {
            Self::Broadcast { .. } => BROADCAST,
            Self::Join { .. } => SOCKETS_JOIN,
            Self::Leave { .. } => SOCKETS_LEAVE,
            Self::Disconnect { .. } => DISCONNECT_SOCKETS,
            Self::Fetch { .. } => FETCH_SOCKETS,
            Self::Sockets { .. } => FETCH_SOCKETS_RESPONSE,
            Self::ServerSideEmit { .. } => SERVER_SIDE_EMIT,
            Self::ServerSideAnswer { .. } => SERVER_SIDE_EMIT_RESPONSE,
            Self::ClientCount { .. } => BROADCAST_CLIENT_COUNT,
            Self::Acknowledgement { .. } => BROADCAST_ACK,
        }
    }

    /// The attachments of the one value in it that may have some.
    fn attachments(&self) -> &[Bytes] {
        match self {
            Self::Broadcast { event, .. } | Self::ServerSideEmit { event, .. } => &event.attachments,
            Self::ServerSideAnswer { argument, .. } | Self::Acknowledgement { argument, .. } => {
                &argument.attachments
            }
            _ => &[],
        }
    }
}

/// Writes a message byte for byte as `@socket.io/redis-adapter` 8 does.
///
/// # Errors
/// Those of events and other JSON in it: it is none, an event has no name or a reserved one, attachments are named
/// that do not exist.
///
/// Source: Redis adapter, sharded.
pub fn encode(message: &Message) -> Result<Vec<u8>, WireFault> {
    let mut json = Vec::new();
    let mut object = Object::open(&mut json);
    object.plain("type", message.content.number());
    let mut data = Object::open(object.key("data"));
    push_content(&mut data, &message.content)?;
    data.close();
    object.string("uid", message.uid.as_str());
    object.string("nsp", message.namespace.as_str());
    if let Some(from) = &message.from {
        from.push_json(&mut object);
    }
    object.close();

    let attachments = message.content.attachments();
    if attachments.is_empty() {
        return Ok(json);
    }
    // Placeholders can only stand in the one value that has attachments: the rest is names.
    let mut out = Vec::new();
    json_to_msgpack(&mut out, utf8(&json)?, attachments)?;
    Ok(out)
}

fn push_content(data: &mut Object<'_>, content: &Content) -> Result<(), WireFault> {
    match content {
        Content::Broadcast { targets, delivery, event, flags, request_id } => {
            let mut packet = Object::open(data.key("packet"));
            packet.plain("type", PacketKind::Event as u64);
            push_json(packet.key("data"), &event.json)?;
            check_client_event(utf8(&event.json)?)?;
            packet.close();
            push_request_id(data, request_id.as_ref());
            opts::push_json(data.key("opts"), targets, *delivery, flags);
        }
        Content::Join { targets, rooms, report_id } | Content::Leave { targets, rooms, report_id } => {
            push_targets(data, targets, report_id.as_ref());
            opts::push_json_rooms(data.key("rooms"), rooms);
        }
        Content::Disconnect { targets, extent, report_id } => {
            push_targets(data, targets, report_id.as_ref());
            data.plain("close", *extent == Extent::Connection);
        }
        Content::Fetch { targets, request_id } => {
            push_targets(data, targets, None);
            push_request_id(data, Some(request_id));
        }
        Content::Sockets { request_id, sockets } => {
            push_request_id(data, Some(request_id));
            push_sockets(data.key("sockets"), sockets)?;
        }
        Content::ServerSideEmit { event, request_id } => {
            push_request_id(data, request_id.as_ref());
            check_server_event(utf8(&event.json)?)?;
            push_json(data.key("packet"), &event.json)?;
        }
        Content::ServerSideAnswer { request_id, argument } => {
            push_request_id(data, Some(request_id));
            push_json(data.key("packet"), &argument.json)?;
        }
        Content::Acknowledgement { request_id, argument, socket } => {
            push_request_id(data, Some(request_id));
            push_json(data.key("packet"), &argument.json)?;
            if let Some(socket) = socket {
                data.string("socket", socket.as_str());
            }
        }
        Content::ClientCount { request_id, count } => {
            push_request_id(data, Some(request_id));
            data.plain("clientCount", count);
        }
    }
    Ok(())
}

fn push_request_id(data: &mut Object<'_>, request_id: Option<&RequestId>) {
    if let Some(request_id) = request_id {
        data.string("requestId", request_id.as_str());
    }
}

/// Receivers need `opts` whole, with flags, whatever they do with them.
fn push_targets(data: &mut Object<'_>, targets: &Targets, report_id: Option<&RequestId>) {
    let flags = Flags { report_id: report_id.cloned(), ..Flags::default() };
    opts::push_json(data.key("opts"), targets, Delivery::Reliable, &flags);
}

/// Reads a message in either form.
///
/// # Errors
/// [`WireFault`]: the message is to be skipped. [`WireFault::UnknownType`] for the types of other adapters too.
///
/// Source: Redis adapter, sharded.
pub fn decode(message: &[u8], limits: &DecodeLimits) -> Result<Message, WireFault> {
    let (mut kind, mut data, mut uid, mut nsp, mut from) = (None, None, None, None, None);
    Value::of_message(message)?.fields("message", |key, value| {
        match key {
            "type" => kind = value.unsigned(),
            "data" => data = Some(value),
            "uid" => uid = Some(value),
            "nsp" => nsp = Some(value),
            Responder::KEY => from = Responder::decode(value),
            _ => {}
        }
        Ok(())
    })?;
    let uid = required(uid, "uid")?.text().ok_or(WireFault::WrongType("uid"))?;
    let kind = kind.ok_or(WireFault::Missing("type"))?;
    if !(BROADCAST..=BROADCAST_ACK).contains(&kind) {
        return Err(WireFault::UnknownType);
    }
    let mut fields = Fields::default();
    required(data, "data")?.fields("data", |key, value| {
        fields.note(key, value);
        Ok(())
    })?;
    let namespace = namespace(Some(required(nsp, "nsp")?))?;
    Ok(Message { uid: Uid::new(uid), namespace, content: fields.content(kind, limits)?, from })
}

/// The keys that mean something in the `data` of some message.
#[derive(Default)]
struct Fields<'a> {
    packet: Option<Value<'a>>,
    opts: Option<Value<'a>>,
    request_id: Option<Value<'a>>,
    rooms: Option<Value<'a>>,
    close: Option<Value<'a>>,
    sockets: Option<Value<'a>>,
    count: Option<Value<'a>>,
    socket: Option<Value<'a>>,
}

impl<'a> Fields<'a> {
    fn note(&mut self, key: &str, value: Value<'a>) {
        let field = match key {
            // Of an argument, null is the value.
            "packet" => &mut self.packet,
            _ if value.is_nothing() => return,
            "opts" => &mut self.opts,
            "requestId" => &mut self.request_id,
            "rooms" => &mut self.rooms,
            "close" => &mut self.close,
            "sockets" => &mut self.sockets,
            "clientCount" => &mut self.count,
            "socket" => &mut self.socket,
            _ => return,
        };
        *field = Some(value);
    }

    fn content(&self, kind: u64, limits: &DecodeLimits) -> Result<Content, WireFault> {
        Ok(match kind {
            BROADCAST => {
                let Packet { event, .. } = Packet::decode(required(self.packet, "packet")?, limits)?;
                let Opts { targets, delivery, flags } = self.opts()?;
                Content::Broadcast { targets, delivery, event, flags, request_id: self.optional_id()? }
            }
            SOCKETS_JOIN => {
                let Opts { targets, flags: Flags { report_id, .. }, .. } = self.opts()?;
                Content::Join { targets, rooms: self.rooms()?, report_id }
            }
            SOCKETS_LEAVE => {
                let Opts { targets, flags: Flags { report_id, .. }, .. } = self.opts()?;
                Content::Leave { targets, rooms: self.rooms()?, report_id }
            }
            DISCONNECT_SOCKETS => {
                let Opts { targets, flags: Flags { report_id, .. }, .. } = self.opts()?;
                Content::Disconnect { targets, extent: self.extent(), report_id }
            }
            FETCH_SOCKETS => Content::Fetch { targets: self.opts()?.targets, request_id: self.id()? },
            FETCH_SOCKETS_RESPONSE => {
                Content::Sockets { request_id: self.id()?, sockets: self.sockets(limits)? }
            }
            SERVER_SIDE_EMIT => {
                let Argument { json, attachments } = required(self.packet, "packet")?.argument(limits)?;
                event::name(utf8(&json)?)?;
                let event = Event { json, attachments };
                Content::ServerSideEmit { event, request_id: self.optional_id()? }
            }
            SERVER_SIDE_EMIT_RESPONSE => {
                Content::ServerSideAnswer { request_id: self.id()?, argument: self.argument(limits)? }
            }
            BROADCAST_CLIENT_COUNT => {
                let count = required(self.count, "clientCount")?.unsigned();
                let count = count.ok_or(WireFault::WrongType("clientCount"))?;
                Content::ClientCount { request_id: self.id()?, count }
            }
            BROADCAST_ACK => Content::Acknowledgement {
                request_id: self.id()?,
                argument: self.argument(limits)?,
                socket: self.socket.and_then(Value::text).map(SocketId::new),
            },
            _ => return Err(WireFault::UnknownType),
        })
    }

    fn opts(&self) -> Result<Opts, WireFault> {
        Opts::decode(required(self.opts, "opts")?)
    }

    fn rooms(&self) -> Result<Vec<RoomName>, WireFault> {
        required(self.rooms, "rooms")?.rooms("rooms")
    }

    fn extent(&self) -> Extent {
        match self.close.and_then(Value::boolean) {
            Some(true) => Extent::Connection,
            _ => Extent::Namespace,
        }
    }

    fn optional_id(&self) -> Result<Option<RequestId>, WireFault> {
        let text =
            |value: Value<'_>| value.text().map(RequestId::new).ok_or(WireFault::WrongType("requestId"));
        self.request_id.map(text).transpose()
    }

    fn id(&self) -> Result<RequestId, WireFault> {
        self.optional_id()?.ok_or(WireFault::Missing("requestId"))
    }

    /// A missing argument is one that was not given.
    fn argument(&self, limits: &DecodeLimits) -> Result<Argument, WireFault> {
        self.packet.map_or_else(|| Ok(Argument::null()), |packet| packet.argument(limits))
    }

    fn sockets(&self, limits: &DecodeLimits) -> Result<Vec<SocketDetails>, WireFault> {
        let mut sockets = Vec::new();
        required(self.sockets, "sockets")?.elements("sockets", |socket| {
            sockets.push(SocketDetails::decode(socket, limits)?);
            Ok(())
        })?;
        Ok(sockets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_text(text: &str) -> Result<Content, WireFault> {
        decode(text.as_bytes(), &DecodeLimits::default()).map(|message| message.content)
    }

    #[test]
    fn every_part_of_a_message_has_to_be_there() {
        let check = |text, fault| assert_eq!(decode_text(text), Err(fault), "{text}");
        check(r#"{"type":3,"uid":"x","nsp":"/"}"#, WireFault::Missing("data"));
        check(r#"{"type":3,"data":{},"nsp":"/"}"#, WireFault::Missing("uid"));
        check(r#"{"data":{},"uid":"x","nsp":"/"}"#, WireFault::Missing("type"));
        check(r#"{"type":2,"uid":"x","nsp":"/"}"#, WireFault::UnknownType);
        check(r#"{"type":4,"data":{"opts":{},"rooms":["r"]},"uid":"x"}"#, WireFault::Missing("nsp"));
        check(r#"{"type":4,"data":{"rooms":["r"]},"uid":"x","nsp":"/"}"#, WireFault::Missing("opts"));
        check(r#"{"type":7,"data":{"opts":{}},"uid":"x","nsp":"/"}"#, WireFault::Missing("requestId"));
        check(r#"{"type":8,"data":{"requestId":"q"},"uid":"x","nsp":"/"}"#, WireFault::Missing("sockets"));
    }

    #[test]
    fn an_argument_that_was_not_given_is_null() {
        for data in [r#"{"requestId":"q"}"#, r#"{"requestId":"q","packet":null}"#] {
            let content = decode_text(&format!(r#"{{"type":12,"data":{data},"uid":"x","nsp":"/"}}"#));
            let request_id = RequestId::new("q");
            let expected = Content::Acknowledgement { request_id, argument: Argument::null(), socket: None };
            assert_eq!(content, Ok(expected));
        }
    }

    #[test]
    fn a_report_is_asked_for_in_a_flag_that_node_servers_do_not_know() {
        let targets = Targets::default();
        let report_id = Some(RequestId::new("q"));
        for content in [
            Content::Join {
                targets: targets.clone(),
                rooms: vec![RoomName::new("r")],
                report_id: report_id.clone(),
            },
            Content::Leave { targets: targets.clone(), rooms: Vec::new(), report_id: report_id.clone() },
            Content::Disconnect { targets, extent: Extent::Namespace, report_id },
        ] {
            let from = Some(Responder { number: 3, name: "gateway".into() });
            let message = Message { uid: Uid::new("x"), namespace: NamespaceName::main(), content, from };
            let text = String::from_utf8(encode(&message).unwrap()).unwrap();
            assert!(text.contains(r#""flags":{"roomcastReport":"q"}"#), "{text}");
            assert_eq!(decode(text.as_bytes(), &DecodeLimits::default()), Ok(message));
        }
    }

    #[test]
    fn text_that_is_not_json_does_not_get_into_a_message() {
        let argument = Argument { json: Bytes::from_static(b"1},\"uid\":\"y\""), attachments: Vec::new() };
        let content = Content::Acknowledgement { request_id: RequestId::new("q"), argument, socket: None };
        let message = Message { uid: Uid::new("x"), namespace: NamespaceName::main(), content, from: None };
        assert_eq!(encode(&message), Err(WireFault::TrailingBytes));
    }
}
