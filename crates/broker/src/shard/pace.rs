//! How fast one connection may send.

use std::{sync::Arc, time::Instant};

use engineio::{CloseReason, Lane};

use super::{Shard, packets::Flow, polling::ProbeAnswer};
use crate::{
    encoded::Encoded,
    handshake::HandshakeRecord,
    io::{ConnectionKey, Happening, LinkId},
};

impl Shard {
    /// Takes in a WebSocket frame that is not, or not yet, a message: a control frame or a fragment. `answer` is the
    /// frame that goes back, such as the pong of a ping.
    pub fn handle_frame(
        &mut self,
        key: ConnectionKey,
        link: LinkId,
        answer: Option<Vec<u8>>,
        now: Instant,
    ) -> Flow {
        let Some((index, lane)) = self.lane(key, link) else { return Flow::Closed };
        if !self.is_in_pace(index, lane, now) {
            return Flow::Closed;
        }
        let Some(frame) = answer else { return Flow::Continue };
        let frame = Arc::new(Encoded::raw(frame));
        match lane {
            Lane::Main => self.send(index, frame),
            Lane::Probe => self.probe_answers.push(ProbeAnswer { key, link, frame }),
        }
        Flow::Continue
    }

    /// Counts something that a client has sent; false if that was too much, and it is being closed: its session, or the
    /// probe that sent it.
    #[inline]
    pub(super) fn is_in_pace(&mut self, index: u32, lane: Lane, now: Instant) -> bool {
        let Some(rate) = &self.packet_rate else { return true };
        let in_pace = rate.take(&mut self.connections[index as usize].packets, now);
        if !in_pace {
            self.exceed_pace(index, lane, now);
        }
        in_pace
    }

    #[cold]
    fn exceed_pace(&mut self, index: u32, lane: Lane, now: Instant) {
        let handshake = self.connections[index as usize].handshake.as_ref();
        let address = handshake.and_then(HandshakeRecord::address);
        self.happening(Happening::PacketRateExceeded { address });
        let farewell = self.constants.too_fast_frame.clone();
        match lane {
            Lane::Main => self.close_with(index, CloseReason::ForcedClose, farewell, now),
            Lane::Probe => self.close_probe(index, farewell),
        }
    }
}
