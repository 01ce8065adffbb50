//! The sockets of one namespace on one shard and the rooms they are in, both ways.

use slab::Slab;
use smallvec::SmallVec;
use socketio::{RoomName, SocketId};

use crate::index::Index;
use crate::shrink::{is_worth_shrinking, shrink_after_wave};

/// A socket's place in its [`Registry`]; reused after the socket has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketKey(pub u32);

/// One socket of the namespace.
#[derive(Debug)]
pub struct Member {
    /// Its public id.
    pub id: SocketId,
    /// What the owner of the registry knows it by: the key of its connection.
    pub connection: u32,
    /// The selection that visited it last; see [`crate::select`].
    pub(crate) mark: u32,
    /// Whether it is still in the room of its own id. That room has no entry of its own, since every
    /// socket has one.
    pub(crate) in_own_room: bool,
    joined: SmallVec<[Seat; 2]>,
}

/// A socket's place in one room.
#[derive(Clone, Copy, Debug)]
struct Seat {
    room: u32,
    position: u32,
}

#[derive(Debug)]
pub(crate) struct Room {
    name: RoomName,
    pub(crate) members: Vec<Occupant>,
}

/// A member of a room, with what a broadcast needs of it: walking a room then touches nothing else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occupant {
    pub(crate) socket: SocketKey,
    pub(crate) connection: u32,
}

/// What a join did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// The room had no member here before: the node may have to subscribe to it.
    First,
    /// The room had members.
    Further,
    /// The socket was in it already.
    Already,
}

/// What a leave did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// That was the last member here: the room is gone.
    Last,
    /// Others remain.
    Remaining,
    /// The socket was not in it.
    Never,
}

/// The sockets and rooms of one namespace on one shard.
///
/// A room exists while it has members. Joining and leaving cost the same however many members a room has.
#[derive(Debug, Default)]
pub struct Registry {
    pub(crate) sockets: Slab<Member>,
    ids: Index,
    pub(crate) rooms: Slab<Room>,
    names: Index,
    pub(crate) epoch: u32,
    /// No id has been shorter, so that a shorter room name need not be looked for among the ids.
    pub(crate) id_bytes_min: usize,
}

impl Registry {
    /// Adds a socket, which is then in the room of its own id. `None` if the id is taken.
    pub fn add(&mut self, id: SocketId, connection: u32) -> Option<SocketKey> {
        if self.find(id.as_str()).is_some() {
            return None;
        }
        let shortest = if self.sockets.is_empty() { usize::MAX } else { self.id_bytes_min };
        self.id_bytes_min = shortest.min(id.as_str().len());
        let member = Member { id, connection, mark: 0, in_own_room: true, joined: SmallVec::new() };
        let key = narrow(self.sockets.insert(member));
        let sockets = &self.sockets;
        self.ids.insert(key, |key| sockets[key as usize].id.as_str());
        Some(SocketKey(key))
    }

    /// Takes a socket out of all its rooms and away; `emptied` hears of each room that is gone by that.
    pub fn remove(&mut self, socket: SocketKey, mut emptied: impl FnMut(&RoomName)) -> Option<Member> {
        while let Some(seat) = self.sockets.get(socket.0 as usize)?.joined.last().copied() {
            if let Some(room) = self.vacate(socket, seat) {
                emptied(&room);
            }
        }
        let member = self.sockets.try_remove(socket.0 as usize)?;
        self.ids.remove(socket.0, member.id.as_str());
        Some(member)
    }

    /// The socket with this id.
    pub fn find(&self, id: &str) -> Option<SocketKey> {
        self.ids.find(id, |key| self.sockets[key as usize].id.as_str()).map(SocketKey)
    }

    /// A socket by its key.
    pub fn socket(&self, key: SocketKey) -> Option<&Member> {
        self.sockets.get(key.0 as usize)
    }

    /// How many sockets there are.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether there is no socket.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Puts a socket into a room. Joining its own room after having left it works too.
    pub fn join(&mut self, socket: SocketKey, name: &RoomName) -> Joined {
        let known = self.room(name.as_str());
        let Some(member) = self.sockets.get_mut(socket.0 as usize) else { return Joined::Already };
        let connection = member.connection;
        if member.id.as_str() == name.as_str() {
            let joined = if member.in_own_room { Joined::Already } else { Joined::First };
            member.in_own_room = true;
            return joined;
        }
        if known.is_some_and(|room| self.sits_in(socket, room)) {
            return Joined::Already;
        }
        let room = known.unwrap_or_else(|| self.create(name));
        let members = &mut self.rooms[room as usize].members;
        self.sockets[socket.0 as usize].joined.push(Seat { room, position: narrow(members.len()) });
        members.push(Occupant { socket, connection });
        if known.is_some() { Joined::Further } else { Joined::First }
    }

    /// Takes a socket out of a room; its own room can be left too.
    pub fn leave(&mut self, socket: SocketKey, name: &str) -> Left {
        let room = self.room(name);
        let Some(member) = self.sockets.get_mut(socket.0 as usize) else { return Left::Never };
        if member.id.as_str() == name {
            let left = if member.in_own_room { Left::Last } else { Left::Never };
            member.in_own_room = false;
            return left;
        }
        let Some(seat) = member.joined.iter().find(|seat| Some(seat.room) == room).copied() else {
            return Left::Never;
        };
        if self.vacate(socket, seat).is_some() { Left::Last } else { Left::Remaining }
    }

    /// Whether a socket is in a room.
    pub fn is_in(&self, socket: SocketKey, name: &str) -> bool {
        let Some(member) = self.socket(socket) else { return false };
        if member.id.as_str() == name {
            return member.in_own_room;
        }
        self.room(name).is_some_and(|room| self.sits_in(socket, room))
    }

    /// The rooms a socket has joined, its own not among them, in the order of no promise.
    pub fn rooms_of(&self, socket: SocketKey) -> impl Iterator<Item = &RoomName> {
        let seats = self.socket(socket).map(|member| member.joined.as_slice()).unwrap_or_default();
        seats.iter().map(|seat| &self.rooms[seat.room as usize].name)
    }

    /// How many rooms a socket has joined, its own not counted.
    pub fn room_count_of(&self, socket: SocketKey) -> usize {
        self.socket(socket).map_or(0, |member| member.joined.len())
    }

    /// All rooms with members, private rooms not among them.
    pub fn rooms(&self) -> impl Iterator<Item = (&RoomName, usize)> {
        self.rooms.iter().map(|(_, room)| (&room.name, room.members.len()))
    }

    pub(crate) fn room(&self, name: &str) -> Option<u32> {
        self.names.find(name, |key| self.rooms[key as usize].name.as_str())
    }

    /// Whether a socket is a member of a room. Looks through the shorter of its rooms and the room's members.
    fn sits_in(&self, socket: SocketKey, room: u32) -> bool {
        let seats = &self.sockets[socket.0 as usize].joined;
        let members = &self.rooms[room as usize].members;
        if members.len() < seats.len() {
            members.iter().any(|occupant| occupant.socket == socket)
        } else {
            seats.iter().any(|seat| seat.room == room)
        }
    }

    fn create(&mut self, name: &RoomName) -> u32 {
        let key = narrow(self.rooms.insert(Room { name: name.clone(), members: Vec::new() }));
        let rooms = &self.rooms;
        self.names.insert(key, |key| rooms[key as usize].name.as_str());
        key
    }

    /// Removes `socket` from the room of `seat`; the name of the room if it was the last member.
    fn vacate(&mut self, socket: SocketKey, seat: Seat) -> Option<RoomName> {
        let members = &mut self.rooms[seat.room as usize].members;
        members.swap_remove(seat.position as usize);
        let emptied = members.is_empty();
        if is_worth_shrinking(members.capacity(), members.len()) {
            members.shrink_to(members.len() * 2);
        }
        // The last member took the free place: its seat has to follow.
        if let Some(moved) = members.get(seat.position as usize).copied() {
            let seats = &mut self.sockets[moved.socket.0 as usize].joined;
            if let Some(moved) = seats.iter_mut().find(|other| other.room == seat.room) {
                moved.position = seat.position;
            }
        }
        self.sockets[socket.0 as usize].joined.retain(|other| other.room != seat.room);
        emptied.then(|| {
            let room = self.rooms.remove(seat.room as usize);
            self.names.remove(seat.room, room.name.as_str());
            room.name
        })
    }

    /// Gives back what a past crowd needed; to be called now and then.
    pub fn shrink(&mut self) {
        if is_worth_shrinking(self.ids.capacity(), self.sockets.len()) {
            let sockets = &self.sockets;
            self.ids.shrink(|key| sockets[key as usize].id.as_str());
        }
        if is_worth_shrinking(self.names.capacity(), self.rooms.len()) {
            let rooms = &self.rooms;
            self.names.shrink(|key| rooms[key as usize].name.as_str());
        }
        shrink_after_wave(&mut self.sockets);
        shrink_after_wave(&mut self.rooms);
    }
}

fn narrow(key: usize) -> u32 {
    u32::try_from(key).expect("connections per shard are limited far below 2^32")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(ids: &[&str]) -> (Registry, Vec<SocketKey>) {
        let mut registry = Registry::default();
        let keys = ids.iter().map(|id| registry.add(SocketId::new(id), 0).expect("ids differ")).collect();
        (registry, keys)
    }

    #[test]
    fn a_room_lives_from_its_first_member_to_its_last() {
        let (mut registry, keys) = registry(&["a", "b"]);
        let room = RoomName::new("r");
        assert_eq!(registry.join(keys[0], &room), Joined::First);
        assert_eq!(registry.join(keys[0], &room), Joined::Already);
        assert_eq!(registry.join(keys[1], &room), Joined::Further);
        assert_eq!(registry.leave(keys[0], "r"), Left::Remaining);
        assert_eq!(registry.leave(keys[0], "r"), Left::Never);
        assert_eq!(registry.leave(keys[1], "r"), Left::Last);
        assert_eq!(registry.rooms().count(), 0);
    }

    #[test]
    fn a_socket_is_in_its_own_room_until_it_leaves_it() {
        let (mut registry, keys) = registry(&["a"]);
        assert!(registry.is_in(keys[0], "a"));
        assert_eq!(registry.leave(keys[0], "a"), Left::Last);
        assert!(!registry.is_in(keys[0], "a"));
        assert_eq!(registry.join(keys[0], &RoomName::new("a")), Joined::First);
        assert!(registry.is_in(keys[0], "a"));
    }

    #[test]
    fn removing_a_socket_names_the_rooms_that_go_with_it() {
        let (mut registry, keys) = registry(&["a", "b"]);
        registry.join(keys[0], &RoomName::new("shared"));
        registry.join(keys[1], &RoomName::new("shared"));
        registry.join(keys[0], &RoomName::new("alone"));
        let mut emptied = Vec::new();
        let member = registry.remove(keys[0], |room| emptied.push(room.to_string())).unwrap();
        assert_eq!((member.id.as_str(), emptied), ("a", vec!["alone".to_owned()]));
        assert_eq!(registry.find("a"), None);
        assert!(registry.is_in(keys[1], "shared"));
    }

    #[test]
    fn an_id_is_given_once() {
        let (mut registry, _) = registry(&["a"]);
        assert_eq!(registry.add(SocketId::new("a"), 1), None);
    }
}
