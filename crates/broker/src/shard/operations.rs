//! What back ends and other nodes do with the sockets of this shard.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use adapter::{Action, Extent, Handshake, Operation, Outcome, RoomKinds, SocketDetails, Targets};
use bytes::Bytes;
use engineio::CloseReason;
use rooms::SocketKey;
use socketio::{Protocol, RoomName, SocketId};

use super::{Namespace, Shard};
use crate::{connection::SocketRef, encoded::Encoded, io::ConnectionKey};

/// A socket that an operation is for, with its connection.
#[derive(Clone, Copy)]
struct Target {
    connection: u32,
    socket: SocketRef,
}

impl Shard {
    /// Does something with the sockets here that the operation's targets name, and says how many they are.
    ///
    /// A room that the operation makes sockets join is in force when this returns, but for subscriptions that
    /// the node still has to make: those connections wait for them as for a join of their own, and are named by
    /// [`Self::take_awaiting`].
    pub fn operate(&mut self, operation: &Operation, now: Instant) -> Outcome {
        self.awaiting.clear();
        let Some(namespace) = self.find_namespace(operation.namespace.as_str()) else {
            return Outcome::default();
        };
        if let Action::ListRooms(kinds) = operation.action {
            return self.list_rooms(namespace, kinds);
        }
        let targets = self.targets(namespace, &operation.targets);
        let mut outcome = Outcome { matched: count(targets.len()), ..Outcome::default() };
        for target in &targets {
            match &operation.action {
                Action::Join(rooms) => {
                    for room in rooms {
                        // A socket that is in as many rooms as it may be stays out of further ones.
                        self.join(target.connection, target.socket, room);
                    }
                    let generation = self.connections[target.connection as usize].generation;
                    let key = ConnectionKey { index: target.connection, generation };
                    if self.is_awaiting(key) {
                        self.awaiting.push(key);
                    }
                }
                Action::Leave(rooms) => {
                    rooms.iter().for_each(|room| self.leave(target.socket, room.as_str()))
                }
                Action::Disconnect(extent) => self.disconnect_target(*target, *extent, now),
                Action::Identify => outcome.ids.extend(self.id_of(target.socket).cloned()),
                Action::Fetch => outcome.sockets.extend(self.details(*target)),
                Action::Count | Action::ListRooms(_) => {}
            }
        }
        outcome
    }

    /// The connections that wait for what the last [`Self::operate`] made their sockets join.
    pub fn take_awaiting(&mut self) -> Vec<ConnectionKey> {
        std::mem::take(&mut self.awaiting)
    }

    /// Whether a connection waits for subscriptions; one that is gone does not.
    pub fn is_awaiting(&self, key: ConnectionKey) -> bool {
        let held = self.index_of(key).and_then(|index| self.connections[index as usize].held.as_ref());
        held.is_some_and(|held| held.awaited > 0)
    }

    fn targets(&mut self, namespace: u32, targets: &Targets) -> Vec<Target> {
        let mut found = Vec::new();
        let rooms = &mut self.namespaces[namespace as usize].rooms;
        rooms.select(&targets.rooms, &targets.except, |socket: SocketKey, connection| {
            found.push(Target { connection, socket: SocketRef { namespace, socket } });
        });
        found
    }

    /// The public id of a socket.
    pub(super) fn id_of(&self, socket: SocketRef) -> Option<&SocketId> {
        self.namespaces[socket.namespace as usize].rooms.socket(socket.socket).map(|member| &member.id)
    }

    fn details(&self, target: Target) -> Option<SocketDetails> {
        let Namespace { rooms: registry, auths, .. } = &self.namespaces[target.socket.namespace as usize];
        let id = self.id_of(target.socket)?;
        let own = Some(id.as_room()).filter(|own| registry.is_in(target.socket.socket, own.as_str()));
        let auth = auths.get(&target.socket.socket).map_or("{}", |auth| &**auth);
        Some(SocketDetails {
            id: id.clone(),
            handshake: match &self.connections.get(target.connection as usize)?.handshake {
                Some(handshake) => handshake.of_socket(auth),
                None => Handshake { auth: Bytes::copy_from_slice(auth.as_bytes()), ..Handshake::default() },
            },
            rooms: own.into_iter().chain(registry.rooms_of(target.socket.socket).cloned()).collect(),
            data: Bytes::from_static(b"{}"),
            node: Arc::default(),
        })
    }

    fn list_rooms(&mut self, namespace: u32, kinds: RoomKinds) -> Outcome {
        let registry = &self.namespaces[namespace as usize].rooms;
        let mut rooms: BTreeMap<RoomName, u32> =
            registry.rooms().map(|(room, members)| (room.clone(), count(members))).collect();
        let matched = count(registry.len());
        if kinds == RoomKinds::All {
            for target in self.targets(namespace, &Targets::default()) {
                let registry = &self.namespaces[namespace as usize].rooms;
                let own = self.id_of(target.socket).map(SocketId::as_room);
                // A socket may have left its own room; and others may have joined it.
                if let Some(own) = own.filter(|own| registry.is_in(target.socket.socket, own.as_str())) {
                    *rooms.entry(own).or_default() += 1;
                }
            }
        }
        Outcome { matched, rooms, ..Outcome::default() }
    }

    fn disconnect_target(&mut self, target: Target, extent: Extent, now: Instant) {
        // An earlier target may have been a socket of the same connection.
        let Some(connection) = self.connections.get(target.connection as usize) else { return };
        // Without `/` there is no session of 0.9.
        let is_all = connection.protocol() == Protocol::V1
            && self.namespaces[target.socket.namespace as usize].name.as_str() == "/";
        match extent {
            Extent::Namespace if !is_all => {
                if connection.sockets.contains(&target.socket) {
                    self.dismiss(target.connection, target.socket);
                }
            }
            Extent::Namespace | Extent::Connection => {
                // Clients reconnect by themselves unless each of their sockets has been told.
                for socket in connection.sockets.clone() {
                    self.dismiss(target.connection, socket);
                }
                self.close(target.connection, CloseReason::ForcedClose, now);
            }
        }
    }

    /// Tells a client that a socket of its is disconnected, and ends the socket.
    fn dismiss(&mut self, connection: u32, socket: SocketRef) {
        let name = self.namespaces[socket.namespace as usize].name.clone();
        let packet = Encoded::packet(|out| {
            out.push(b'4');
            socketio::encode_disconnect(out, name.as_str());
        });
        self.send(connection, packet.into());
        self.disconnect(connection, name.as_str());
    }
}

fn count(things: usize) -> u32 {
    u32::try_from(things).unwrap_or(u32::MAX)
}
