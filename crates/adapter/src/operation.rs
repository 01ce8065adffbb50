//! What every node of a cluster is asked to do with its sockets, or to tell about them.

use std::collections::BTreeMap;

use socketio::{NamespaceName, RoomName, SocketId};

use crate::{SocketDetails, Targets};

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
    /// Its id is told.
    Identify,
    /// All that is known of it is told.
    Fetch,
    /// The rooms that it and others are in are listed; targets do not matter.
    ListRooms(RoomKinds),
}

/// Which rooms are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomKinds {
    /// Those that sockets have joined.
    Named,
    /// Also those that sockets have by their ids.
    All,
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
    /// Rooms with members and how many, for [`Action::ListRooms`].
    pub rooms: BTreeMap<RoomName, u32>,
    /// The sockets that matched, in no order, for [`Action::Identify`].
    pub ids: Vec<SocketId>,
    /// The sockets that matched, in no order, for [`Action::Fetch`].
    pub sockets: Vec<SocketDetails>,
}

impl Outcome {
    /// Adds what another shard, or another node, answered.
    pub fn add(&mut self, other: Self) {
        self.matched = self.matched.saturating_add(other.matched);
        self.ids.extend(other.ids);
        self.sockets.extend(other.sockets);
        for (room, members) in other.rooms {
            let total = self.rooms.entry(room).or_default();
            *total = total.saturating_add(members);
        }
    }
}
