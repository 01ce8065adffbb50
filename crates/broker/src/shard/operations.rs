//! What back ends and other nodes do with the sockets of this shard.

use std::{collections::BTreeMap, time::Instant};

use adapter::{Action, Extent, Operation, Outcome};
use engineio::CloseReason;
use rooms::SocketKey;
use socketio::RoomName;

use super::Shard;
use crate::{connection::SocketRef, encoded::Encoded};

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
    /// the node still has to make: those connections wait for them as for a join of their own.
    pub fn operate(&mut self, operation: &Operation, now: Instant) -> Outcome {
        let Some(namespace) = self.find_namespace(operation.namespace.as_str()) else {
            return Outcome::default();
        };
        if operation.action == Action::ListRooms {
            return self.list_rooms(namespace);
        }
        let targets = self.targets(namespace, operation);
        for target in &targets {
            match &operation.action {
                Action::Join(rooms) => {
                    for room in rooms {
                        // A socket that is in as many rooms as it may be stays out of further ones.
                        self.join(target.connection, target.socket, room);
                    }
                }
                Action::Leave(rooms) => {
                    rooms.iter().for_each(|room| self.leave(target.socket, room.as_str()))
                }
                Action::Disconnect(extent) => self.disconnect_target(*target, *extent, now),
                Action::Count | Action::ListRooms => {}
            }
        }
        Outcome { matched: u32::try_from(targets.len()).unwrap_or(u32::MAX), rooms: BTreeMap::new() }
    }

    fn targets(&mut self, namespace: u32, operation: &Operation) -> Vec<Target> {
        let mut targets = Vec::new();
        let rooms = &mut self.namespaces[namespace as usize].rooms;
        rooms.select(&operation.targets.rooms, &operation.targets.except, |socket: SocketKey, connection| {
            targets.push(Target { connection, socket: SocketRef { namespace, socket } });
        });
        targets
    }

    fn list_rooms(&self, namespace: u32) -> Outcome {
        let registry = &self.namespaces[namespace as usize].rooms;
        let members = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let rooms: BTreeMap<RoomName, u32> =
            registry.rooms().map(|(room, count)| (room.clone(), members(count))).collect();
        Outcome { matched: members(registry.len()), rooms }
    }

    fn disconnect_target(&mut self, target: Target, extent: Extent, now: Instant) {
        // An earlier target may have been a socket of the same connection.
        let Some(connection) = self.connections.get(target.connection as usize) else { return };
        match extent {
            Extent::Namespace => {
                if connection.sockets.contains(&target.socket) {
                    self.dismiss(target.connection, target.socket);
                }
            }
            Extent::Connection => {
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
