//! What clients may do without any back end: join and leave rooms, and have events relayed.

use std::{borrow::Cow, sync::Arc, time::Instant};

use adapter::{Broadcast, Delivery, Event, Targets};
use bytes::Bytes;
use socketio::{Incoming, Protocol, RoomName, event_name, first_argument, reserved_event};

use super::{Shard, namespaces::split_query};
use crate::{
    config::EventAction,
    connection::SocketRef,
    encoded::{Encoded, Publication},
    io::Output,
    policy::{Handling, Verdict},
};

/// Why a client event came to nothing; the text is the `message` of its acknowledgement.
type Refused = &'static str;

const NOT_ALLOWED: Refused = "event not allowed";
const ROOM_NOT_ALLOWED: Refused = "room not allowed";
const NOT_IN_ROOM: Refused = "not in that room";
const NO_ROOM: Refused = "the first argument must be a room";
const TOO_MANY_ROOMS: Refused = "too many rooms";

impl Shard {
    /// Does what the namespace's policy says with an event of a client.
    pub(super) fn handle_event(&mut self, index: u32, incoming: Incoming<'_>, now: Instant) {
        self.counters.events_in += 1;
        let (name, _) = split_query(self.connections[index as usize].protocol(), &incoming.namespace);
        let Some(socket) = self.socket_in(index, name) else {
            // What a client sent before it saw that it had left is no offence; nor, of 0.9, before it saw that it was
            // refused, since it does not wait.
            let connection = &self.connections[index as usize];
            if !connection.has_left && connection.protocol() != Protocol::V1 {
                self.offend(index, "event for a namespace that was not joined", now);
            }
            return;
        };
        let Some(data) = incoming.data else { return };
        let Some(event) = event_name(&data) else { return };
        let verdict = match reserved_event(&event) {
            // Only parsers other than JSON's let such a name in; to clients of that one it may not go out.
            Some(_) => Verdict::Refused,
            None => self.namespaces[socket.namespace as usize].policy.judge(&event),
        };
        let outcome = match verdict {
            Verdict::Join => self.join_asked(index, socket, &data),
            Verdict::Leave => self.leave_asked(socket, &data),
            Verdict::Event(handling) => self.relay(socket, handling, &data, incoming.attachments),
            Verdict::Refused => Err(NOT_ALLOWED),
        };
        self.counters.events_refused += u64::from(outcome.is_err());
        let acknowledges = match verdict {
            Verdict::Event(handling) => handling.acknowledge,
            _ => true,
        };
        if let (Some(id), true) = (incoming.id, acknowledges) {
            self.acknowledge(index, socket, id, outcome);
        }
    }

    fn acknowledge(&mut self, index: u32, socket: SocketRef, id: u64, outcome: Result<(), Refused>) {
        let namespace = self.namespaces[socket.namespace as usize].name.as_str();
        let json = match outcome {
            Ok(()) => Cow::Borrowed(r#"[{"status":"ok"}]"#),
            Err(refused) => format!(r#"[{{"status":"error","message":"{refused}"}}]"#).into(),
        };
        let answer = Encoded::packet(|out| {
            out.push(b'4');
            socketio::encode_ack(out, namespace, id, 0, &json);
        });
        self.answer_when_in_force(index, answer);
    }

    fn join_asked(&mut self, index: u32, socket: SocketRef, data: &str) -> Result<(), Refused> {
        let room = self.named_room(data)?;
        if !self.namespaces[socket.namespace as usize].policy.may_join(room.as_str()) {
            return Err(ROOM_NOT_ALLOWED);
        }
        if self.join(index, socket, &room) { Ok(()) } else { Err(TOO_MANY_ROOMS) }
    }

    fn leave_asked(&mut self, socket: SocketRef, data: &str) -> Result<(), Refused> {
        let room = self.named_room(data)?;
        if !self.namespaces[socket.namespace as usize].policy.may_leave(room.as_str()) {
            return Err(ROOM_NOT_ALLOWED);
        }
        self.leave(socket, room.as_str());
        Ok(())
    }

    fn named_room(&self, data: &str) -> Result<RoomName, Refused> {
        let room = first_argument(data).ok_or(NO_ROOM)?;
        if room.is_empty() || room.len() > usize::from(self.limits.room_name_bytes) {
            return Err(ROOM_NOT_ALLOWED);
        }
        Ok(RoomName::new(room))
    }

    fn relay(
        &mut self,
        socket: SocketRef,
        handling: Handling,
        data: &str,
        attachments: Vec<Bytes>,
    ) -> Result<(), Refused> {
        let rooms = &self.namespaces[socket.namespace as usize].rooms;
        let targets = match handling.action {
            EventAction::Refuse => return Err(NOT_ALLOWED),
            EventAction::Acknowledge => return Ok(()),
            EventAction::RelayToAll => Vec::new(),
            EventAction::RelayToRoom => {
                let room = self.named_room(data)?;
                if !rooms.is_in(socket.socket, room.as_str()) {
                    return Err(NOT_IN_ROOM);
                }
                vec![room]
            }
            EventAction::RelayToRooms => {
                let joined: Vec<RoomName> = rooms.rooms_of(socket.socket).cloned().collect();
                if joined.is_empty() {
                    // No rooms would mean everyone.
                    return Ok(());
                }
                joined
            }
        };
        let sender = rooms.socket(socket.socket).map(|member| member.id.as_room());
        let targets = Targets {
            rooms: targets,
            except: sender.into_iter().filter(|_| !handling.include_sender).collect(),
        };
        self.publish_from(socket, targets, data, attachments);
        Ok(())
    }

    fn publish_from(&mut self, socket: SocketRef, targets: Targets, data: &str, attachments: Vec<Bytes>) {
        let publication = Arc::new(Publication::new(Broadcast {
            namespace: self.namespaces[socket.namespace as usize].name.clone(),
            targets,
            delivery: Delivery::Reliable,
            event: Event { json: Bytes::copy_from_slice(data.as_bytes()), attachments },
        }));
        self.outputs.push_back(Output::Publish(publication.clone()));
        self.deliver(&publication);
    }
}
