//! What a node tells about a socket that another one asks for.

use std::sync::Arc;

use bytes::Bytes;
use socketio::{DecodeLimits, RoomName, SocketId};

use crate::argument::Argument;
use crate::convert::{push_json, push_json_with_buffers};
use crate::error::WireFault;
use crate::json::Object;
use crate::opts::push_json_rooms;
use crate::value::{Value, required};

/// One socket, as `fetchSockets` returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketDetails {
    /// Its id.
    pub id: SocketId,
    /// How its client connected.
    pub handshake: Handshake,
    /// The rooms it is in, its own among them.
    pub rooms: Vec<RoomName>,
    /// What the application keeps with it: JSON text, `{}` if nothing. Bytes in it are
    /// `{"type":"Buffer","data":[…]}`.
    pub data: Bytes,
    /// The name of the node that holds it, empty if it does not say. It is said once for an answer, not of each
    /// socket in it: whoever takes the answer in writes it here.
    pub node: Arc<str>,
}

/// How a client connected, in the words of Socket.IO. Parts that senders leave out are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// JSON object of the HTTP headers, names in lower case.
    pub headers: Bytes,
    /// The time as JavaScript prints dates: `Sat Nov 21 2026 02:00:51 GMT+0000 (Coordinated Universal Time)`.
    pub time: String,
    /// The client's address, without its port.
    pub address: String,
    /// Whether the page came from another origin.
    pub xdomain: bool,
    /// Whether the connection was TLS.
    pub secure: bool,
    /// The same time in ms since 1970.
    pub issued_ms: u64,
    /// Path and query of the first request.
    pub url: String,
    /// JSON object of the query.
    pub query: Bytes,
    /// JSON object that the client authenticated with.
    pub auth: Bytes,
}

impl Default for Handshake {
    fn default() -> Self {
        let empty = Bytes::from_static(b"{}");
        Self {
            headers: empty.clone(),
            time: String::new(),
            address: String::new(),
            xdomain: false,
            secure: false,
            issued_ms: 0,
            url: String::new(),
            query: empty.clone(),
            auth: empty,
        }
    }
}

impl SocketDetails {
    pub(crate) fn decode(value: Value<'_>, limits: &DecodeLimits) -> Result<Self, WireFault> {
        let (mut id, mut handshake, mut rooms) = (None, Handshake::default(), Vec::new());
        let mut data = Bytes::from_static(b"{}");
        value.fields("socket", |key, value| {
            match key {
                _ if value.is_nothing() => {}
                "id" => id = Some(value),
                "handshake" => handshake = Handshake::decode(value, limits)?,
                "rooms" => rooms = value.rooms("rooms")?,
                "data" => data = raw_json(value, limits)?,
                _ => {}
            }
            Ok(())
        })?;
        let id = required(id, "id")?.text().ok_or(WireFault::WrongType("id"))?;
        Ok(Self { id: SocketId::new(id), handshake, rooms, data, node: Arc::default() })
    }

    /// Appends the object as JSON, keys in the order of the adapters.
    pub(crate) fn push_json(&self, out: &mut Vec<u8>) -> Result<(), WireFault> {
        let mut object = Object::open(out);
        object.string("id", self.id.as_str());
        self.handshake.push_json(object.key("handshake"))?;
        push_json_rooms(object.key("rooms"), &self.rooms);
        push_json(object.key("data"), &self.data)?;
        object.close();
        Ok(())
    }
}

impl Handshake {
    fn decode(value: Value<'_>, limits: &DecodeLimits) -> Result<Self, WireFault> {
        let mut handshake = Self::default();
        value.fields("handshake", |key, value| {
            let text = || value.text().unwrap_or_default().into_owned();
            match key {
                _ if value.is_nothing() => {}
                "headers" => handshake.headers = raw_json(value, limits)?,
                "time" => handshake.time = text(),
                "address" => handshake.address = text(),
                "xdomain" => handshake.xdomain = value.boolean() == Some(true),
                "secure" => handshake.secure = value.boolean() == Some(true),
                "issued" => handshake.issued_ms = value.unsigned().unwrap_or_default(),
                "url" => handshake.url = text(),
                "query" => handshake.query = raw_json(value, limits)?,
                "auth" => handshake.auth = raw_json(value, limits)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(handshake)
    }

    fn push_json(&self, out: &mut Vec<u8>) -> Result<(), WireFault> {
        let mut object = Object::open(out);
        push_json(object.key("headers"), &self.headers)?;
        object.string("time", &self.time);
        object.string("address", &self.address);
        object.plain("xdomain", self.xdomain);
        object.plain("secure", self.secure);
        object.plain("issued", self.issued_ms);
        object.string("url", &self.url);
        push_json(object.key("query"), &self.query)?;
        push_json(object.key("auth"), &self.auth)?;
        object.close();
        Ok(())
    }
}

/// Any value as JSON text, bytes in it as `JSON.stringify` writes them.
fn raw_json(value: Value<'_>, limits: &DecodeLimits) -> Result<Bytes, WireFault> {
    let argument: Argument = value.argument(limits)?;
    if argument.attachments.is_empty() {
        return Ok(argument.json);
    }
    let mut out = Vec::new();
    push_json_with_buffers(&mut out, &argument)?;
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(message: &[u8]) -> Result<SocketDetails, WireFault> {
        SocketDetails::decode(Value::of_message(message)?, &DecodeLimits::default())
    }

    #[test]
    fn only_the_id_has_to_be_there() {
        let details = decode(br#"{"id":"a","rooms":null,"handshake":{"time":5,"zzz":1}}"#).unwrap();
        assert_eq!(details.id, SocketId::new("a"));
        assert_eq!(details.handshake, Handshake::default());
        assert_eq!(&details.data[..], b"{}");
        assert_eq!(decode(b"{}"), Err(WireFault::Missing("id")));
        assert_eq!(decode(br#"{"id":7}"#), Err(WireFault::WrongType("id")));
    }

    #[test]
    fn bytes_in_the_data_of_a_socket_become_buffers_in_json() {
        let message =
            [&[0x82, 0xa2][..], b"id", &[0xa1, b'a', 0xa4], b"data", &[0x81, 0xa1, b'b', 0xc4, 1, 7]];
        let details = decode(&message.concat()).unwrap();
        assert_eq!(&details.data[..], br#"{"b":{"type":"Buffer","data":[7]}}"#);
    }

    #[test]
    fn text_that_is_not_json_does_not_get_into_a_message() {
        let mut details = decode(br#"{"id":"a"}"#).unwrap();
        details.data = Bytes::from_static(b"1},{\"id\":2");
        assert!(details.push_json(&mut Vec::new()).is_err());
    }
}
