//! Answers to requests: JSON text, or MessagePack for what clients have answered.

use socketio::{DecodeLimits, RoomName, SocketId};

use crate::argument::Argument;
use crate::classic::Dialect;
use crate::classic::request::{SERVER_SIDE_EMIT, request_id};
use crate::convert::{json_to_msgpack, push_json_with_buffers, utf8};
use crate::details::SocketDetails;
use crate::error::WireFault;
use crate::id::RequestId;
use crate::json::{Object, push_string};
use crate::msgpack;
use crate::opts::push_json_rooms;
use crate::responder::Responder;
use crate::value::{Value, required};

const BROADCAST_CLIENT_COUNT: u64 = 8;
const BROADCAST_ACK: u64 = 9;

/// An answer as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The request it belongs to.
    pub request_id: RequestId,
    /// What it says.
    pub answer: Answer,
    /// Who says it: Node servers do not tell.
    pub from: Option<Responder>,
}

/// What a node, or a client of it, answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The ids of sockets. An empty list is read as this, also where details were asked for.
    SocketIds(Vec<SocketId>),
    /// The details of sockets.
    Sockets(Vec<SocketDetails>),
    /// The names of rooms.
    Rooms(Vec<RoomName>),
    /// One socket has joined, left or been disconnected, as an old adapter asked.
    Done,
    /// The first argument a server answers an event with. Written as JSON, where bytes become objects.
    ServerSideEmit(Argument),
    /// How many clients will get a broadcast, and may acknowledge it.
    ClientCount(u64),
    /// The first argument of one client's acknowledgement, and its socket; Node servers do not tell whose it is.
    Acknowledgement(Argument, Option<SocketId>),
    /// To a custom request of socket.io-redis 5.
    Custom(Argument),
}

/// Writes an answer byte for byte as the adapter does that has asked: `@socket.io/redis-adapter` 8 and those
/// back to 6, or socket.io-redis 5; behind that who answers, if it is said, of which adapters take no notice.
///
/// # Errors
/// Those of JSON that it contains: it is none, or names attachments that it does not have.
///
/// Source: Redis adapter, requests and responses; old adapters.
pub fn encode_response(
    request_id: &RequestId,
    dialect: Dialect,
    answer: &Answer,
    from: Option<&Responder>,
) -> Result<Vec<u8>, WireFault> {
    let mut out = Vec::new();
    if let Answer::Acknowledgement(argument, socket) = answer {
        push_acknowledgement(&mut out, request_id, argument, socket.as_ref(), from)?;
        return Ok(out);
    }
    let mut object = Object::open(&mut out);
    match answer {
        Answer::ServerSideEmit(_) => object.plain("type", SERVER_SIDE_EMIT),
        Answer::ClientCount(_) => object.plain("type", BROADCAST_CLIENT_COUNT),
        _ => {}
    }
    let (id_key, ids_key) = match dialect {
        Dialect::Current => ("requestId", "sockets"),
        Dialect::SocketIoRedis5 => ("requestid", "clients"),
    };
    object.string(id_key, request_id.as_str());
    match answer {
        Answer::SocketIds(ids) => push_list(object.key(ids_key), ids, |out, id| {
            push_string(out, id.as_str());
            Ok(())
        })?,
        Answer::Sockets(sockets) => push_sockets(object.key("sockets"), sockets)?,
        Answer::Rooms(rooms) => push_json_rooms(object.key("rooms"), rooms),
        Answer::ServerSideEmit(argument) | Answer::Custom(argument) => {
            push_json_with_buffers(object.key("data"), argument)?;
        }
        Answer::ClientCount(count) => object.plain("clientCount", count),
        // An acknowledgement has been written above.
        Answer::Done | Answer::Acknowledgement(..) => {}
    }
    if let Some(from) = from {
        from.push_json(&mut object);
    }
    object.close();
    Ok(out)
}

fn push_acknowledgement(
    out: &mut Vec<u8>,
    request_id: &RequestId,
    argument: &Argument,
    socket: Option<&SocketId>,
    from: Option<&Responder>,
) -> Result<(), WireFault> {
    let more = usize::from(socket.is_some()) + usize::from(from.is_some());
    msgpack::map(out, 3 + more);
    msgpack::str(out, "type");
    msgpack::unsigned(out, BROADCAST_ACK);
    msgpack::str(out, "requestId");
    msgpack::str(out, request_id.as_str());
    msgpack::str(out, "packet");
    json_to_msgpack(out, utf8(&argument.json)?, &argument.attachments)?;
    if let Some(socket) = socket {
        msgpack::str(out, "socket");
        msgpack::str(out, socket.as_str());
    }
    if let Some(from) = from {
        from.push_msgpack(out);
    }
    Ok(())
}

/// Appends the details of sockets as a JSON array.
pub(crate) fn push_sockets(out: &mut Vec<u8>, sockets: &[SocketDetails]) -> Result<(), WireFault> {
    push_list(out, sockets, |out, socket| socket.push_json(out))
}

fn push_list<T>(
    out: &mut Vec<u8>,
    items: &[T],
    mut push: impl FnMut(&mut Vec<u8>, &T) -> Result<(), WireFault>,
) -> Result<(), WireFault> {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push(out, item)?;
    }
    out.push(b']');
    Ok(())
}

/// Reads an answer of any adapter from 5 to 8, in either form.
///
/// # Errors
/// [`WireFault`]: the answer is to be skipped.
///
/// Source: Redis adapter, requests and responses; old adapters.
pub fn decode_response(message: &[u8], limits: &DecodeLimits) -> Result<Response, WireFault> {
    let (mut id, mut kind) = (None, None);
    let (mut sockets, mut clients, mut rooms) = (None, None, None);
    let (mut data, mut packet, mut count) = (None, None, None);
    let (mut socket, mut from) = (None, None);
    Value::of_message(message)?.fields("response", |key, value| {
        match key {
            "requestId" | "requestid" => id = Some(value),
            "type" => kind = value.unsigned(),
            "sockets" => sockets = Some(value),
            "clients" => clients = Some(value),
            "rooms" => rooms = Some(value),
            "data" => data = Some(value),
            "packet" => packet = Some(value),
            "clientCount" => count = value.unsigned(),
            "socket" => socket = value.text().map(SocketId::new),
            Responder::KEY => from = Responder::decode(value),
            _ => {}
        }
        Ok(())
    })?;
    // What JavaScript leaves out is an argument that was not given.
    let argument =
        |value: Option<Value<'_>>| value.map_or_else(|| Ok(Argument::null()), |value| value.argument(limits));
    let answer = match (kind, sockets.or(clients), rooms, data) {
        (Some(SERVER_SIDE_EMIT), _, _, data) => Answer::ServerSideEmit(argument(data)?),
        (Some(BROADCAST_CLIENT_COUNT), ..) => {
            Answer::ClientCount(count.ok_or(WireFault::Missing("clientCount"))?)
        }
        (Some(BROADCAST_ACK), ..) => Answer::Acknowledgement(argument(packet)?, socket),
        (Some(10..), ..) => return Err(WireFault::UnknownType),
        (_, Some(sockets), ..) => decode_sockets(sockets, limits)?,
        (_, None, Some(rooms), _) => Answer::Rooms(rooms.rooms("rooms")?),
        (_, None, None, Some(data)) => Answer::Custom(argument(Some(data))?),
        (_, None, None, None) => Answer::Done,
    };
    Ok(Response { request_id: request_id(required(id, "requestId")?)?, answer, from })
}

fn decode_sockets(list: Value<'_>, limits: &DecodeLimits) -> Result<Answer, WireFault> {
    let (mut ids, mut sockets) = (Vec::new(), Vec::new());
    list.elements("sockets", |socket| {
        match socket.text() {
            Some(id) => ids.push(SocketId::new(id)),
            None => sockets.push(SocketDetails::decode(socket, limits)?),
        }
        Ok(())
    })?;
    match (ids.is_empty(), sockets.is_empty()) {
        (_, true) => Ok(Answer::SocketIds(ids)),
        (true, false) => Ok(Answer::Sockets(sockets)),
        (false, false) => Err(WireFault::WrongType("sockets")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(message: &str) -> Result<Answer, WireFault> {
        decode_response(message.as_bytes(), &DecodeLimits::default()).map(|response| response.answer)
    }

    #[test]
    fn an_answer_is_known_by_its_keys() {
        assert_eq!(decode(r#"{"requestId":"q"}"#), Ok(Answer::Done));
        assert_eq!(decode(r#"{"requestId":"q","sockets":[]}"#), Ok(Answer::SocketIds(Vec::new())));
        assert_eq!(
            decode(r#"{"requestid":"q","clients":["a"]}"#),
            Ok(Answer::SocketIds(vec![SocketId::new("a")]))
        );
        assert_eq!(decode(r#"{"requestId":"q","rooms":[42]}"#), Ok(Answer::Rooms(vec![RoomName::new("42")])));
        assert_eq!(decode(r#"{"type":6,"requestId":"q"}"#), Ok(Answer::ServerSideEmit(Argument::null())));
        assert_eq!(decode(r#"{"type":8,"requestId":"q"}"#), Err(WireFault::Missing("clientCount")));
        assert_eq!(decode(r#"{"type":42,"requestId":"q"}"#), Err(WireFault::UnknownType));
        assert_eq!(
            decode(r#"{"requestId":"q","sockets":["a",{"id":"b"}]}"#),
            Err(WireFault::WrongType("sockets"))
        );
        assert_eq!(decode("{}"), Err(WireFault::Missing("requestId")));
    }

    #[test]
    fn an_answer_is_written_in_the_words_of_the_asker() {
        let check = |dialect, answer: &Answer, expected: &str| {
            let bytes = encode_response(&RequestId::new("q"), dialect, answer, None).unwrap();
            assert_eq!(std::str::from_utf8(&bytes), Ok(expected));
        };
        let ids = Answer::SocketIds(vec![SocketId::new("a"), SocketId::new("b")]);
        check(Dialect::Current, &ids, r#"{"requestId":"q","sockets":["a","b"]}"#);
        check(Dialect::SocketIoRedis5, &ids, r#"{"requestid":"q","clients":["a","b"]}"#);
        check(Dialect::Current, &Answer::Sockets(Vec::new()), r#"{"requestId":"q","sockets":[]}"#);
        check(Dialect::Current, &Answer::Rooms(Vec::new()), r#"{"requestId":"q","rooms":[]}"#);
        check(Dialect::SocketIoRedis5, &Answer::Done, r#"{"requestid":"q"}"#);
        check(Dialect::SocketIoRedis5, &Answer::Custom(Argument::null()), r#"{"requestid":"q","data":null}"#);
        check(Dialect::Current, &Answer::ClientCount(0), r#"{"type":8,"requestId":"q","clientCount":0}"#);
    }

    #[test]
    fn an_answer_tells_who_gives_it_where_that_is_said() {
        let from = Responder { number: 7, name: "gateway".into() };
        let acknowledgement = Answer::Acknowledgement(Argument::null(), Some(SocketId::new("s")));
        for answer in [Answer::ClientCount(2), Answer::Rooms(Vec::new()), acknowledgement] {
            let id = RequestId::new("q");
            let message = encode_response(&id, Dialect::Current, &answer, Some(&from)).unwrap();
            let expected = Response { request_id: id, answer, from: Some(from.clone()) };
            assert_eq!(decode_response(&message, &DecodeLimits::default()), Ok(expected));
        }
    }
}
