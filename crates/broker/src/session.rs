//! The state machine of a connection's session, by the protocol that it speaks.

use std::time::Instant;

use engineio::{EngineConfig, Expired, Lane, PacketKind, PeerFault, Pushing, Reaction, Transport, v09};

use crate::dialect::Wire;

/// One of the two state machines. What only one of them knows is nothing to the other: 0.9 has no upgrade, hence no
/// probes, and nobody waits for the end of its sessions.
#[derive(Debug)]
pub(crate) enum Session {
    Engine(engineio::Session),
    V09(v09::Session),
}

impl Session {
    /// A session that starts on `transport` at `now`; of 0.9 it starts with none.
    pub(crate) fn open(wire: Wire, transport: Transport, config: &EngineConfig, now: Instant) -> Self {
        match wire {
            Wire::Engine(revision) => Self::Engine(engineio::Session::open(revision, transport, config, now)),
            Wire::V09 => Self::V09(v09::Session::handshaken(config, now)),
        }
    }

    #[inline]
    pub(crate) fn transport(&self) -> Transport {
        match self {
            Self::Engine(session) => session.transport(),
            Self::V09(session) => session.transport(),
        }
    }

    pub(crate) fn is_probing(&self) -> bool {
        matches!(self, Self::Engine(session) if session.is_probing())
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self, Self::Engine(session) if session.is_closing())
    }

    /// Whether the client has not opened its first transport yet.
    pub(crate) fn is_handshaken(&self) -> bool {
        matches!(self, Self::V09(session) if session.is_handshaken())
    }

    pub(crate) fn handle_packet(
        &mut self,
        lane: Lane,
        kind: PacketKind,
        is_probe: bool,
        config: &EngineConfig,
        now: Instant,
    ) -> Result<Reaction, PeerFault> {
        match self {
            Self::Engine(session) => session.handle_packet(lane, kind, is_probe, config, now),
            Self::V09(session) => Ok(session.handle_packet(kind, config, now)),
        }
    }

    pub(crate) fn handle_poll(&mut self, config: &EngineConfig, now: Instant) -> Result<(), PeerFault> {
        match self {
            Self::Engine(session) => session.handle_poll(),
            Self::V09(session) => {
                session.handle_poll(config, now);
                Ok(())
            }
        }
    }

    #[inline]
    pub(crate) fn poll_answered(&mut self) {
        match self {
            Self::Engine(session) => session.poll_answered(),
            Self::V09(session) => session.poll_answered(),
        }
    }

    pub(crate) fn release_poll(&self) -> bool {
        matches!(self, Self::Engine(session) if session.release_poll())
    }

    pub(crate) fn pushing(&mut self) -> &mut Pushing {
        match self {
            Self::Engine(session) => session.pushing(),
            Self::V09(session) => session.pushing(),
        }
    }

    #[must_use]
    pub(crate) fn probe_opened(&mut self, config: &EngineConfig, now: Instant) -> bool {
        match self {
            Self::Engine(session) => session.probe_opened(config, now),
            Self::V09(_) => false,
        }
    }

    pub(crate) fn probe_closed(&mut self) {
        if let Self::Engine(session) = self {
            session.probe_closed();
        }
    }

    /// The WebSocket of a session that was handshaken before; false if there is one already.
    #[must_use]
    pub(crate) fn websocket_opened(&mut self, config: &EngineConfig, now: Instant) -> bool {
        match self {
            Self::Engine(_) => false,
            Self::V09(session) => session.websocket_opened(config, now),
        }
    }

    /// Keeps the session until its close is fetched by a poll; false if none would.
    #[must_use]
    pub(crate) fn close_on_next_poll(&mut self, now: Instant) -> bool {
        match self {
            Self::Engine(session) => {
                session.close_on_next_poll(now);
                true
            }
            // A session that is unknown is the same to its client.
            Self::V09(_) => false,
        }
    }

    pub(crate) fn handle_timeout(&mut self, config: &EngineConfig, now: Instant) -> Option<Expired> {
        match self {
            Self::Engine(session) => session.handle_timeout(config, now),
            Self::V09(session) => session.handle_timeout(config, now),
        }
    }

    #[inline]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Engine(session) => session.poll_timeout(),
            Self::V09(session) => Some(session.poll_timeout()),
        }
    }
}
