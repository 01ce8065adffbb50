//! What only sessions of Socket.IO 0.9 do: they begin with a handshake, and their transports come later.

use std::{sync::Arc, time::Instant};

use engineio::{CloseReason, SessionId};
use websocket::Deflate;

use super::{Shard, polling::Refusal};
use crate::{
    dialect::Wire,
    encoded::Encoded,
    io::{ConnectRefusal, ConnectionKey, Happening, LinkId},
};

const ROOT: &str = "/";

impl Shard {
    /// Whether a client of 0.9 with this token may begin a session: it is in `/` as soon as it has a transport, so that
    /// who may not be there is refused the handshake.
    pub fn admit_09(&mut self, token: Option<&str>) -> bool {
        let refusal = match self.policies.find(ROOT) {
            Some(policy) if policy.admits(token) => return true,
            Some(_) => ConnectRefusal::NotAuthorized,
            None => ConnectRefusal::UnknownNamespace,
        };
        self.happening(Happening::ConnectRefused(refusal));
        false
    }

    /// Connects `/` with the first transport of a session; its answer is what the client takes for the connection.
    pub(super) fn begin_09(&mut self, index: u32) {
        if self.connections[index as usize].session.is_handshaken()
            && let Some(policy) = self.policies.find(ROOT).cloned()
        {
            self.connect_admitted(index, ROOT, &policy, None);
        }
    }

    /// Makes `link` the transport of a session.
    pub(super) fn open_websocket_09(
        &mut self,
        index: u32,
        link: LinkId,
        deflate: Option<Deflate>,
        now: Instant,
    ) -> Result<ConnectionKey, Refusal> {
        self.begin_09(index);
        let connection = &mut self.connections[index as usize];
        if !connection.session.websocket_opened(&self.engine, now) {
            return Err(Refusal::Busy);
        }
        connection.link = Some(link);
        connection.deflate = deflate;
        connection.blocked = false;
        let key = ConnectionKey { index, generation: connection.generation };
        if let Some(poll) = connection.poll.take() {
            let payload = self.lone_packet(index, &self.constants.noop.clone());
            self.late_answers.push((poll, payload));
        }
        // It was counted as polling by its handshake.
        self.happening(Happening::Upgraded);
        self.arm(index);
        self.mark_dirty(index);
        Ok(key)
    }

    /// A client asks over HTTP to end its session, because its page closes.
    pub fn disconnect_09(&mut self, sid: &SessionId, now: Instant) {
        if let Some(index) = self.find_sid(sid)
            && self.connections[index as usize].dialect.wire() == Wire::V09
        {
            self.close(index, CloseReason::TransportClose, now);
        }
    }

    /// Says that a message has arrived, to a client that wants to know no more.
    pub(super) fn acknowledge_09(&mut self, index: u32, namespace: &str, id: u64) {
        let answer = Encoded::packet(|out| {
            out.push(b'4');
            socketio::encode_ack(out, namespace, id, 0, "[]");
        });
        self.send(index, Arc::new(answer));
    }
}
