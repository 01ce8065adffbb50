//! Whom a broadcast reaches: the union of its rooms minus the union of its exceptions, each socket once.

use socketio::RoomName;

use crate::registry::{Member, Registry, SocketKey};

/// How many sockets a selection found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Sockets visited.
    pub matched: u32,
}

impl Registry {
    /// Visits each socket, with its connection, that is in one of `rooms` (or in the namespace, if `rooms` is empty) and in none
    /// of `except`, once.
    ///
    /// Sockets seen are marked with the number of the selection, so nothing is allocated, and a broadcast
    /// to one room without exceptions walks the room's members and nothing else.
    pub fn select(
        &mut self,
        rooms: &[RoomName],
        except: &[RoomName],
        mut visit: impl FnMut(SocketKey, u32),
    ) -> Selection {
        let mut matched = 0;
        let mut visit = |key, connection| {
            matched += 1;
            visit(key, connection);
        };
        match (rooms, except) {
            ([], []) => {
                self.sockets.iter().for_each(|(key, member)| visit(key_of(key), member.connection));
            }
            ([room], []) => self.visit_room(room.as_str(), visit),
            _ => self.visit_union(rooms, except, visit),
        }
        Selection { matched }
    }

    fn visit_room(&self, name: &str, mut visit: impl FnMut(SocketKey, u32)) {
        if let Some(room) = self.room(name) {
            for occupant in &self.rooms[room as usize].members {
                visit(occupant.socket, occupant.connection);
            }
        }
        if let Some((key, member)) = self.own_room(name) {
            visit(key, member.connection);
        }
    }

    fn visit_union(
        &mut self,
        rooms: &[RoomName],
        except: &[RoomName],
        mut visit: impl FnMut(SocketKey, u32),
    ) {
        let epoch = self.next_epoch();
        for name in except {
            self.mark_room(name.as_str(), epoch, |_, _| ());
        }
        if rooms.is_empty() {
            let unmarked = self.sockets.iter().filter(|(_, member)| member.mark != epoch);
            unmarked.for_each(|(key, member)| visit(key_of(key), member.connection));
        }
        for name in rooms {
            self.mark_room(name.as_str(), epoch, &mut visit);
        }
    }

    /// Marks the members of a room with `epoch`, and visits those that had another mark.
    fn mark_room(&mut self, name: &str, epoch: u32, mut visit: impl FnMut(SocketKey, u32)) {
        let own = self.own_room(name).map(|(key, _)| key);
        let room = self.room(name);
        let members = room.map(|room| self.rooms[room as usize].members.as_slice()).unwrap_or_default();
        for key in members.iter().map(|occupant| occupant.socket).chain(own) {
            let member = &mut self.sockets[key.0 as usize];
            if member.mark != epoch {
                member.mark = epoch;
                visit(key, member.connection);
            }
        }
    }

    fn own_room(&self, name: &str) -> Option<(SocketKey, &Member)> {
        if name.len() < self.id_bytes_min {
            return None;
        }
        let key = self.find(name)?;
        self.socket(key).filter(|member| member.in_own_room).map(|member| (key, member))
    }

    fn next_epoch(&mut self) -> u32 {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            // After 2^32 selections old marks could be taken for new ones.
            self.sockets.iter_mut().for_each(|(_, member)| member.mark = 0);
            self.epoch = 1;
        }
        self.epoch
    }
}

fn key_of(key: usize) -> SocketKey {
    SocketKey(u32::try_from(key).expect("slab keys were made from u32"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use socketio::SocketId;

    use super::*;

    fn reached(registry: &mut Registry, rooms: &[&str], except: &[&str]) -> Vec<String> {
        let names = |names: &[&str]| names.iter().map(RoomName::new).collect::<Vec<_>>();
        let mut keys = Vec::new();
        let selection = registry.select(&names(rooms), &names(except), |key, _| keys.push(key));
        assert_eq!(selection.matched as usize, keys.len());
        let mut ids: Vec<String> =
            keys.into_iter().map(|key| registry.socket(key).unwrap().id.to_string()).collect();
        ids.sort();
        ids
    }

    /// Sockets a to d; r1 has a and b, r2 has b and c; d is in no room.
    fn registry() -> Registry {
        let mut registry = Registry::default();
        for (id, rooms) in [("a", &["r1"][..]), ("b", &["r1", "r2"]), ("c", &["r2"]), ("d", &[])] {
            let key = registry.add(SocketId::new(id), 0).unwrap();
            for room in rooms {
                registry.join(key, &RoomName::new(room));
            }
        }
        registry
    }

    #[test]
    fn targets_are_a_union_minus_exceptions() {
        for (rooms, except, expected) in [
            (&[][..], &[][..], &["a", "b", "c", "d"][..]),
            (&["r1"], &[], &["a", "b"]),
            (&["r1", "r2"], &[], &["a", "b", "c"]),
            (&["r1", "r1"], &[], &["a", "b"]),
            (&["r1", "r2"], &["b"], &["a", "c"]),
            (&[], &["r1"], &["c", "d"]),
            (&["r1"], &["r2"], &["a"]),
            (&["d"], &[], &["d"]),
            (&["d", "r1"], &["d"], &["a", "b"]),
            (&["nobody"], &[], &[]),
            (&["nobody", "r2"], &["nobody"], &["b", "c"]),
        ] {
            let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
            assert_eq!(reached(&mut registry(), rooms, except), expected, "{rooms:?} except {except:?}");
        }
    }

    #[test]
    fn an_own_room_that_was_left_reaches_nobody_and_excepts_nobody() {
        let mut registry = registry();
        let key = registry.find("a").unwrap();
        registry.leave(key, "a");
        assert_eq!(reached(&mut registry, &["a"], &[]), Vec::<String>::new());
        assert_eq!(reached(&mut registry, &["r1"], &["a"]), ["a", "b"]);
    }

    #[test]
    fn a_room_named_like_a_socket_has_both_as_members() {
        let mut registry = registry();
        let key = registry.find("a").unwrap();
        registry.join(key, &RoomName::new("d"));
        assert_eq!(reached(&mut registry, &["d"], &[]), ["a", "d"]);
    }

    #[test]
    fn marks_survive_the_end_of_their_numbers() {
        let mut registry = registry();
        registry.epoch = u32::MAX - 1;
        for _ in 0..4 {
            assert_eq!(reached(&mut registry, &["r1", "r2"], &[]), ["a", "b", "c"]);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(u8),
        Remove(u8),
        Join(u8, u8),
        Leave(u8, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let id = 0..6_u8;
        let room = 0..4_u8;
        prop_oneof![
            id.clone().prop_map(Step::Add),
            id.clone().prop_map(Step::Remove),
            (id.clone(), room.clone()).prop_map(|(id, room)| Step::Join(id, room)),
            (id, room).prop_map(|(id, room)| Step::Leave(id, room)),
        ]
    }

    proptest! {
        #[test]
        fn any_history_selects_what_sets_would(steps in prop::collection::vec(step(), 0..60)) {
            let (mut registry, mut model) = (Registry::default(), BTreeSet::<(String, String)>::new());
            let mut alive = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Add(id) => {
                        registry.add(SocketId::new(format!("s{id}")), 0);
                        alive.insert(format!("s{id}"));
                    }
                    Step::Remove(id) => {
                        let id = format!("s{id}");
                        if let Some(key) = registry.find(&id) {
                            registry.remove(key, |_| ());
                        }
                        alive.remove(&id);
                        model.retain(|(socket, _)| *socket != id);
                    }
                    Step::Join(id, room) => {
                        let (id, room) = (format!("s{id}"), format!("r{room}"));
                        if let Some(key) = registry.find(&id) {
                            registry.join(key, &RoomName::new(&room));
                            model.insert((id, room));
                        }
                    }
                    Step::Leave(id, room) => {
                        let (id, room) = (format!("s{id}"), format!("r{room}"));
                        if let Some(key) = registry.find(&id) {
                            registry.leave(key, &room);
                        }
                        model.remove(&(id, room));
                    }
                }
            }
            let everyone: Vec<String> = alive.into_iter().collect();
            prop_assert_eq!(reached(&mut registry, &[], &[]), everyone);
            let expected: BTreeSet<String> = model
                .iter()
                .filter(|(socket, room)| ["r0", "r1"].contains(&room.as_str())
                    && !model.contains(&(socket.clone(), "r2".to_owned())))
                .map(|(socket, _)| socket.clone())
                .collect();
            prop_assert_eq!(
                reached(&mut registry, &["r0", "r1"], &["r2"]),
                expected.into_iter().collect::<Vec<_>>()
            );
            let rooms: BTreeSet<String> = model.into_iter().map(|(_, room)| room).collect();
            let found: BTreeSet<String> = registry.rooms().map(|(name, _)| name.to_string()).collect();
            prop_assert_eq!(found, rooms);
        }
    }
}
