//! What callers here ask of the other nodes.
//!
//! Who has to answer is known from two counts and the leases: Node servers are those that listen for requests
//! without being Roomcast nodes; of Roomcast nodes those count whose lease runs. Neither is asked before the
//! request is published, so a request costs no round trip more than Node's.

use std::mem;
use std::time::{Duration, Instant};

use adapter::classic::{self, Answer, Command};
use adapter::sharded::{self, Content};
use adapter::{
    Action, Broadcast, Delivery, Flags, Operation, Outcome, RequestId, RoomKinds, SocketDetails, Targets,
    WireFault,
};
use bytes::Bytes;
use socketio::{NamespaceName, SOCKET_ID_CHARS};

use super::{Channels, Node, content_of};
use crate::config::Family;
use crate::io::{Ask, AskId, Coverage, Output, Part, Query, QueryId, Reply};

/// An ask that waits for answers.
#[derive(Debug)]
pub(super) struct PendingAsk {
    namespace: NamespaceName,
    request_id: RequestId,
    kind: Kind,
    until: Instant,
    /// The request, while this node does not hear its answers yet.
    unsent: Option<Unsent>,
    /// How many nodes of any kind there are.
    nodes: Count,
    /// How many of them are Roomcast's.
    gateways: Count,
    /// The reading of the leases that has to be done before it is known who has to answer.
    leases: u64,
    /// Nodes that have answered.
    answered: u32,
    /// Whether the caller knows that all have said whom they asked, of a call.
    is_told: bool,
    /// Clients that were asked and those that have acknowledged, of a call.
    clients: u64,
    acknowledged: u64,
}

#[derive(Debug)]
struct Unsent {
    channel: String,
    payload: Vec<u8>,
    /// Channels of answers that are not in force.
    awaited: usize,
}

/// A question how many listen to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Asked(QueryId),
    /// 0 if Redis could not tell.
    Known(u64),
}

impl Count {
    fn known(self) -> Option<u64> {
        match self {
            Self::Asked(_) => None,
            Self::Known(count) => Some(count),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sockets,
    Rooms(RoomKinds),
    Call,
    ServerSideEmit,
}

impl PendingAsk {
    pub(super) fn until(&self) -> Instant {
        self.until
    }
}

impl Node {
    /// Asks the other nodes. Parts of the answer come as [`Output::Answer`], the last one at once or within
    /// `timeout`.
    ///
    /// # Errors
    /// What is to be published is none that clients or Node servers would survive; nobody is asked.
    pub fn ask(&mut self, id: AskId, ask: Ask, timeout: Duration, now: Instant) -> Result<(), WireFault> {
        let request_id = match self.config.family {
            Family::Classic => RequestId::random_classic(&mut self.rng),
            Family::Sharded(_) => RequestId::random_sharded(&mut self.rng),
        };
        let (namespace, kind) = subject(&ask);
        let (channel, payload) = self.encode_ask(&ask, &request_id, timeout)?;
        let Some(kind) = kind else {
            self.send(&channel, payload);
            self.outputs.push_back(Output::Answer(id, Part::End(Coverage::default())));
            return Ok(());
        };
        let mut pending = PendingAsk {
            namespace,
            request_id: request_id.clone(),
            kind,
            until: now + timeout,
            unsent: None,
            nodes: Count::Known(0),
            gateways: Count::Known(0),
            leases: 0,
            answered: 0,
            is_told: false,
            clients: 0,
            acknowledged: 0,
        };
        if !self.can_publish {
            self.end(id, &pending);
            return Ok(());
        }
        let awaited = self.listen_for_answers(id, &pending.namespace, pending.until, now);
        pending.unsent = Some(Unsent { channel, payload, awaited });
        self.requests.insert(request_id, id);
        self.asks.insert(id, pending);
        Ok(())
    }

    /// One channel of answers is in force for an ask.
    pub(super) fn handle_heard(&mut self, id: AskId) {
        let Some(mut pending) = self.asks.remove(&id) else { return };
        if let Some(unsent) = &mut pending.unsent {
            unsent.awaited = unsent.awaited.saturating_sub(1);
        }
        if let Some(unsent) = pending.unsent.take_if(|unsent| unsent.awaited == 0) {
            // On the same connection before the message: whoever is counted hears it.
            self.count_nodes(&mut pending);
            let counter = &mut self.query_count;
            pending.leases = self.members.refresh(|| super::next_query(counter), &mut self.outputs);
            self.send(&unsent.channel, unsent.payload);
        }
        self.asks.insert(id, pending);
    }

    /// Nobody wants to hear more of an ask.
    pub fn forget(&mut self, id: AskId) {
        if let Some(pending) = self.asks.remove(&id) {
            self.requests.remove(&pending.request_id);
        }
    }

    fn count_nodes(&mut self, pending: &mut PendingAsk) {
        let channels = self.channels(&pending.namespace);
        let presence = channels.presence(&self.config);
        let mut count = |channel: Bytes| {
            let id = self.next_query();
            self.outputs.push_back(Output::Query(id, Query::CountSubscribers(channel)));
            Count::Asked(id)
        };
        pending.nodes = count(Bytes::copy_from_slice(channels.census().as_bytes()));
        pending.gateways = count(presence.into());
    }

    fn encode_ask(
        &self,
        ask: &Ask,
        id: &RequestId,
        timeout: Duration,
    ) -> Result<(String, Vec<u8>), WireFault> {
        let (namespace, _) = subject(ask);
        Ok(match &*self.channels(&namespace) {
            Channels::Classic(channels) => {
                let (command, is_answered) = classic_command(ask, timeout);
                let request_id = is_answered.then_some(id);
                let payload = classic::encode_request(Some(&self.uid), request_id, &command)?;
                (channels.request().to_owned(), payload)
            }
            Channels::Sharded(channels) => {
                let content = sharded_content(ask, id, timeout);
                (channels.main().to_owned(), sharded::encode(&self.message(&namespace, content))?)
            }
        })
    }

    pub(super) fn handle_count(&mut self, id: QueryId, reply: &Reply) {
        let count = Count::Known(match reply {
            Reply::Count(count) => *count,
            _ => 0,
        });
        let asked = Count::Asked(id);
        let found = self.asks.iter_mut().find_map(|(ask, pending)| {
            let slot =
                [&mut pending.nodes, &mut pending.gateways].into_iter().find(|slot| **slot == asked)?;
            *slot = count;
            Some(*ask)
        });
        if let Some(ask) = found {
            self.weigh(ask);
        }
    }

    pub(super) fn handle_response(&mut self, payload: &[u8]) -> Result<(), WireFault> {
        let response = classic::decode_response(payload, &self.config.decode_limits)?;
        self.take_answer(&response.request_id, response.answer);
        Ok(())
    }

    pub(super) fn handle_sharded_answer(&mut self, content: Content) {
        match content {
            Content::Sockets { request_id, sockets } => {
                self.take_answer(&request_id, Answer::Sockets(sockets));
            }
            Content::ServerSideAnswer { request_id, argument } => {
                self.take_answer(&request_id, Answer::ServerSideEmit(argument));
            }
            Content::ClientCount { request_id, count } => {
                self.take_answer(&request_id, Answer::ClientCount(count));
            }
            Content::Acknowledgement { request_id, argument } => {
                self.take_answer(&request_id, Answer::Acknowledgement(argument));
            }
            // Requests have been dealt with.
            _ => {}
        }
    }

    /// An answer to somebody's request: all nodes hear all answers.
    fn take_answer(&mut self, request_id: &RequestId, answer: Answer) {
        let Some(id) = self.requests.get(request_id).copied() else { return };
        let Some(pending) = self.asks.get_mut(&id) else { return };
        let part = match (pending.kind, answer) {
            (Kind::Call, Answer::ClientCount(clients)) => {
                pending.clients = pending.clients.saturating_add(clients);
                Part::Called(clients)
            }
            (Kind::Call, Answer::Acknowledgement(argument)) => {
                pending.acknowledged += 1;
                Part::Acknowledged(argument)
            }
            (Kind::ServerSideEmit, Answer::ServerSideEmit(argument)) => Part::Served(argument),
            (Kind::Sockets | Kind::Rooms(_), answer) => match outcome(pending.kind, answer) {
                Some(outcome) => Part::Outcome(outcome),
                None => return,
            },
            _ => return,
        };
        if !matches!(part, Part::Acknowledged(_)) {
            pending.answered += 1;
        }
        self.outputs.push_back(Output::Answer(id, part));
        self.weigh(id);
    }

    /// Ends what all have answered.
    pub(super) fn weigh_asks(&mut self) {
        let ids: Vec<AskId> = self.asks.keys().copied().collect();
        ids.into_iter().for_each(|id| self.weigh(id));
    }

    fn weigh(&mut self, id: AskId) {
        let Some(pending) = self.asks.get(&id) else { return };
        let is_counted =
            pending.unsent.is_none() && pending.nodes.known().is_some() && pending.gateways.known().is_some();
        if !is_counted || self.members.readings() < pending.leases {
            return;
        }
        if pending.answered < self.expected(pending) {
            return;
        }
        let is_done = pending.acknowledged >= pending.clients;
        if let Some(pending) = self.asks.get_mut(&id)
            && pending.kind == Kind::Call
            && !mem::replace(&mut pending.is_told, true)
        {
            self.outputs.push_back(Output::Answer(id, Part::AllCalled));
        }
        if is_done && let Some(pending) = self.asks.remove(&id) {
            self.end(id, &pending);
        }
    }

    fn expected(&self, pending: &PendingAsk) -> u32 {
        let peers = self.members.in_namespace(pending.namespace.as_str()).count();
        let node_servers = match (pending.nodes.known(), pending.gateways.known()) {
            (Some(nodes), Some(gateways)) => nodes.saturating_sub(gateways),
            _ => 0,
        };
        u32::try_from(node_servers + peers as u64).unwrap_or(u32::MAX)
    }

    pub(super) fn end_late_asks(&mut self, now: Instant) {
        let late: Vec<AskId> =
            self.asks.iter().filter(|(_, pending)| pending.until <= now).map(|(id, _)| *id).collect();
        for id in late {
            if let Some(pending) = self.asks.remove(&id) {
                self.end(id, &pending);
            }
        }
    }

    pub(super) fn end_all_asks(&mut self) {
        for (id, pending) in mem::take(&mut self.asks) {
            self.end(id, &pending);
        }
    }

    fn end(&mut self, id: AskId, pending: &PendingAsk) {
        self.requests.remove(&pending.request_id);
        let asked = self.expected(pending).max(pending.answered);
        let answered = pending.answered;
        // Answers do not say whose they are: names are certain only if nobody has answered.
        let missing = match answered {
            0 => {
                self.members.in_namespace(pending.namespace.as_str()).map(|peer| peer.name.clone()).collect()
            }
            _ => Vec::new(),
        };
        let coverage = Coverage { asked, answered, missing };
        self.outputs.push_back(Output::Answer(id, Part::End(coverage)));
    }
}

/// What an ask is about; `None` for what nobody answers.
fn subject(ask: &Ask) -> (NamespaceName, Option<Kind>) {
    match ask {
        Ask::Operate(operation) => {
            let kind = match &operation.action {
                Action::Join(_) | Action::Leave(_) | Action::Disconnect(_) => None,
                Action::Count | Action::Identify | Action::Fetch => Some(Kind::Sockets),
                Action::ListRooms(kinds) => Some(Kind::Rooms(*kinds)),
            };
            (operation.namespace.clone(), kind)
        }
        Ask::Call(broadcast) => (broadcast.namespace.clone(), Some(Kind::Call)),
        Ask::ServerSideEmit { namespace, acknowledged, .. } => {
            (namespace.clone(), acknowledged.then_some(Kind::ServerSideEmit))
        }
    }
}

fn call_flags(timeout: Duration) -> Flags {
    Flags { timeout: Some(timeout), ..Flags::default() }
}

/// A call without `volatile`: Node does not obey it here.
fn call_broadcast(broadcast: &Broadcast) -> Broadcast {
    Broadcast { delivery: Delivery::Reliable, ..broadcast.clone() }
}

fn classic_command(ask: &Ask, timeout: Duration) -> (Command, bool) {
    match ask {
        Ask::Operate(Operation { targets, action, .. }) => {
            let targets = targets.clone();
            match action {
                Action::Join(rooms) => (Command::Join { targets, rooms: rooms.clone() }, false),
                Action::Leave(rooms) => (Command::Leave { targets, rooms: rooms.clone() }, false),
                Action::Disconnect(extent) => (Command::Disconnect { targets, extent: *extent }, false),
                // Ids are enough, but that request knows no `except`.
                Action::Count | Action::Identify if targets.except.is_empty() => {
                    (Command::AllSockets { rooms: targets.rooms }, true)
                }
                Action::Count | Action::Identify | Action::Fetch => (Command::Fetch { targets }, true),
                Action::ListRooms(_) => (Command::AllRooms, true),
            }
        }
        Ask::Call(broadcast) => {
            let flags = call_flags(timeout);
            (Command::Broadcast { broadcast: call_broadcast(broadcast), flags }, true)
        }
        Ask::ServerSideEmit { event, acknowledged, .. } => {
            (Command::ServerSideEmit(event.clone()), *acknowledged)
        }
    }
}

fn sharded_content(ask: &Ask, id: &RequestId, timeout: Duration) -> Content {
    match ask {
        Ask::Operate(Operation { targets, action, .. }) => {
            let targets = targets.clone();
            match action {
                Action::Join(rooms) => Content::Join { targets, rooms: rooms.clone() },
                Action::Leave(rooms) => Content::Leave { targets, rooms: rooms.clone() },
                Action::Disconnect(extent) => Content::Disconnect { targets, extent: *extent },
                // The family has no other question about sockets.
                Action::Count | Action::Identify | Action::Fetch => {
                    Content::Fetch { targets, request_id: id.clone() }
                }
                Action::ListRooms(_) => {
                    Content::Fetch { targets: Targets::default(), request_id: id.clone() }
                }
            }
        }
        Ask::Call(broadcast) => {
            content_of(&call_broadcast(broadcast), Some((id.clone(), call_flags(timeout))))
        }
        Ask::ServerSideEmit { event, acknowledged, .. } => {
            Content::ServerSideEmit { event: event.clone(), request_id: acknowledged.then(|| id.clone()) }
        }
    }
}

fn outcome(kind: Kind, answer: Answer) -> Option<Outcome> {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let mut outcome = Outcome::default();
    match (kind, answer) {
        (_, Answer::SocketIds(ids)) => {
            outcome.matched = count(ids.len());
            outcome.ids = ids;
        }
        (Kind::Rooms(kinds), Answer::Sockets(sockets)) => {
            outcome.matched = count(sockets.len());
            for socket in &sockets {
                let rooms = socket.rooms.iter().filter(|room| is_listed(kinds, room.as_str(), Some(socket)));
                for room in rooms {
                    *outcome.rooms.entry(room.clone()).or_default() += 1;
                }
            }
        }
        (_, Answer::Sockets(sockets)) => {
            outcome.matched = count(sockets.len());
            outcome.ids = sockets.iter().map(|socket| socket.id.clone()).collect();
            outcome.sockets = sockets;
        }
        (Kind::Rooms(kinds), Answer::Rooms(rooms)) => {
            // Nobody says how many members they have: at least one.
            let listed = rooms.into_iter().filter(|room| is_listed(kinds, room.as_str(), None));
            outcome.rooms = listed.map(|room| (room, 1)).collect();
        }
        _ => return None,
    }
    Some(outcome)
}

/// Whether a room is one of those asked for. Where only its name is known, one that looks like a socket id is
/// taken for one: 20 characters, on old protocols behind the namespace and `#`.
fn is_listed(kinds: RoomKinds, room: &str, socket: Option<&SocketDetails>) -> bool {
    if kinds == RoomKinds::All {
        return true;
    }
    match socket {
        Some(socket) => socket.id.as_str() != room,
        None => {
            let id = room.rsplit_once('#').map_or(room, |(_, id)| id);
            let is_id_character = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            id.len() != SOCKET_ID_CHARS || !id.bytes().all(is_id_character)
        }
    }
}
