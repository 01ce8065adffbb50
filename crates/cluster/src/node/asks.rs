//! What callers here ask of the other nodes.
//!
//! Who has to answer (`roll`) is asked of Redis on the way of the request, right before it, so a request costs no
//! round trip more than Node's.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adapter::classic::{self, Answer, Command};
use adapter::sharded::{self, Content};
use adapter::{
    Action, Broadcast, Delivery, Flags, Operation, Outcome, RequestId, Responder, RoomKinds, SocketDetails,
    Targets, WireFault,
};
use bytes::Bytes;
use socketio::{NamespaceName, SOCKET_ID_CHARS};

use super::roll::{Census, Count, Roll};
use super::{Channels, Node, content_of};
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
    /// Who has to answer, and who has.
    pub(super) roll: Roll,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sockets,
    Rooms(RoomKinds),
    Call,
    ServerSideEmit,
    /// Something done with sockets, of which only Roomcast nodes tell.
    Change,
    /// A broadcast, of which only Roomcast nodes tell how far it got.
    Publish,
}

impl PendingAsk {
    pub(super) fn new(namespace: &NamespaceName, request_id: RequestId, kind: Kind, until: Instant) -> Self {
        Self {
            namespace: namespace.clone(),
            request_id,
            kind,
            until,
            unsent: None,
            roll: Roll::new(namespace.as_str(), !kind.is_reported()),
            is_told: false,
            clients: 0,
            acknowledged: 0,
        }
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }
}

impl Kind {
    /// Whether its answers are reports, which come on a channel that is always listened to.
    fn is_reported(self) -> bool {
        matches!(self, Self::Change | Self::Publish)
    }
}

impl Node {
    /// Asks the other nodes. Parts of the answer come as [`Output::Answer`], the last one at once or within
    /// `timeout`.
    ///
    /// # Errors
    /// What is to be published is none that clients or Node servers would survive; nobody is asked.
    pub fn ask(&mut self, id: AskId, ask: Ask, timeout: Duration, now: Instant) -> Result<(), WireFault> {
        let request_id = self.draw_request_id();
        let (namespace, kind) = subject(&ask);
        let (channel, payload) = self.encode_ask(&ask, &request_id, timeout)?;
        let Some(kind) = kind else {
            self.send(&channel, payload);
            self.outputs.push_back(Output::Answer(id, Part::End(Coverage::default())));
            return Ok(());
        };
        let mut pending = PendingAsk::new(&namespace, request_id, kind, now + timeout);
        if !self.can_publish {
            self.end(id, pending);
            return Ok(());
        }
        if kind.is_reported() {
            pending.roll.begin(self.census(&namespace));
            self.send(&channel, payload);
        } else {
            let awaited = self.listen_for_answers(id, &namespace, pending.until, now);
            pending.unsent = Some(Unsent { channel, payload, awaited });
        }
        self.await_answers(id, pending);
        Ok(())
    }

    pub(super) fn await_answers(&mut self, id: AskId, pending: PendingAsk) {
        self.requests.insert(pending.request_id.clone(), id);
        self.asks.insert(id, pending);
    }

    /// One channel of answers is in force for an ask.
    pub(super) fn handle_heard(&mut self, id: AskId) {
        let Some(mut pending) = self.asks.remove(&id) else { return };
        if let Some(unsent) = &mut pending.unsent {
            unsent.awaited = unsent.awaited.saturating_sub(1);
        }
        if let Some(unsent) = pending.unsent.take_if(|unsent| unsent.awaited == 0) {
            pending.roll.begin(self.census(&pending.namespace));
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

    /// Asks Redis who has to answer in a namespace, on the same connection before the message: whoever is counted
    /// hears it. Messages of one turn, which leave together, are asked for together.
    pub(super) fn census(&mut self, namespace: &NamespaceName) -> Census {
        if let Some(census) = self.censuses.get(namespace) {
            return *census;
        }
        let channels = self.channels(namespace);
        let presence = channels.presence(&self.config);
        let is_own_counted = self.wanted.is_in_force(presence.as_bytes());
        let mut count = |channel: Bytes| {
            let id = self.next_query();
            self.outputs.push_back(Output::Query(id, Query::CountSubscribers(channel)));
            Count::Asked(id)
        };
        let nodes = count(Bytes::copy_from_slice(channels.census().as_bytes()));
        let gateways = count(presence.into());
        let counter = &mut self.query_count;
        let leases = self.members.refresh(|| super::next_query(counter), &mut self.outputs);
        let census = Census { nodes, gateways, is_own_counted, leases };
        self.censuses.insert(namespace.clone(), census);
        census
    }

    fn encode_ask(
        &self,
        ask: &Ask,
        id: &RequestId,
        timeout: Duration,
    ) -> Result<(String, Vec<u8>), WireFault> {
        let (namespace, kind) = subject(ask);
        let answered = kind.map(|_| id);
        Ok(match &*self.channels(&namespace) {
            Channels::Classic(channels) => {
                let payload =
                    classic::encode_request(Some(&self.uid), answered, &classic_command(ask, timeout))?;
                (channels.request().to_owned(), payload)
            }
            Channels::Sharded(channels) => {
                let content = sharded_content(ask, id, answered.cloned(), timeout);
                (channels.main().to_owned(), sharded::encode(&self.message(&namespace, content))?)
            }
        })
    }

    pub(super) fn handle_count(&mut self, id: QueryId, reply: &Reply) {
        let count = match reply {
            Reply::Count(count) => *count,
            _ => 0,
        };
        let asks = self.asks.iter_mut();
        let counted = asks.filter_map(|(ask, pending)| pending.roll.take_count(id, count).then_some(*ask));
        let counted: Vec<AskId> = counted.collect();
        counted.into_iter().for_each(|ask| self.weigh(ask));
    }

    pub(super) fn handle_response(&mut self, payload: &[u8]) -> Result<(), WireFault> {
        let response = classic::decode_response(payload, &self.config.decode_limits)?;
        self.take_answer(&response.request_id, response.answer, response.from);
        Ok(())
    }

    pub(super) fn handle_sharded_answer(&mut self, content: Content, from: Option<Responder>) {
        let (request_id, answer) = match content {
            Content::Sockets { request_id, sockets } => (request_id, Answer::Sockets(sockets)),
            Content::ServerSideAnswer { request_id, argument } => {
                (request_id, Answer::ServerSideEmit(argument))
            }
            Content::ClientCount { request_id, count } => (request_id, Answer::ClientCount(count)),
            Content::Acknowledgement { request_id, argument, socket } => {
                (request_id, Answer::Acknowledgement(argument, socket))
            }
            // Requests have been dealt with.
            _ => return,
        };
        self.take_answer(&request_id, answer, from);
    }

    /// An answer to somebody's request: all nodes hear all answers.
    fn take_answer(&mut self, request_id: &RequestId, answer: Answer, from: Option<Responder>) {
        let node = from.as_ref().map(|from| Arc::clone(&from.name)).unwrap_or_default();
        self.take_part(request_id, from, |kind| {
            Some(match (kind, answer) {
                (Kind::Call, Answer::ClientCount(clients)) => Part::Called(clients),
                (Kind::Call, Answer::Acknowledgement(argument, socket)) => {
                    Part::Acknowledged { argument, socket, node }
                }
                (Kind::ServerSideEmit, Answer::ServerSideEmit(argument)) => Part::Served { argument, node },
                (Kind::Sockets | Kind::Rooms(_), answer) => Part::Outcome(outcome(kind, answer, &node)?),
                _ => return None,
            })
        });
    }

    /// Takes what `part` makes of an answer to a request of this node.
    pub(super) fn take_part(
        &mut self,
        request_id: &RequestId,
        from: Option<Responder>,
        part: impl FnOnce(Kind) -> Option<Part>,
    ) {
        let Some(id) = self.requests.get(request_id).copied() else { return };
        let Some(pending) = self.asks.get_mut(&id) else { return };
        let Some(part) = part(pending.kind) else { return };
        match &part {
            // The node has answered with the number of its clients.
            Part::Acknowledged { .. } => pending.acknowledged += 1,
            Part::Called(clients) => {
                pending.clients = pending.clients.saturating_add(*clients);
                pending.roll.note(from.as_ref());
            }
            _ => pending.roll.note(from.as_ref()),
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
        let Some(pending) = self.asks.get_mut(&id) else { return };
        if !pending.roll.is_complete(&self.members) {
            return;
        }
        if pending.kind == Kind::Call && !mem::replace(&mut pending.is_told, true) {
            self.outputs.push_back(Output::Answer(id, Part::AllCalled));
        }
        if pending.acknowledged >= pending.clients
            && let Some(pending) = self.asks.remove(&id)
        {
            self.end(id, pending);
        }
    }

    pub(super) fn end_late_asks(&mut self, now: Instant) {
        let late: Vec<AskId> =
            self.asks.iter().filter(|(_, pending)| pending.until <= now).map(|(id, _)| *id).collect();
        for id in late {
            if let Some(pending) = self.asks.remove(&id) {
                self.end(id, pending);
            }
        }
    }

    pub(super) fn end_all_asks(&mut self) {
        for (id, pending) in mem::take(&mut self.asks) {
            self.end(id, pending);
        }
    }

    pub(super) fn end(&mut self, id: AskId, mut pending: PendingAsk) {
        self.requests.remove(&pending.request_id);
        let coverage = pending.roll.coverage(&self.members);
        self.outputs.push_back(Output::Answer(id, Part::End(coverage)));
    }
}

/// What an ask is about; `None` for what nobody answers.
fn subject(ask: &Ask) -> (NamespaceName, Option<Kind>) {
    match ask {
        Ask::Operate(operation) => {
            let kind = match &operation.action {
                Action::Join(_) | Action::Leave(_) | Action::Disconnect(_) => Kind::Change,
                Action::Count | Action::Identify | Action::Fetch => Kind::Sockets,
                Action::ListRooms(kinds) => Kind::Rooms(*kinds),
            };
            (operation.namespace.clone(), Some(kind))
        }
        Ask::Act(operation) => (operation.namespace.clone(), None),
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

fn classic_command(ask: &Ask, timeout: Duration) -> Command {
    match ask {
        Ask::Operate(Operation { targets, action, .. }) | Ask::Act(Operation { targets, action, .. }) => {
            let targets = targets.clone();
            match action {
                Action::Join(rooms) => Command::Join { targets, rooms: rooms.clone() },
                Action::Leave(rooms) => Command::Leave { targets, rooms: rooms.clone() },
                Action::Disconnect(extent) => Command::Disconnect { targets, extent: *extent },
                // Ids are enough, but that request knows no `except`.
                Action::Count | Action::Identify if targets.except.is_empty() => {
                    Command::AllSockets { rooms: targets.rooms }
                }
                Action::Count | Action::Identify | Action::Fetch => Command::Fetch { targets },
                Action::ListRooms(_) => Command::AllRooms,
            }
        }
        Ask::Call(broadcast) => {
            let flags = call_flags(timeout);
            Command::Broadcast { broadcast: call_broadcast(broadcast), flags }
        }
        Ask::ServerSideEmit { event, .. } => Command::ServerSideEmit(event.clone()),
    }
}

/// `answered` is the id where there may be none: if anybody answers.
fn sharded_content(ask: &Ask, id: &RequestId, answered: Option<RequestId>, timeout: Duration) -> Content {
    let request_id = id.clone();
    match ask {
        Ask::Operate(Operation { targets, action, .. }) | Ask::Act(Operation { targets, action, .. }) => {
            let targets = targets.clone();
            match action {
                Action::Join(rooms) => Content::Join { targets, rooms: rooms.clone(), report_id: answered },
                Action::Leave(rooms) => Content::Leave { targets, rooms: rooms.clone(), report_id: answered },
                Action::Disconnect(extent) => {
                    Content::Disconnect { targets, extent: *extent, report_id: answered }
                }
                // The family has no other question about sockets.
                Action::Count | Action::Identify | Action::Fetch => Content::Fetch { targets, request_id },
                Action::ListRooms(_) => Content::Fetch { targets: Targets::default(), request_id },
            }
        }
        Ask::Call(broadcast) => {
            content_of(&call_broadcast(broadcast), Some((request_id, call_flags(timeout))))
        }
        Ask::ServerSideEmit { event, .. } => {
            Content::ServerSideEmit { event: event.clone(), request_id: answered }
        }
    }
}

/// What a node says about its sockets; `node` is its name.
fn outcome(kind: Kind, answer: Answer, node: &Arc<str>) -> Option<Outcome> {
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
        (_, Answer::Sockets(mut sockets)) => {
            sockets.iter_mut().for_each(|socket| socket.node = Arc::clone(node));
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
