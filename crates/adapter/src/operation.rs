//! What every node of a cluster is asked to do with its sockets, or to tell about them.

use std::collections::BTreeMap;

use socketio::{NamespaceName, RoomName};

use crate::Targets;

/// Something to be done with, or asked about, the sockets of one namespace, wherever they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The namespace.
    pub namespace: NamespaceName,
    /// Which of its sockets.
    pub targets: Targets,
    /// What.
    pub action: Action,
}

/// What is done with each socket, or told about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It joins these rooms.
    Join(Vec<RoomName>),
    /// It leaves these rooms.
    Leave(Vec<RoomName>),
    /// It is disconnected.
    Disconnect(Extent),
    /// It is counted.
    Count,
    /// The rooms that it and others are in are listed; targets do not matter.
    ListRooms,
}

/// How far a disconnection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The client leaves this namespace.
    Namespace,
    /// The whole connection is closed.
    Connection,
}

/// What one node, or one shard of it, answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Sockets that the targets name; for [`Action::ListRooms`] those of the namespace.
    pub matched: u32,
    /// Rooms with members and how many, for [`Action::ListRooms`]; rooms of socket ids are not listed.
    pub rooms: BTreeMap<RoomName, u32>,
}

impl Outcome {
    /// Adds what another shard of the same node answered.
    pub fn add(&mut self, other: Self) {
        self.matched += other.matched;
        for (room, members) in other.rooms {
            *self.rooms.entry(room).or_default() += members;
        }
    }
}
