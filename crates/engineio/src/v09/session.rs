//! The state machine of one session of protocol 1.

use std::time::{Duration, Instant};

use crate::{CloseReason, EngineConfig, Expired, PacketKind, Pushing, Reaction, Transport};

/// One session, from its handshake.
///
/// ```text
///               poll                 poll answered
///  Handshaken ────────▶ polling ◀──────────────────▶ between polls
///      │                                  poll           │
///      │ WebSocket                                       │ none in time
///      ▼                 closed                          ▼
///  WebSocket ─────────────────────────────────────▶ (forgotten)
/// ```
///
/// Over WebSocket the server sends a heartbeat in each interval, and the client has to send it back; nothing else counts.
/// A waiting poll is answered with nothing in particular after four fifths of the interval, which is 20 s by default as in
/// the reference. From one poll to the next, and from the handshake to the first, may pass what a heartbeat and its answer
/// may take.
#[derive(Debug)]
pub struct Session {
    state: State,
    pushing: Pushing,
    /// When something is to be done next.
    deadline: Instant,
    /// When the next poll has to be here, if there is no WebSocket.
    lost_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Handshaken,
    PollWaiting,
    BetweenPolls,
    /// The next heartbeat is due.
    Pause,
    /// The answer to the last heartbeat is.
    HeartbeatDue,
}

impl Session {
    /// A session that nobody has opened a transport for.
    pub fn handshaken(config: &EngineConfig, now: Instant) -> Self {
        let lost_at = now + patience(config);
        Self { state: State::Handshaken, pushing: Pushing::default(), deadline: lost_at, lost_at }
    }

    /// The transport in force; polling as long as there is none.
    pub fn transport(&self) -> Transport {
        match self.state {
            State::Handshaken | State::PollWaiting | State::BetweenPolls => Transport::Polling,
            State::Pause | State::HeartbeatDue => Transport::WebSocket,
        }
    }

    /// Whether the first transport is still to come.
    pub fn is_handshaken(&self) -> bool {
        self.state == State::Handshaken
    }

    /// Takes in one packet.
    pub fn handle_packet(&mut self, kind: PacketKind, config: &EngineConfig, now: Instant) -> Reaction {
        match kind {
            PacketKind::Pong if self.state == State::HeartbeatDue => {
                self.enter(State::Pause, now + config.ping_interval());
                Reaction::None
            }
            PacketKind::Message => Reaction::Message,
            PacketKind::Close => Reaction::Close(CloseReason::TransportClose),
            _ => Reaction::None,
        }
    }

    /// A poll has come and waits for its answer. One that waited already is to be answered: the new one replaces it.
    pub fn handle_poll(&mut self, config: &EngineConfig, now: Instant) {
        self.enter(State::PollWaiting, now + config.ping_interval() * 4 / 5);
        self.lost_at = now + patience(config);
    }

    /// The waiting poll has been answered, or given up by the client.
    pub fn poll_answered(&mut self) {
        if self.state == State::PollWaiting {
            self.enter(State::BetweenPolls, self.lost_at);
        }
    }

    /// A WebSocket has been opened. False if there is one already, which keeps the session.
    #[must_use]
    pub fn websocket_opened(&mut self, config: &EngineConfig, now: Instant) -> bool {
        let free = self.transport() == Transport::Polling;
        if free {
            self.enter(State::Pause, now + config.ping_interval());
        }
        free
    }

    /// The push that the client may be sending.
    pub fn pushing(&mut self) -> &mut Pushing {
        &mut self.pushing
    }

    /// What is due at `now`.
    pub fn handle_timeout(&mut self, config: &EngineConfig, now: Instant) -> Option<Expired> {
        if self.deadline > now {
            return None;
        }
        match self.state {
            State::Pause => {
                self.enter(State::HeartbeatDue, now + config.ping_timeout());
                Some(Expired::Ping)
            }
            // Answering it is what ends the state: until then it is not asked for again.
            State::PollWaiting if self.deadline < self.lost_at => {
                self.deadline = self.lost_at;
                Some(Expired::Poll)
            }
            State::Handshaken | State::PollWaiting | State::BetweenPolls | State::HeartbeatDue => {
                Some(Expired::Session(CloseReason::PingTimeout))
            }
        }
    }

    /// When [`Self::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Instant {
        self.deadline
    }

    fn enter(&mut self, state: State, deadline: Instant) {
        (self.state, self.deadline) = (state, deadline);
    }
}

/// How long a client may be silent.
fn patience(config: &EngineConfig) -> Duration {
    config.ping_interval() + config.ping_timeout()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn handshaken() -> (Session, EngineConfig, Instant) {
        let config = EngineConfig { ping_interval_ms: 200, ping_timeout_ms: 100, ..EngineConfig::default() };
        let now = Instant::now();
        (Session::handshaken(&config, now), config, now)
    }

    const LATE: Option<Expired> = Some(Expired::Session(CloseReason::PingTimeout));

    #[test]
    fn a_session_without_a_transport_does_not_last() {
        let (mut session, config, now) = handshaken();
        assert_eq!(session.handle_timeout(&config, now + 299 * MS), None);
        assert_eq!(session.handle_timeout(&config, now + 300 * MS), LATE);
    }

    #[test]
    fn only_a_heartbeat_answers_a_heartbeat() {
        let (mut session, config, now) = handshaken();
        assert!(session.websocket_opened(&config, now));
        assert_eq!(session.handle_timeout(&config, now + 200 * MS), Some(Expired::Ping));
        assert_eq!(session.handle_packet(PacketKind::Message, &config, now + 250 * MS), Reaction::Message);
        assert_eq!(session.handle_packet(PacketKind::Pong, &config, now + 290 * MS), Reaction::None);
        assert_eq!(session.handle_timeout(&config, now + 490 * MS), Some(Expired::Ping));
        session.handle_packet(PacketKind::Message, &config, now + 500 * MS);
        assert_eq!(session.handle_timeout(&config, now + 590 * MS), LATE);
    }

    #[test]
    fn a_poll_is_released_within_the_interval_and_the_next_one_awaited() {
        let (mut session, config, now) = handshaken();
        session.handle_poll(&config, now);
        assert_eq!(session.handle_timeout(&config, now + 160 * MS), Some(Expired::Poll));
        assert_eq!(session.handle_timeout(&config, now + 160 * MS), None);
        session.poll_answered();
        assert_eq!(session.handle_timeout(&config, now + 299 * MS), None);
        session.handle_poll(&config, now + 299 * MS);
        session.poll_answered();
        assert_eq!(session.handle_timeout(&config, now + 598 * MS), None);
        assert_eq!(session.handle_timeout(&config, now + 599 * MS), LATE);
    }

    #[test]
    fn a_second_websocket_is_refused() {
        let (mut session, config, now) = handshaken();
        session.handle_poll(&config, now);
        assert!(session.websocket_opened(&config, now));
        assert_eq!(session.transport(), Transport::WebSocket);
        assert!(!session.websocket_opened(&config, now));
    }

    #[test]
    fn a_disconnect_ends_the_session_on_every_transport() {
        let (mut session, config, now) = handshaken();
        let close = Reaction::Close(CloseReason::TransportClose);
        assert_eq!(session.handle_packet(PacketKind::Close, &config, now), close);
        assert!(session.websocket_opened(&config, now));
        assert_eq!(session.handle_packet(PacketKind::Close, &config, now), close);
    }
}
