//! Sockets: connecting to namespaces and leaving them, joining rooms and leaving them.

use std::{borrow::Cow, collections::HashMap, rc::Rc, slice, sync::Arc, time::Instant};

use adapter::{Subscription, Subscriptions, Ticket};
use rooms::{Joined, Left, Registry, SocketKey};
use socketio::{NamespaceName, Protocol, RoomName, SocketId, string_field};

use super::{Namespace, Shard};
use crate::{
    connection::{Held, SocketRef},
    encoded::Encoded,
    handshake::{query_object, query_value},
    io::{ConnectRefusal, Happening, Output},
    policy::Policy,
};

/// How often a fresh random id is drawn before giving up on finding a free one.
const ID_ATTEMPTS: usize = 3;

/// What a client gives to be let into a namespace.
struct Credentials<'a> {
    token: Option<&'a str>,
    /// The whole auth object, as JSON text.
    auth: Option<Cow<'a, str>>,
}

impl Shard {
    /// On revision 3 the server joins `/` by itself; `token` is the handshake's.
    pub(super) fn connect_main_namespace(&mut self, index: u32, token: Option<&str>, now: Instant) {
        if self.connections[index as usize].protocol() == Protocol::V4 {
            self.connect_with(index, "/", Credentials { token, auth: None }, now);
        }
    }

    /// A client asks to connect to a namespace; `data` is its auth object.
    pub(super) fn connect(&mut self, index: u32, name: &str, data: Option<&str>, now: Instant) {
        let protocol = self.connections[index as usize].protocol();
        let (name, query) = split_query(protocol, name);
        // 0.9 and 1.3 have no query but that of their handshake, and 1.3 gives the one of a namespace's URL there.
        let of_handshake = || match protocol {
            Protocol::V4 | Protocol::V1 => {
                self.connections[index as usize].handshake.as_ref()?.query_value("token")
            }
            Protocol::V5 => None,
        };
        let (token, auth) = match (query, data) {
            (Some(query), _) => (query_value(query, "token"), Some(query_object(query).into())),
            (None, Some(auth)) => (string_field(auth, "token"), Some(Cow::Borrowed(auth))),
            (None, None) => (of_handshake(), None),
        };
        self.connect_with(index, name, Credentials { token: token.as_deref(), auth }, now);
    }

    fn connect_with(&mut self, index: u32, name: &str, credentials: Credentials<'_>, now: Instant) {
        let protocol = self.connections[index as usize].protocol();
        match self.socket_in(index, name) {
            // Clients of 0.9 ask again after they were away at the beginning, and wait for the answer.
            Some(_) if protocol == Protocol::V1 => return self.answer_connect(index, name, ""),
            Some(_) => return self.offend(index, "CONNECT to a namespace already joined", now),
            None => {}
        }
        match self.admit(index, name, credentials.token) {
            Ok(policy) => self.connect_admitted(index, name, &policy, credentials.auth),
            Err(refusal) => self.refuse_connect(index, protocol, name, refusal),
        }
    }

    fn admit(&self, index: u32, name: &str, token: Option<&str>) -> Result<Rc<Policy>, ConnectRefusal> {
        let may_exist = name.len() <= usize::from(self.limits.namespace_name_bytes);
        let policy =
            self.policies.find(name).filter(|_| may_exist).ok_or(ConnectRefusal::UnknownNamespace)?;
        let joined = self.connections[index as usize].sockets.len();
        if joined >= usize::from(self.limits.namespaces_per_connection) {
            return Err(ConnectRefusal::TooManyNamespaces);
        }
        if policy.admits(token) { Ok(policy.clone()) } else { Err(ConnectRefusal::NotAuthorized) }
    }

    fn refuse_connect(&mut self, index: u32, protocol: Protocol, name: &str, refusal: ConnectRefusal) {
        let policy = self.policies.find(name);
        let (message, data) = match refusal {
            ConnectRefusal::UnknownNamespace if protocol == Protocol::V4 => {
                ("Invalid namespace", Some(r#"{"message":"Invalid namespace"}"#))
            }
            ConnectRefusal::UnknownNamespace => ("Invalid namespace", None),
            ConnectRefusal::TooManyNamespaces => ("Too many namespaces", None),
            ConnectRefusal::NotAuthorized => {
                ("Not authorized", policy.and_then(|policy| policy.refusal_data.as_deref()))
            }
        };
        let answer = Encoded::packet(|out| {
            out.push(b'4');
            socketio::encode_connect_error(out, protocol, name, message, data);
        });
        self.send(index, Arc::new(answer));
        self.happening(Happening::ConnectRefused(refusal));
    }

    pub(super) fn connect_admitted(
        &mut self,
        index: u32,
        name: &str,
        policy: &Rc<Policy>,
        auth: Option<Cow<'_, str>>,
    ) {
        let namespace = self.namespace(name, policy);
        let Some((socket, id)) = self.add_socket(index, namespace, name) else {
            return self.refuse_connect(
                index,
                self.connections[index as usize].protocol(),
                name,
                ConnectRefusal::NotAuthorized,
            );
        };
        if let Some(auth) = auth.filter(|auth| auth.len() <= self.limits.auth_bytes.into() && auth != "{}") {
            self.namespaces[namespace as usize].auths.insert(socket, auth.into());
        }
        let connection = &mut self.connections[index as usize];
        connection.sockets.push(SocketRef { namespace, socket });
        connection.connect_by = None;
        self.await_subscription(index, namespace, None);
        self.await_subscription(index, namespace, Some(id.as_room()));
        for room in &policy.join {
            self.join(index, SocketRef { namespace, socket }, room);
        }
        self.answer_connect(index, name, id.as_str());
    }

    fn answer_connect(&mut self, index: u32, name: &str, id: &str) {
        let protocol = self.connections[index as usize].protocol();
        let answer = Encoded::packet(|out| {
            out.push(b'4');
            socketio::encode_connect(out, protocol, name, id);
        });
        self.answer_when_in_force(index, answer);
    }

    /// Gives the connection a socket in the namespace, with the id that its revision asks for.
    fn add_socket(&mut self, index: u32, namespace: u32, name: &str) -> Option<(SocketKey, SocketId)> {
        let connection = &self.connections[index as usize];
        let rooms = &mut self.namespaces[namespace as usize].rooms;
        // Clients of Engine.IO 3 compute their ids from the sid: the server has to use the same.
        let derived = match (connection.protocol(), name) {
            (Protocol::V5, _) => None,
            (Protocol::V4 | Protocol::V1, "/") => Some(SocketId::new(connection.sid.as_str())),
            (Protocol::V4 | Protocol::V1, name) => {
                Some(SocketId::new(format!("{name}#{}", connection.sid.as_str())))
            }
        };
        if let Some(id) = derived {
            return rooms.add(id.clone(), index).map(|key| (key, id));
        }
        (0..ID_ATTEMPTS).find_map(|_| {
            let id = SocketId::random(&mut self.rng);
            rooms.add(id.clone(), index).map(|key| (key, id))
        })
    }

    fn namespace(&mut self, name: &str, policy: &Rc<Policy>) -> u32 {
        if let Some(index) = self.find_namespace(name) {
            return index;
        }
        let name = NamespaceName::new(name);
        let namespace = Namespace {
            name: name.clone(),
            policy: policy.clone(),
            rooms: Registry::default(),
            auths: HashMap::new(),
        };
        let index = u32::try_from(self.namespaces.insert(namespace)).expect("fewer namespaces than sockets");
        self.namespace_names.insert(name, index);
        index
    }

    /// The connection's socket in the namespace of this name.
    pub(super) fn socket_in(&self, index: u32, name: &str) -> Option<SocketRef> {
        let sockets = &self.connections[index as usize].sockets;
        sockets
            .iter()
            .find(|socket| self.namespaces[socket.namespace as usize].name.as_str() == name)
            .copied()
    }

    /// A client leaves a namespace. Leaving one that it is not in is no offence.
    pub(super) fn disconnect(&mut self, index: u32, name: &str) {
        let (name, _) = split_query(self.connections[index as usize].protocol(), name);
        let Some(socket) = self.socket_in(index, name) else { return };
        let connection = &mut self.connections[index as usize];
        connection.sockets.retain(|other| *other != socket);
        connection.has_left = true;
        self.end_socket(socket);
    }

    /// All sockets of a connection leave their rooms and namespaces.
    pub(super) fn end_sockets(&mut self, index: u32) {
        for socket in std::mem::take(&mut self.connections[index as usize].sockets) {
            self.end_socket(socket);
        }
    }

    fn end_socket(&mut self, socket: SocketRef) {
        self.forsake_calls(socket);
        let Namespace { rooms, auths, .. } = &mut self.namespaces[socket.namespace as usize];
        if !auths.is_empty() {
            auths.remove(&socket.socket);
        }
        let mut given_up = Vec::new();
        match self.subscriptions {
            Subscriptions::NotNeeded => drop(rooms.remove(socket.socket, |_| ())),
            Subscriptions::Confirmed => {
                let own = rooms.socket(socket.socket).map(|member| member.id.as_room());
                given_up.extend(own.filter(|own| rooms.is_in(socket.socket, own.as_str())));
                rooms.remove(socket.socket, |room| given_up.push(room.clone()));
            }
        }
        let is_last = rooms.is_empty();
        for room in given_up {
            self.unsubscribe(socket.namespace, Some(room));
        }
        if is_last {
            self.unsubscribe(socket.namespace, None);
            let namespace = self.namespaces.remove(socket.namespace as usize);
            self.namespace_names.remove(&namespace.name);
        }
    }

    /// Puts a socket into a room; false if it may not be in any more.
    pub(super) fn join(&mut self, index: u32, socket: SocketRef, room: &RoomName) -> bool {
        let rooms = &mut self.namespaces[socket.namespace as usize].rooms;
        let full = rooms.room_count_of(socket.socket) >= usize::from(self.limits.rooms_per_socket);
        if full && !rooms.is_in(socket.socket, room.as_str()) {
            return false;
        }
        if rooms.join(socket.socket, room) != Joined::Already {
            self.await_subscription(index, socket.namespace, Some(room.clone()));
        }
        true
    }

    pub(super) fn leave(&mut self, socket: SocketRef, room: &str) {
        let namespace = &mut self.namespaces[socket.namespace as usize];
        if namespace.rooms.leave(socket.socket, room) == Left::Last {
            self.unsubscribe(socket.namespace, Some(RoomName::new(room)));
        }
    }

    /// Gives a subscription back that has lost its last member, unless it is still needed: a room that
    /// clients have joined may be named like another socket, whose own room then shares it.
    fn unsubscribe(&mut self, namespace: u32, room: Option<RoomName>) {
        if self.subscriptions == Subscriptions::NotNeeded {
            return;
        }
        let Namespace { name, rooms, .. } = &mut self.namespaces[namespace as usize];
        let has_members = |room| rooms.select(slice::from_ref(room), &[], |_, _| ()).matched > 0;
        if !room.as_ref().is_some_and(has_members) {
            self.outputs.push_back(Output::Unsubscribe(Subscription { namespace: name.clone(), room }));
        }
    }

    /// Makes the connection wait for a subscription, where joins have to wait at all. A further member asks
    /// too: the first one's subscription may not be in force yet.
    fn await_subscription(&mut self, index: u32, namespace: u32, room: Option<RoomName>) {
        if self.subscriptions == Subscriptions::NotNeeded {
            return;
        }
        let connection = &mut self.connections[index as usize];
        connection.held.get_or_insert_default().awaited += 1;
        let ticket = Ticket(u64::from(connection.generation) << 32 | u64::from(index));
        let namespace = self.namespaces[namespace as usize].name.clone();
        self.outputs.push_back(Output::Subscribe(Subscription { namespace, room }, Some(ticket)));
    }

    /// Sends the answer to a packet once everything that the packet caused is in force.
    pub(super) fn answer_when_in_force(&mut self, index: u32, answer: Encoded) {
        let answer = Arc::new(answer);
        match &mut self.connections[index as usize].held {
            Some(held) if held.awaited > 0 => {
                let held: &mut Held = held;
                held.answer = Some(answer);
            }
            _ => self.send(index, answer),
        }
    }
}

/// Clients of revision 3 and before put credentials behind the namespace's name; on revision 5 a query is part of it.
pub(super) fn split_query(protocol: Protocol, name: &str) -> (&str, Option<&str>) {
    match (protocol, name.split_once('?')) {
        (Protocol::V4 | Protocol::V1, Some((name, query))) => (name, Some(query)),
        _ => (name, None),
    }
}
