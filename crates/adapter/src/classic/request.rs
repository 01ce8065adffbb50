//! Requests to all nodes of a namespace: JSON text, or MessagePack where an event is inside.

use socketio::{DecodeLimits, NamespaceName, RoomName, SocketId};

use crate::argument::Argument;
use crate::convert::{push_json_with_buffers, utf8};
use crate::error::WireFault;
use crate::event::{self, check_server_event};
use crate::id::{RequestId, Uid};
use crate::json::Object;
use crate::message::{Broadcast, Event, Targets};
use crate::msgpack;
use crate::operation::Extent;
use crate::opts::{self, Flags, Opts};
use crate::packet::{self, Packet};
use crate::value::{Value, required};

/// What nodes of today ask each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The ids of the sockets in any of these rooms; of all, if there are none. No longer sent by Node.
    AllSockets {
        /// The rooms.
        rooms: Vec<RoomName>,
    },
    /// The names of all rooms, those of sockets among them.
    AllRooms,
    /// Sockets join rooms.
    Join {
        /// Which sockets.
        targets: Targets,
        /// The rooms.
        rooms: Vec<RoomName>,
    },
    /// Sockets leave rooms.
    Leave {
        /// Which sockets.
        targets: Targets,
        /// The rooms.
        rooms: Vec<RoomName>,
    },
    /// Sockets are disconnected.
    Disconnect {
        /// Which sockets.
        targets: Targets,
        /// How far.
        extent: Extent,
    },
    /// Details of sockets.
    Fetch {
        /// Which sockets.
        targets: Targets,
    },
    /// An event for the servers themselves; to be answered if the request has an id. In JSON, bytes are
    /// objects: `{"type":"Buffer","data":[…]}`.
    ServerSideEmit(Event),
    /// A broadcast that clients acknowledge.
    Broadcast {
        /// The broadcast; of its flags, `volatile` is not obeyed by Node here.
        broadcast: Broadcast,
        /// How it was sent; the timeout says how long answers matter.
        flags: Flags,
    },
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks. Emitters and adapters before version 7 do not say.
    pub uid: Option<Uid>,
    /// What answers have to repeat.
    pub request_id: Option<RequestId>,
    /// How answers are to be written.
    pub dialect: Dialect,
    /// What is asked for.
    pub asked: Asked,
    /// Who has to answer.
    pub answered_by: AnsweredBy,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// What nodes of today ask. Old adapters name one socket to join, leave or disconnect: its own room is the
    /// target then.
    Command(Command),
    /// The rooms of one socket, wherever it is (socket.io-redis 5 only).
    SocketRooms(SocketId),
    /// Something between applications (socket.io-redis 5 only): a JSON value, to be answered by one, `null`
    /// if nobody knows better.
    Custom(Argument),
}

/// How a request was written, and its answers have to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `requestId`, with the numbers of socket.io-redis 6 and all after it.
    #[default]
    Current,
    /// `requestid`, with the numbers of socket.io-redis 5, for which the asker answers itself too.
    SocketIoRedis5,
}

/// Who has to answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnsweredBy {
    /// Nobody.
    Nobody,
    /// Every node, once, also with nothing: the asker waits for all.
    EveryNode,
    /// Every Roomcast node, with a [`Report`](crate::Report).
    Gateways,
    /// The node that has the socket.
    SocketOwner,
}

/// Writes a request byte for byte as `@socket.io/redis-adapter` 8 does; without a `uid`, as the emitter does.
///
/// A `request_id` with what nobody answers (joins, leaves, disconnections) asks Roomcast nodes for a report; Node
/// servers do the same without it.
///
/// # Errors
/// [`WireFault::Missing`] without a `request_id` where an answer is expected; for events those of
/// [`encode_broadcast`](super::encode_broadcast), and [`WireFault::ReservedEventName`] for what only servers tell
/// themselves.
///
/// Source: Redis adapter, requests and responses.
pub fn encode_request(
    uid: Option<&Uid>,
    request_id: Option<&RequestId>,
    command: &Command,
) -> Result<Vec<u8>, WireFault> {
    if answered_by(command, request_id.is_some()) == AnsweredBy::EveryNode && request_id.is_none() {
        return Err(WireFault::Missing("requestId"));
    }
    let mut out = Vec::new();
    if let Command::Broadcast { broadcast, flags } = command {
        push_msgpack_broadcast(&mut out, uid, request_id, broadcast, flags)?;
        return Ok(out);
    }
    let mut object = Object::open(&mut out);
    if let Some(uid) = uid {
        object.string("uid", uid.as_str());
    }
    let is_answered = answered_by(command, request_id.is_some()) == AnsweredBy::EveryNode;
    if let Some(request_id) = request_id.filter(|_| is_answered) {
        object.string("requestId", request_id.as_str());
    }
    object.plain("type", number(command));
    push_json_command(&mut object, command, request_id.filter(|_| !is_answered))?;
    object.close();
    Ok(out)
}

fn push_json_command(
    object: &mut Object<'_>,
    command: &Command,
    report_id: Option<&RequestId>,
) -> Result<(), WireFault> {
    match command {
        Command::AllSockets { rooms } => opts::push_json_rooms(object.key("rooms"), rooms),
        Command::AllRooms => {}
        Command::Join { targets, rooms } | Command::Leave { targets, rooms } => {
            opts::push_json_targets(object.key("opts"), targets, report_id);
            opts::push_json_rooms(object.key("rooms"), rooms);
        }
        Command::Disconnect { targets, extent } => {
            opts::push_json_targets(object.key("opts"), targets, report_id);
            object.plain("close", *extent == Extent::Connection);
        }
        Command::Fetch { targets } => opts::push_json_targets(object.key("opts"), targets, None),
        Command::ServerSideEmit(event) => {
            let argument = Argument { json: event.json.clone(), attachments: event.attachments.clone() };
            push_json_with_buffers(object.key("data"), &argument)?;
            check_server_event(utf8(&event.json)?)?;
        }
        // Written as MessagePack, never as JSON.
        Command::Broadcast { .. } => return Err(WireFault::WrongForm("request")),
    }
    Ok(())
}

fn push_msgpack_broadcast(
    out: &mut Vec<u8>,
    uid: Option<&Uid>,
    request_id: Option<&RequestId>,
    broadcast: &Broadcast,
    flags: &Flags,
) -> Result<(), WireFault> {
    let start = msgpack::open(out);
    let mut length = 3;
    for (key, id) in [("uid", uid.map(Uid::as_str)), ("requestId", request_id.map(RequestId::as_str))] {
        if let Some(id) = id {
            msgpack::str(out, key);
            msgpack::str(out, id);
            length += 1;
        }
    }
    msgpack::str(out, "type");
    msgpack::unsigned(out, BROADCAST);
    msgpack::str(out, "packet");
    packet::push_msgpack(out, &broadcast.namespace, &broadcast.event)?;
    msgpack::str(out, "opts");
    opts::push_msgpack(out, &broadcast.targets, broadcast.delivery, flags);
    msgpack::close_map(out, start, length);
    Ok(())
}

const SOCKETS: u64 = 0;
const ALL_ROOMS: u64 = 1;
const REMOTE_JOIN: u64 = 2;
const REMOTE_LEAVE: u64 = 3;
const REMOTE_DISCONNECT: u64 = 4;
const REMOTE_FETCH: u64 = 5;
pub(super) const SERVER_SIDE_EMIT: u64 = 6;
const BROADCAST: u64 = 7;

fn number(command: &Command) -> u64 {
    match command {
        Command::AllSockets { .. } => SOCKETS,
        Command::AllRooms => ALL_ROOMS,
        Command::Join { .. } => REMOTE_JOIN,
        Command::Leave { .. } => REMOTE_LEAVE,
        Command::Disconnect { .. } => REMOTE_DISCONNECT,
        Command::Fetch { .. } => REMOTE_FETCH,
        Command::ServerSideEmit(_) => SERVER_SIDE_EMIT,
        Command::Broadcast { .. } => BROADCAST,
    }
}

fn answered_by(command: &Command, has_id: bool) -> AnsweredBy {
    match command {
        Command::Join { .. } | Command::Leave { .. } | Command::Disconnect { .. } => AnsweredBy::Nobody,
        Command::ServerSideEmit(_) if !has_id => AnsweredBy::Nobody,
        _ => AnsweredBy::EveryNode,
    }
}

/// Reads a request of any adapter from 5 to 8 or of an emitter, in either form.
///
/// `namespace` is that of the channel, which counts whatever the packet inside says.
///
/// # Errors
/// [`WireFault`]: the request is to be skipped; [`WireFault::UnknownType`] and [`WireFault::Missing`] too, as nobody
/// could match an answer.
///
/// Source: Redis adapter, requests and responses; old adapters.
pub fn decode_request(
    message: &[u8],
    namespace: &NamespaceName,
    limits: &DecodeLimits,
) -> Result<Request, WireFault> {
    let mut fields = Fields::default();
    Value::of_message(message)?.fields("request", |key, value| {
        fields.note(key, value);
        Ok(())
    })?;
    let dialect = match (fields.request_id, fields.old_request_id) {
        (None, Some(_)) => Dialect::SocketIoRedis5,
        _ => Dialect::Current,
    };
    let kind = required(fields.kind, "type")?.unsigned().ok_or(WireFault::WrongType("type"))?;
    let (asked, answered_by) = match dialect {
        Dialect::Current => fields.asked(kind, namespace, limits)?,
        Dialect::SocketIoRedis5 => fields.asked_by_5(kind, limits)?,
    };
    let request_id = match answered_by {
        AnsweredBy::Gateways => fields.opts()?.flags.report_id,
        _ => fields.request_id.or(fields.old_request_id).map(request_id).transpose()?,
    };
    let answered_by = match (answered_by, &request_id) {
        (AnsweredBy::EveryNode, None) => return Err(WireFault::Missing("requestId")),
        // It is done all the same.
        (AnsweredBy::SocketOwner, None) => AnsweredBy::Nobody,
        _ => answered_by,
    };
    Ok(Request {
        uid: fields.uid.and_then(Value::text).map(Uid::new),
        request_id,
        dialect,
        asked,
        answered_by,
    })
}

/// The id of a request or response.
pub(super) fn request_id(value: Value<'_>) -> Result<RequestId, WireFault> {
    value.text().map(RequestId::new).ok_or(WireFault::WrongType("requestId"))
}

/// The keys that mean something in some request.
#[derive(Default)]
struct Fields<'a> {
    uid: Option<Value<'a>>,
    request_id: Option<Value<'a>>,
    old_request_id: Option<Value<'a>>,
    kind: Option<Value<'a>>,
    rooms: Option<Value<'a>>,
    opts: Option<Value<'a>>,
    sid: Option<Value<'a>>,
    room: Option<Value<'a>>,
    close: Option<Value<'a>>,
    data: Option<Value<'a>>,
    packet: Option<Value<'a>>,
}

impl<'a> Fields<'a> {
    fn note(&mut self, key: &str, value: Value<'a>) {
        let field = match key {
            _ if value.is_nothing() => return,
            "uid" => &mut self.uid,
            "requestId" => &mut self.request_id,
            "requestid" => &mut self.old_request_id,
            "type" => &mut self.kind,
            "rooms" => &mut self.rooms,
            "opts" => &mut self.opts,
            "sid" => &mut self.sid,
            "room" => &mut self.room,
            "close" => &mut self.close,
            "data" => &mut self.data,
            "packet" => &mut self.packet,
            _ => return,
        };
        *field = Some(value);
    }

    fn asked(
        &self,
        kind: u64,
        namespace: &NamespaceName,
        limits: &DecodeLimits,
    ) -> Result<(Asked, AnsweredBy), WireFault> {
        let command = match kind {
            SOCKETS => Command::AllSockets { rooms: self.rooms()? },
            ALL_ROOMS => Command::AllRooms,
            // Without `opts`: socket.io-redis 6, for one socket, whose node answers.
            REMOTE_JOIN | REMOTE_LEAVE | REMOTE_DISCONNECT if self.opts.is_none() => {
                return Ok((Asked::Command(self.for_one_socket(kind)?), AnsweredBy::SocketOwner));
            }
            REMOTE_JOIN => Command::Join { targets: self.targets()?, rooms: self.some_rooms()? },
            REMOTE_LEAVE => Command::Leave { targets: self.targets()?, rooms: self.some_rooms()? },
            REMOTE_DISCONNECT => Command::Disconnect { targets: self.targets()?, extent: self.extent() },
            REMOTE_FETCH => Command::Fetch { targets: self.targets()? },
            SERVER_SIDE_EMIT => Command::ServerSideEmit(self.server_event(limits)?),
            BROADCAST => self.broadcast(namespace, limits)?,
            _ => return Err(WireFault::UnknownType),
        };
        let answered_by = match answered_by(&command, self.request_id.is_some()) {
            AnsweredBy::Nobody if self.opts.is_some() && self.opts()?.flags.report_id.is_some() => {
                AnsweredBy::Gateways
            }
            answered_by => answered_by,
        };
        Ok((Asked::Command(command), answered_by))
    }

    /// The numbers of socket.io-redis 5 collide with those of today: its 4 is a leave, not a disconnection.
    fn asked_by_5(&self, kind: u64, limits: &DecodeLimits) -> Result<(Asked, AnsweredBy), WireFault> {
        Ok(match kind {
            0 => (Asked::Command(Command::AllSockets { rooms: self.rooms()? }), AnsweredBy::EveryNode),
            1 => (Asked::SocketRooms(self.sid()?), AnsweredBy::SocketOwner),
            2 => (Asked::Command(Command::AllRooms), AnsweredBy::EveryNode),
            3 => (Asked::Command(self.for_one_socket(REMOTE_JOIN)?), AnsweredBy::SocketOwner),
            4 => (Asked::Command(self.for_one_socket(REMOTE_LEAVE)?), AnsweredBy::SocketOwner),
            5 => {
                let data = self.data.map_or_else(|| Ok(Argument::null()), |data| data.argument(limits))?;
                (Asked::Custom(data), AnsweredBy::EveryNode)
            }
            6 => (Asked::Command(self.for_one_socket(REMOTE_DISCONNECT)?), AnsweredBy::SocketOwner),
            _ => return Err(WireFault::UnknownType),
        })
    }

    fn for_one_socket(&self, kind: u64) -> Result<Command, WireFault> {
        let targets = Targets { rooms: vec![self.sid()?.as_room()], except: Vec::new() };
        let rooms = || {
            let room = required(self.room, "room")?.room().ok_or(WireFault::WrongType("room"))?;
            Ok(vec![room])
        };
        Ok(match kind {
            REMOTE_JOIN => Command::Join { targets, rooms: rooms()? },
            REMOTE_LEAVE => Command::Leave { targets, rooms: rooms()? },
            _ => Command::Disconnect { targets, extent: self.extent() },
        })
    }

    fn sid(&self) -> Result<SocketId, WireFault> {
        required(self.sid, "sid")?.text().map(SocketId::new).ok_or(WireFault::WrongType("sid"))
    }

    /// Rooms that may be missing, which is none.
    fn rooms(&self) -> Result<Vec<RoomName>, WireFault> {
        self.rooms.map_or_else(|| Ok(Vec::new()), |rooms| rooms.rooms("rooms"))
    }

    fn some_rooms(&self) -> Result<Vec<RoomName>, WireFault> {
        required(self.rooms, "rooms")?.rooms("rooms")
    }

    fn opts(&self) -> Result<Opts, WireFault> {
        Opts::decode(required(self.opts, "opts")?)
    }

    fn targets(&self) -> Result<Targets, WireFault> {
        self.opts().map(|opts| opts.targets)
    }

    fn extent(&self) -> Extent {
        match self.close.and_then(Value::boolean) {
            Some(true) => Extent::Connection,
            _ => Extent::Namespace,
        }
    }

    fn server_event(&self, limits: &DecodeLimits) -> Result<Event, WireFault> {
        let Argument { json, attachments } = required(self.data, "data")?.argument(limits)?;
        event::name(utf8(&json)?)?;
        Ok(Event { json, attachments })
    }

    fn broadcast(&self, namespace: &NamespaceName, limits: &DecodeLimits) -> Result<Command, WireFault> {
        let Packet { event, .. } = Packet::decode(required(self.packet, "packet")?, limits)?;
        let Opts { targets, delivery, flags } = self.opts()?;
        let broadcast = Broadcast { namespace: namespace.clone(), targets, delivery, event };
        Ok(Command::Broadcast { broadcast, flags })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn decode(message: &str) -> Result<Request, WireFault> {
        decode_request(message.as_bytes(), &NamespaceName::new("/chat"), &DecodeLimits::default())
    }

    fn one(room: &str) -> Targets {
        Targets { rooms: vec![RoomName::new(room)], except: Vec::new() }
    }

    #[test]
    fn the_spelling_of_the_id_decides_what_a_number_means() {
        let leave = Command::Leave { targets: one("s"), rooms: vec![RoomName::new("r")] };
        let request = decode(r#"{"requestid":"q","type":4,"sid":"s","room":"r"}"#).unwrap();
        assert_eq!(request.asked, Asked::Command(leave));
        assert_eq!(request.dialect, Dialect::SocketIoRedis5);
        assert_eq!(request.answered_by, AnsweredBy::SocketOwner);
        let request = decode(r#"{"requestId":"q","type":4,"sid":"s","room":"r"}"#).unwrap();
        let disconnect = Command::Disconnect { targets: one("s"), extent: Extent::Namespace };
        assert_eq!(request.asked, Asked::Command(disconnect));
        assert_eq!(request.dialect, Dialect::Current);
    }

    #[test]
    fn who_answers_follows_from_form_and_id() {
        let check = |message, expected| {
            assert_eq!(decode(message).map(|request| request.answered_by), expected, "{message}")
        };
        check(r#"{"requestId":"q","type":1}"#, Ok(AnsweredBy::EveryNode));
        check(r#"{"type":1}"#, Err(WireFault::Missing("requestId")));
        check(r#"{"type":6,"data":["e"]}"#, Ok(AnsweredBy::Nobody));
        check(r#"{"requestId":"q","type":6,"data":["e"]}"#, Ok(AnsweredBy::EveryNode));
        check(r#"{"requestId":"q","type":2,"opts":{},"rooms":["r"]}"#, Ok(AnsweredBy::Nobody));
        check(r#"{"type":4,"opts":{"flags":{"roomcastReport":"q"}},"close":true}"#, Ok(AnsweredBy::Gateways));
        check(r#"{"requestId":"q","type":2,"sid":"s","room":7}"#, Ok(AnsweredBy::SocketOwner));
        check(r#"{"type":2,"sid":"s","room":"r"}"#, Ok(AnsweredBy::Nobody));
        check(r#"{"requestId":"q","type":2,"room":"r"}"#, Err(WireFault::Missing("sid")));
        check(r#"{"requestId":"q","type":2,"opts":{}}"#, Err(WireFault::Missing("rooms")));
        check(r#"{"requestId":"q","type":5}"#, Err(WireFault::Missing("opts")));
        check(r#"{"requestId":5,"type":1}"#, Err(WireFault::WrongType("requestId")));
        check(r#"{"requestId":"q","type":42}"#, Err(WireFault::UnknownType));
    }

    #[test]
    fn roomcast_nodes_alone_are_asked_to_report_what_nobody_answers() {
        let command = Command::Disconnect { targets: one("r"), extent: Extent::Connection };
        let message = encode_request(Some(&Uid::new("u")), Some(&RequestId::new("q")), &command).unwrap();
        let message = String::from_utf8(message).unwrap();
        let opts = r#"{"rooms":["r"],"except":[],"flags":{"roomcastReport":"q"}}"#;
        assert_eq!(message, format!(r#"{{"uid":"u","type":4,"opts":{opts},"close":true}}"#));
        let request = decode(&message).unwrap();
        assert_eq!(request.asked, Asked::Command(command));
        assert_eq!(request.request_id, Some(RequestId::new("q")));
    }

    #[test]
    fn the_namespace_of_the_channel_counts() {
        let message = r#"{"requestId":"q","type":7,"packet":{"type":2,"data":["e"],"nsp":"/x"},"opts":{}}"#;
        let Asked::Command(Command::Broadcast { broadcast, .. }) = decode(message).unwrap().asked else {
            panic!("not a broadcast");
        };
        assert_eq!(broadcast.namespace, NamespaceName::new("/chat"));
    }

    #[test]
    fn events_that_servers_tell_themselves_are_not_sent() {
        let encode = |json: &'static str| {
            let event = Event { json: Bytes::from_static(json.as_bytes()), attachments: Vec::new() };
            encode_request(None, None, &Command::ServerSideEmit(event))
        };
        assert_eq!(encode("[\"connection\",{}]"), Err(WireFault::ReservedEventName("connection")));
        assert_eq!(encode("{}"), Err(WireFault::EventName));
        assert_eq!(encode("[\"e\"],\"uid\":[1]"), Err(WireFault::TrailingBytes));
        assert_eq!(encode("[\"e\"]").unwrap(), br#"{"type":6,"data":["e"]}"#);
        assert_eq!(encode_request(None, None, &Command::AllRooms), Err(WireFault::Missing("requestId")));
    }
}
