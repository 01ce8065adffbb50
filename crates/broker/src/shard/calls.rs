//! Broadcasts that ask their recipients for an acknowledgement.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Instant,
};

use adapter::{Argument, Broadcast, CallId, Delivery};
use bytes::Bytes;
use rooms::SocketKey;
use socketio::{Incoming, SocketId};

use super::{Shard, namespaces::split_query};
use crate::{connection::SocketRef, encoded::Encoded, io::Output, outbox::Item, wheel::Tick};

/// The key of the timer wheel that stands for the calls. No link has that number: there are fewer.
pub(super) const CALLS_KEY: u32 = u32::MAX;

/// As many calls as may be wait for answers already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many calls wait for answers as may: limits.pending_calls_max")]
pub struct TooManyCalls;

/// The calls of one shard whose answers are awaited.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pending: BTreeMap<CallId, Pending>,
    armed: Option<Tick>,
}

#[derive(Debug)]
struct Pending {
    namespace: u32,
    deadline: Instant,
    /// Sockets that were asked and have not answered.
    waiting: HashSet<SocketKey>,
}

impl Shard {
    /// Queues a broadcast with a request for acknowledgement, and says how many sockets here were asked.
    ///
    /// Their answers come as [`Output::CallAnswered`], each socket's first and no other. A socket that is gone
    /// without one is named by [`Output::CallLost`]. [`Output::CallEnded`] comes once none is awaited any
    /// more or `deadline` is over, unless nobody was asked. The broadcast is reliable: who is asked gets it.
    ///
    /// `call` is to be counted up from 0, since clients get it as the number of the acknowledgement, which
    /// JavaScript has to tell from its neighbours.
    ///
    /// # Errors
    /// [`TooManyCalls`]; nobody was asked.
    pub fn call(
        &mut self,
        broadcast: &Broadcast,
        call: CallId,
        deadline: Instant,
    ) -> Result<u32, TooManyCalls> {
        if self.calls.pending.len() >= self.limits.pending_calls_max as usize {
            return Err(TooManyCalls);
        }
        let Some(namespace) = self.find_namespace(broadcast.namespace.as_str()) else { return Ok(0) };
        // Encoded once: all sockets here get the same number.
        let packet = Arc::new(Encoded::event(broadcast, Some(call.0)));
        let mut waiting = HashSet::new();
        let item = Item::new(packet, Delivery::Reliable);
        let reach = self.queue(namespace, &broadcast.targets, &item, |socket| {
            waiting.insert(socket);
        });
        if !waiting.is_empty() {
            self.calls.pending.insert(call, Pending { namespace, deadline, waiting });
            self.arm_calls(deadline);
        }
        Ok(reach.written)
    }

    /// Forgets a call: no answer is awaited any more, and no output comes for it.
    pub fn end_call(&mut self, call: CallId) {
        self.calls.pending.remove(&call);
    }

    /// A client acknowledges something. Numbers that nobody has sent it are ignored, as the reference does.
    pub(super) fn handle_ack(&mut self, index: u32, incoming: Incoming<'_>) {
        let Some(call) = incoming.id.map(CallId) else { return };
        if !self.calls.pending.contains_key(&call) {
            return;
        }
        let (name, _) = split_query(self.connections[index as usize].protocol(), &incoming.namespace);
        let Some(socket) = self.socket_in(index, name) else { return };
        let Some(id) = self.take_waiting(call, socket) else { return };
        let json = incoming.data.as_deref().unwrap_or("[]");
        let answer =
            Argument { json: Bytes::copy_from_slice(json.as_bytes()), attachments: incoming.attachments };
        self.outputs.push_back(Output::CallAnswered { call, socket: id, answer });
        self.end_if_complete(call);
    }

    /// A socket is about to leave: it will not answer any more.
    pub(super) fn forsake_calls(&mut self, socket: SocketRef) {
        if self.calls.pending.is_empty() {
            return;
        }
        let calls: Vec<CallId> = self.calls.pending.keys().copied().collect();
        for call in calls {
            if let Some(id) = self.take_waiting(call, socket) {
                self.outputs.push_back(Output::CallLost { call, socket: id });
                self.end_if_complete(call);
            }
        }
    }

    /// Takes a socket off those that a call waits for; its id if it was one.
    fn take_waiting(&mut self, call: CallId, socket: SocketRef) -> Option<SocketId> {
        let pending = self.calls.pending.get_mut(&call)?;
        let was_asked = pending.namespace == socket.namespace && pending.waiting.remove(&socket.socket);
        was_asked.then(|| self.id_of(socket).cloned()).flatten()
    }

    fn end_if_complete(&mut self, call: CallId) {
        if self.calls.pending.get(&call).is_some_and(|pending| pending.waiting.is_empty()) {
            self.calls.pending.remove(&call);
            self.outputs.push_back(Output::CallEnded(call));
        }
    }

    /// The wheel has come to the tick that it was armed for on behalf of the calls.
    pub(super) fn expire_calls(&mut self, tick: Tick, now: Instant) {
        if self.calls.armed != Some(tick) {
            return;
        }
        self.calls.armed = None;
        let outputs = &mut self.outputs;
        self.calls.pending.retain(|call, pending| {
            let awaited = pending.deadline > now;
            if !awaited {
                outputs.push_back(Output::CallEnded(*call));
            }
            awaited
        });
        if let Some(next) = self.calls.pending.values().map(|pending| pending.deadline).min() {
            self.arm_calls(next);
        }
    }

    fn arm_calls(&mut self, at: Instant) {
        if self.calls.armed.is_none_or(|tick| self.wheel.is_later(tick, at)) {
            self.calls.armed = Some(self.wheel.arm(CALLS_KEY, at));
        }
    }
}
