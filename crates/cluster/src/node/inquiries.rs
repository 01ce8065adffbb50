//! What other nodes ask of this one. Whoever is counted has to answer: a Node server fails the whole request
//! otherwise.

use std::time::{Duration, Instant};

use adapter::classic::{self, Answer, AnsweredBy, Asked, Command, Dialect};
use adapter::sharded::{self, Content, Message};
use adapter::{
    Action, Argument, Broadcast, NodeReach, Operation, Outcome, RequestId, RoomKinds, Targets, Uid, WireFault,
};
use socketio::{NamespaceName, RoomName, SocketId};

use super::{Channels, INQUIRY_PATIENCE, Node};
use crate::io::{Happening, InquiryId, Output};

/// Requests of other nodes that may wait for this one's shards, or for its clients' acknowledgements.
const INQUIRIES_MAX: usize = 4_096;
/// How long acknowledgements are passed on if the asker does not say how long it waits.
const CALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// How long any asker can make this node wait.
const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

/// A question that the shards are to answer.
#[derive(Debug)]
pub(super) struct Inquiry {
    namespace: NamespaceName,
    request_id: RequestId,
    reply_to: ReplyTo,
    subject: Subject,
    until: Instant,
}

#[derive(Clone, Debug)]
pub(super) enum ReplyTo {
    /// To all, in the words of the asker.
    Classic(Dialect),
    /// To the asker.
    Sharded(Uid),
    /// To the asker, a Roomcast node that wants to know what became of a message.
    Report(Uid),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Ids,
    Rooms,
    Details,
    /// Of one socket, if it is here.
    RoomsOfSocket,
    /// One socket has been acted on, if it is here.
    Deed,
    /// How many sockets were acted on, or how far a broadcast got.
    Reach,
    Acknowledgements,
}

impl Inquiry {
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    pub(super) fn into_reply(self) -> (RequestId, ReplyTo) {
        (self.request_id, self.reply_to)
    }
}

impl Node {
    pub(super) fn handle_request(
        &mut self,
        namespace: &NamespaceName,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), WireFault> {
        let request = classic::decode_request(payload, namespace, &self.config.decode_limits)?;
        // The caller has seen to the sockets here when it asked.
        let is_own = request.request_id.as_ref().is_some_and(|id| self.requests.contains_key(id));
        if is_own || request.uid.as_ref() == Some(&self.uid) {
            self.stats.echoes += 1;
            return Ok(());
        }
        let reply = request.request_id.zip(match (request.answered_by, request.uid) {
            (AnsweredBy::Gateways, asker) => asker.map(ReplyTo::Report),
            _ => Some(ReplyTo::Classic(request.dialect)),
        });
        match request.asked {
            Asked::Command(command) => {
                self.handle_command(namespace, command, reply, request.answered_by, now);
            }
            Asked::SocketRooms(id) => {
                let targets = to_room(id.as_room());
                self.inquire(namespace, targets, Action::Fetch, Subject::RoomsOfSocket, reply, now);
            }
            Asked::Custom(_) => self.reply_now(namespace, reply, &Answer::Custom(Argument::null())),
        }
        Ok(())
    }

    fn handle_command(
        &mut self,
        namespace: &NamespaceName,
        command: Command,
        reply: Option<(RequestId, ReplyTo)>,
        answered_by: AnsweredBy,
        now: Instant,
    ) {
        let act = |node: &mut Self, targets, action| match answered_by {
            AnsweredBy::SocketOwner => {
                node.inquire(namespace, targets, action, Subject::Deed, reply.clone(), now);
            }
            AnsweredBy::Gateways => node.act_reporting(namespace, targets, action, reply.clone(), now),
            AnsweredBy::Nobody | AnsweredBy::EveryNode => node.act(namespace, targets, action),
        };
        match command {
            Command::Join { targets, rooms } => act(self, targets, Action::Join(rooms)),
            Command::Leave { targets, rooms } => act(self, targets, Action::Leave(rooms)),
            Command::Disconnect { targets, extent } => act(self, targets, Action::Disconnect(extent)),
            Command::AllSockets { rooms } => {
                let targets = Targets { rooms, except: Vec::new() };
                self.inquire(namespace, targets, Action::Identify, Subject::Ids, reply, now);
            }
            Command::AllRooms => {
                let action = Action::ListRooms(RoomKinds::All);
                self.inquire(namespace, Targets::default(), action, Subject::Rooms, reply, now);
            }
            Command::Fetch { targets } => {
                self.inquire(namespace, targets, Action::Fetch, Subject::Details, reply, now);
            }
            // A gateway has no handlers. Node without a handler says nothing, and its caller waits in vain.
            Command::ServerSideEmit(_) => {
                self.reply_now(namespace, reply, &Answer::ServerSideEmit(Argument::null()));
            }
            Command::Broadcast { broadcast, flags } => {
                self.call(namespace, broadcast, flags.timeout, reply, now);
            }
        }
    }

    /// A message of the sharded family other than a plain broadcast.
    pub(super) fn handle_sharded_request(
        &mut self,
        asker: &Uid,
        namespace: &NamespaceName,
        content: Content,
        now: Instant,
    ) {
        let reply = |id: RequestId| Some((id, ReplyTo::Sharded(asker.clone())));
        let report = |id: Option<RequestId>| id.map(|id| (id, ReplyTo::Report(asker.clone())));
        match content {
            Content::Join { targets, rooms, report_id } => {
                self.act_reporting(namespace, targets, Action::Join(rooms), report(report_id), now);
            }
            Content::Leave { targets, rooms, report_id } => {
                self.act_reporting(namespace, targets, Action::Leave(rooms), report(report_id), now);
            }
            Content::Disconnect { targets, extent, report_id } => {
                self.act_reporting(namespace, targets, Action::Disconnect(extent), report(report_id), now);
            }
            Content::Fetch { targets, request_id } => {
                let reply = reply(request_id);
                self.inquire(namespace, targets, Action::Fetch, Subject::Details, reply, now);
            }
            Content::Broadcast { targets, delivery, event, flags, request_id } => {
                let namespace = namespace.clone();
                let broadcast = Broadcast { namespace: namespace.clone(), targets, delivery, event };
                self.call(&namespace, broadcast, flags.timeout, request_id.and_then(reply), now);
            }
            Content::ServerSideEmit { request_id, .. } => {
                let answer = Answer::ServerSideEmit(Argument::null());
                self.reply_now(namespace, request_id.and_then(reply), &answer);
            }
            answer => self.handle_sharded_answer(answer, None),
        }
    }

    fn act(&mut self, namespace: &NamespaceName, targets: Targets, action: Action) {
        self.outputs.push_back(Output::Act(Operation { namespace: namespace.clone(), targets, action }));
    }

    /// Does it, and says for how many sockets if somebody wants to know.
    fn act_reporting(
        &mut self,
        namespace: &NamespaceName,
        targets: Targets,
        action: Action,
        reply: Option<(RequestId, ReplyTo)>,
        now: Instant,
    ) {
        let until = now + INQUIRY_PATIENCE;
        match self.open_inquiry(namespace, Subject::Reach, reply, until) {
            Some(id) => {
                let operation = Operation { namespace: namespace.clone(), targets, action };
                self.outputs.push_back(Output::Inquire(id, operation));
            }
            None => self.act(namespace, targets, action),
        }
    }

    fn inquire(
        &mut self,
        namespace: &NamespaceName,
        targets: Targets,
        action: Action,
        subject: Subject,
        reply: Option<(RequestId, ReplyTo)>,
        now: Instant,
    ) {
        let until = now + INQUIRY_PATIENCE;
        if let Some(id) = self.open_inquiry(namespace, subject, reply, until) {
            let namespace = namespace.clone();
            self.outputs.push_back(Output::Inquire(id, Operation { namespace, targets, action }));
        }
    }

    fn call(
        &mut self,
        namespace: &NamespaceName,
        broadcast: Broadcast,
        timeout: Option<Duration>,
        reply: Option<(RequestId, ReplyTo)>,
        now: Instant,
    ) {
        let timeout = timeout.unwrap_or(CALL_TIMEOUT_DEFAULT).min(CALL_TIMEOUT_MAX);
        if let Some(id) = self.open_inquiry(namespace, Subject::Acknowledgements, reply, now + timeout) {
            self.outputs.push_back(Output::Call(id, broadcast, timeout));
        }
    }

    pub(super) fn open_inquiry(
        &mut self,
        namespace: &NamespaceName,
        subject: Subject,
        reply: Option<(RequestId, ReplyTo)>,
        until: Instant,
    ) -> Option<InquiryId> {
        let (request_id, reply_to) = reply?;
        if self.inquiries.len() >= INQUIRIES_MAX {
            self.outputs.push_back(Output::Happening(Happening::TooManyInquiries));
            return None;
        }
        self.inquiry_count += 1;
        let id = InquiryId(self.inquiry_count);
        let namespace = namespace.clone();
        self.inquiries.insert(id, Inquiry { namespace, request_id, reply_to, subject, until });
        Some(id)
    }

    /// What the shards say to an [`Output::Inquire`].
    pub fn handle_outcome(&mut self, id: InquiryId, outcome: Outcome) {
        if self.inquiries.get(&id).is_some_and(|inquiry| inquiry.subject == Subject::Reach) {
            let matched = outcome.matched.into();
            return self.handle_reached(id, NodeReach { matched, written: matched, ..NodeReach::default() });
        }
        let Some(inquiry) = self.inquiries.remove(&id) else { return };
        let answer = match inquiry.subject {
            Subject::Ids => Answer::SocketIds(outcome.ids),
            Subject::Rooms => Answer::Rooms(outcome.rooms.into_keys().collect()),
            Subject::Details => Answer::Sockets(outcome.sockets),
            Subject::RoomsOfSocket => match outcome.sockets.into_iter().next() {
                Some(socket) => Answer::Rooms(socket.rooms),
                None => return,
            },
            Subject::Deed if outcome.matched > 0 => Answer::Done,
            Subject::Deed | Subject::Acknowledgements | Subject::Reach => return,
        };
        self.reply(&inquiry, &answer);
    }

    /// How many clients here were asked by an [`Output::Call`].
    pub fn handle_called(&mut self, id: InquiryId, clients: u64) {
        let Some(inquiry) = self.inquiries.remove(&id) else { return };
        self.reply(&inquiry, &Answer::ClientCount(clients));
        if clients > 0 {
            self.inquiries.insert(id, inquiry);
        }
    }

    /// A client here has acknowledged; `arguments` is the array of what it said.
    pub fn handle_acknowledged(&mut self, id: InquiryId, socket: Option<SocketId>, arguments: &Argument) {
        let Some(inquiry) = self.inquiries.remove(&id) else { return };
        self.reply(&inquiry, &Answer::Acknowledgement(Argument::first_of(arguments), socket));
        self.inquiries.insert(id, inquiry);
    }

    /// No client here acknowledges any more.
    pub fn handle_call_ended(&mut self, id: InquiryId) {
        self.inquiries.remove(&id);
    }

    fn reply_now(&mut self, namespace: &NamespaceName, reply: Option<(RequestId, ReplyTo)>, answer: &Answer) {
        let Some((request_id, reply_to)) = reply else { return };
        self.publish_reply(namespace, &request_id, &reply_to, answer);
    }

    fn reply(&mut self, inquiry: &Inquiry, answer: &Answer) {
        self.publish_reply(&inquiry.namespace, &inquiry.request_id, &inquiry.reply_to, answer);
    }

    fn publish_reply(&mut self, namespace: &NamespaceName, id: &RequestId, to: &ReplyTo, answer: &Answer) {
        let channels = self.channels(namespace);
        let encoded = match (to, &*channels) {
            (ReplyTo::Classic(dialect), Channels::Classic(channels)) => {
                // The channel that all read: not every version reads the one that is its own.
                let from = Some(&self.own).filter(|_| *dialect == Dialect::Current);
                classic::encode_response(id, *dialect, answer, from)
                    .map(|payload| (channels.response().to_owned(), payload))
            }
            (ReplyTo::Sharded(asker), Channels::Sharded(channels)) => {
                let Some(content) = sharded_answer(id, answer) else { return };
                let from = Some(self.own.clone());
                sharded::encode(&Message { from, ..self.message(namespace, content) })
                    .map(|payload| (channels.response(asker), payload))
            }
            _ => return,
        };
        match encoded {
            Ok((channel, payload)) => {
                self.stats.answered += 1;
                self.send(&channel, payload);
            }
            Err(fault) => self.outputs.push_back(Output::Happening(Happening::NotPublished(fault))),
        }
    }
}

/// The same answer in the words of the sharded family.
fn sharded_answer(id: &RequestId, answer: &Answer) -> Option<Content> {
    let request_id = id.clone();
    Some(match answer.clone() {
        Answer::Sockets(sockets) => Content::Sockets { request_id, sockets },
        Answer::ServerSideEmit(argument) => Content::ServerSideAnswer { request_id, argument },
        Answer::ClientCount(count) => Content::ClientCount { request_id, count },
        Answer::Acknowledgement(argument, socket) => {
            Content::Acknowledgement { request_id, argument, socket }
        }
        // Nobody asks for these there.
        Answer::SocketIds(_) | Answer::Rooms(_) | Answer::Done | Answer::Custom(_) => return None,
    })
}

fn to_room(room: RoomName) -> Targets {
    Targets { rooms: vec![room], except: Vec::new() }
}
