//! What clients do of their own accord: join, leave, emit, go, break and misbehave.

use engineio::{CloseReason, Revision};
use rand::Rng;

use super::{Asked, Transport, head};
use crate::{
    model::Publisher,
    schedule::MS,
    server::{Packet, Up, push_body},
    world::{Event, World},
};

impl World {
    pub(crate) fn act(&mut self, name: usize) {
        if self.connections[name].is_over || !self.is_busy() {
            return;
        }
        self.later(0..60 * MS, Event::Act(name));
        let ids = &self.connections[name].ids;
        if ids.is_empty() {
            return;
        }
        let namespace = *ids.keys().nth(self.rng.random_range(0..ids.len())).unwrap();
        match self.rng.random_range(0..100) {
            0..25 => self.join_or_leave(name, namespace, true),
            25..38 => self.join_or_leave(name, namespace, false),
            38..90 => self.emit(name, namespace),
            90..94 => self.leave_namespace(name, namespace),
            94..95 => self.leave(name),
            95..96 => self.misbehave(name),
            96..97 => self.break_off(name),
            97..99 => self.stall(name, false),
            _ => {
                self.connections[name].is_stuck |= self.rng.random_bool(0.5);
                let is_stuck = self.connections[name].is_stuck;
                self.stall(name, is_stuck);
            }
        }
    }

    fn join_or_leave(&mut self, name: usize, namespace: &'static str, joins: bool) {
        let room = self.draw_room();
        if self.connections[name].ids.get(namespace) == Some(&room) {
            return;
        }
        match joins {
            true => self.witness(name, true, namespace, &room, |it, now| it.begin(now)),
            false => self.witness(name, false, namespace, &room, |it, now| it.end(now)),
        }
        let connection = &mut self.connections[name];
        connection.asked_count += 1;
        let number = connection.asked_count;
        let event = if joins { "join" } else { "leave" };
        let text = format!("{}{number}[\"{event}\",\"{room}\"]", head('2', namespace));
        connection.asked.insert(number, Asked { namespace, room, joins, since: number });
        self.send_text(name, text);
    }

    fn emit(&mut self, name: usize, namespace: &'static str) {
        let id = self.model.compose(Publisher::Connection(name), false);
        if self.rng.random_bool(0.1) {
            let (head, tail) = (head('5', namespace), r#"{"_placeholder":true,"num":0}"#);
            self.send_text(name, format!(r#"{}1-{}["m",{id},{tail}]"#, &head[..2], &head[2..]));
            let bytes = match (self.connections[name].revision, self.connections[name].is_websocket()) {
                (Revision::V3, true) => vec![4, 1, 2, 3],
                _ => vec![1, 2, 3],
            };
            return self.send(name, Packet::Binary(bytes));
        }
        let filling = "y".repeat(self.rng.random_range(0..200));
        self.send_text(name, format!(r#"{}["m",{id},"{filling}"]"#, head('2', namespace)));
    }

    /// Leaves a namespace, and comes back.
    fn leave_namespace(&mut self, name: usize, namespace: &'static str) {
        let connection = &mut self.connections[name];
        connection.ids.remove(namespace);
        connection.asked.retain(|_, asked| asked.namespace != namespace);
        let surely = connection.witness.surely.iter_mut().filter(|((name, _), _)| *name == namespace);
        surely.for_each(|(_, intervals)| intervals.end(self.schedule.now));
        self.send_text(name, head('1', namespace));
        self.connect(name, namespace);
    }

    /// Closes a connection in order.
    pub(crate) fn leave(&mut self, name: usize) {
        if self.connections[name].is_over {
            return;
        }
        match self.connections[name].transport {
            Transport::WebSocket => self.up(name, Up::LinkGone(CloseReason::TransportClose)),
            _ => {
                // It may come beside a running push: then that ends the session as well.
                self.up(name, Up::LinkGone(CloseReason::TransportClose));
                if let Some(sid) = self.connections[name].sid {
                    let body = push_body(self.connections[name].revision, &[Packet::Text("1".to_owned())]);
                    self.later(0..10 * MS, Event::Up(name, Up::Push(sid, body)));
                }
            }
        }
        self.over(name);
    }

    /// Polls twice at once, and connects meanwhile: the session ends, and the connect must not outlive it.
    fn misbehave(&mut self, name: usize) {
        let connection = &self.connections[name];
        let (Some(sid), false) = (connection.sid, connection.is_websocket()) else { return };
        let body = push_body(connection.revision, &[Packet::Text("40/other,".to_owned())]);
        for up in [Up::Push(sid, body), Up::Poll(sid), Up::Poll(sid)] {
            self.later(0..2 * MS, Event::Up(name, up));
        }
        self.later(10 * MS..20 * MS, Event::Up(name, Up::LinkGone(CloseReason::TransportClose)));
        self.over(name);
    }

    /// The network between client and server breaks.
    fn break_off(&mut self, name: usize) {
        self.break_link(name);
        self.later(0..50 * MS, Event::Up(name, Up::LinkGone(CloseReason::TransportError)));
        self.later(0..50 * MS, Event::Up(name, Up::PollGone));
        self.over(name);
    }
}
