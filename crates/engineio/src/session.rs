//! One Engine.IO session: which transport is in force, heartbeats, upgrade and close.
//!
//! It sees the kinds of packets, never their data, and no bytes: whoever drives it decodes and encodes.

use std::time::{Duration, Instant};

use crate::{
    CloseReason, EngineConfig, PacketKind, PeerFault, Pushing, Revision, Transport,
    timer::{Timer, Timers},
};

/// How long a close over polling waits to be fetched, as in the reference server.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The state machine of one session.
///
/// ```text
///            probe_opened          5 on the probe
///  Polling ───────────────▶ Probing ────────────▶ WebSocket
///     │ ▲                      │ │                    │
///     │ └── probe lost or late ┘ │                    │ close
///     │ close                    │ close              ▼
///     └──▶ Closing ◀─────────────┘               (forgotten)
///            │ a poll fetched it, or 30 s
///            ▼
///        (forgotten)
/// ```
///
/// The owner drops a session that is to be forgotten; there is no state for it. Revision 3 differs in
/// its heartbeat alone.
#[derive(Debug)]
pub struct Session {
    revision: Revision,
    state: State,
    heartbeat: Heartbeat,
    poll_waiting: bool,
    pushing: Pushing,
    timers: Timers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Polling,
    /// A WebSocket is open beside polling; `confirmed` once its probe was answered.
    Probing {
        confirmed: bool,
    },
    WebSocket,
    Closing,
}

/// Who asks whether the other is alive, and what is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heartbeat {
    /// Revision 4: the timer fires when the next ping is to be sent.
    Pause,
    /// Revision 4: the timer fires when the pong is late; another packet may push it back once.
    PongDue { extended: bool },
    /// Revision 3: the timer fires when the client's ping is late.
    ClientPing,
}

/// Over which transport of the session a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The transport in force.
    Main,
    /// A WebSocket that has not taken over yet.
    Probe,
}

/// What a packet asks of the session's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    None,
    /// Hand its data to Socket.IO.
    Message,
    /// Answer `3` on the main transport (revision 3).
    Pong,
    /// Answer `3probe` on the probe, and release a waiting poll with [`Session::release_poll`].
    ProbePong,
    /// The probe is the main transport now: release a waiting poll, then send what is queued over it.
    Upgraded,
    /// End the session.
    Close(CloseReason),
}

/// What a deadline asks of the session's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// Send a ping.
    Ping,
    /// Answer the waiting poll, with nothing if there is nothing (0.9 only).
    Poll,
    /// Close the probe; polling goes on.
    Probe,
    /// End the session.
    Session(CloseReason),
}

impl Session {
    /// A session that starts on `transport` at `now`.
    pub fn open(revision: Revision, transport: Transport, config: &EngineConfig, now: Instant) -> Self {
        let mut session = Self {
            revision,
            state: match transport {
                Transport::Polling => State::Polling,
                Transport::WebSocket => State::WebSocket,
            },
            heartbeat: Heartbeat::Pause,
            poll_waiting: false,
            pushing: Pushing::default(),
            timers: Timers::default(),
        };
        session.restart_heartbeat(config, now);
        session
    }

    /// The revision the client speaks.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The transport in force.
    pub fn transport(&self) -> Transport {
        match self.state {
            State::WebSocket => Transport::WebSocket,
            State::Polling | State::Probing { .. } | State::Closing => Transport::Polling,
        }
    }

    /// Whether a WebSocket is open beside polling.
    pub fn is_probing(&self) -> bool {
        matches!(self.state, State::Probing { .. })
    }

    /// Whether the session only waits for its close to be fetched.
    pub fn is_closing(&self) -> bool {
        self.state == State::Closing
    }

    /// Takes in one decoded packet; `is_probe` says whether its data is the text `probe`.
    ///
    /// # Errors
    /// [`PeerFault::WrongHeartbeat`] for a ping on revision 4 or a pong on revision 3;
    /// [`PeerFault::UnexpectedOnProbe`] ends the probe only.
    pub fn handle_packet(
        &mut self,
        lane: Lane,
        kind: PacketKind,
        is_probe: bool,
        config: &EngineConfig,
        now: Instant,
    ) -> Result<Reaction, PeerFault> {
        match lane {
            Lane::Probe => self.handle_on_probe(kind, is_probe, config, now),
            Lane::Main => self.handle_on_main(kind, config, now),
        }
    }

    fn handle_on_probe(
        &mut self,
        kind: PacketKind,
        is_probe: bool,
        config: &EngineConfig,
        now: Instant,
    ) -> Result<Reaction, PeerFault> {
        match kind {
            PacketKind::Ping if is_probe => {
                self.state = State::Probing { confirmed: true };
                Ok(Reaction::ProbePong)
            }
            // The reference server takes an upgrade without a probe too.
            PacketKind::Upgrade => {
                self.state = State::WebSocket;
                self.timers.clear(Timer::UpgradeLate);
                // The pong of a ping sent over polling may be lost in the switch: start afresh.
                self.restart_heartbeat(config, now);
                Ok(Reaction::Upgraded)
            }
            _ => Err(PeerFault::UnexpectedOnProbe),
        }
    }

    fn handle_on_main(
        &mut self,
        kind: PacketKind,
        config: &EngineConfig,
        now: Instant,
    ) -> Result<Reaction, PeerFault> {
        if self.is_closing() {
            return Ok(Reaction::None);
        }
        match (kind, self.revision) {
            (PacketKind::Pong, Revision::V4) => {
                self.restart_heartbeat(config, now);
                return Ok(Reaction::None);
            }
            (PacketKind::Ping, Revision::V3) => {
                self.restart_heartbeat(config, now);
                return Ok(Reaction::Pong);
            }
            (PacketKind::Ping, Revision::V4) | (PacketKind::Pong, Revision::V3) => {
                return Err(PeerFault::WrongHeartbeat);
            }
            _ => {}
        }
        self.extend_pong(config, now);
        Ok(match kind {
            PacketKind::Message => Reaction::Message,
            // Over WebSocket the client closes the WebSocket itself, and the packet means nothing.
            PacketKind::Close if self.transport() == Transport::Polling => {
                Reaction::Close(CloseReason::TransportClose)
            }
            _ => Reaction::None,
        })
    }

    // The first packet of another kind restarts a running pong timer, once (engine.io 6.6).
    fn extend_pong(&mut self, config: &EngineConfig, now: Instant) {
        if self.heartbeat == (Heartbeat::PongDue { extended: false }) {
            self.heartbeat = Heartbeat::PongDue { extended: true };
            self.timers.set(Timer::Heartbeat, now + config.ping_timeout());
        }
    }

    fn restart_heartbeat(&mut self, config: &EngineConfig, now: Instant) {
        let (heartbeat, patience) = match self.revision {
            Revision::V4 => (Heartbeat::Pause, config.ping_interval()),
            Revision::V3 => (Heartbeat::ClientPing, config.ping_interval() + config.ping_timeout()),
        };
        self.heartbeat = heartbeat;
        self.timers.set(Timer::Heartbeat, now + patience);
    }

    /// A poll has come and waits for its answer.
    ///
    /// # Errors
    /// [`PeerFault::Overlap`] if another one waits already: the session is to be closed.
    pub fn handle_poll(&mut self) -> Result<(), PeerFault> {
        if self.poll_waiting {
            return Err(PeerFault::Overlap("poll"));
        }
        self.poll_waiting = true;
        Ok(())
    }

    /// Whether a poll waits.
    pub fn poll_waiting(&self) -> bool {
        self.poll_waiting
    }

    /// The waiting poll has been answered.
    pub fn poll_answered(&mut self) {
        self.poll_waiting = false;
    }

    /// Whether a waiting poll must be released with a noop so that the client can finish its upgrade.
    pub fn release_poll(&self) -> bool {
        self.poll_waiting && matches!(self.state, State::Probing { confirmed: true } | State::WebSocket)
    }

    /// The push that the client may be sending.
    pub fn pushing(&mut self) -> &mut Pushing {
        &mut self.pushing
    }

    /// A WebSocket has been opened for this polling session. False if one is there already: then the
    /// new one is to be closed, and the session lives on.
    #[must_use]
    pub fn probe_opened(&mut self, config: &EngineConfig, now: Instant) -> bool {
        let free = self.state == State::Polling;
        if free {
            self.state = State::Probing { confirmed: false };
            self.timers.set(Timer::UpgradeLate, now + config.upgrade_timeout());
        }
        free
    }

    /// The probe is gone before it took over; polling goes on.
    pub fn probe_closed(&mut self) {
        if self.is_probing() {
            self.state = State::Polling;
            self.timers.clear(Timer::UpgradeLate);
        }
    }

    /// The session is closed over polling, and the close waits to be fetched by the next poll.
    pub fn close_on_next_poll(&mut self, now: Instant) {
        self.state = State::Closing;
        self.timers = Timers::default();
        self.timers.set(Timer::CloseLate, now + CLOSE_TIMEOUT);
    }

    /// What is due at `now`. Call until `None`.
    pub fn handle_timeout(&mut self, config: &EngineConfig, now: Instant) -> Option<Expired> {
        let (timer, due) = self.timers.expire(now)?;
        match timer {
            Timer::Heartbeat if self.heartbeat == Heartbeat::Pause => {
                self.heartbeat = Heartbeat::PongDue { extended: false };
                // From when the ping was due, so that a clock of coarse ticks prolongs no session. If we stood
                // still meanwhile, the client has half of its time all the same.
                let pong_due = due + config.ping_timeout();
                self.timers.set(Timer::Heartbeat, pong_due.max(now + config.ping_timeout() / 2));
                Some(Expired::Ping)
            }
            Timer::Heartbeat => Some(Expired::Session(CloseReason::PingTimeout)),
            Timer::UpgradeLate => {
                self.state = State::Polling;
                Some(Expired::Probe)
            }
            Timer::CloseLate => Some(Expired::Session(CloseReason::ForcedClose)),
        }
    }

    /// When [`Self::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn config() -> EngineConfig {
        EngineConfig { ping_interval_ms: 200, ping_timeout_ms: 100, ..EngineConfig::default() }
    }

    fn session(revision: Revision, transport: Transport) -> (Session, EngineConfig, Instant) {
        let (config, now) = (config(), Instant::now());
        (Session::open(revision, transport, &config, now), config, now)
    }

    #[test]
    fn the_server_pings_and_a_late_pong_closes_the_session() {
        let (mut session, config, now) = session(Revision::V4, Transport::WebSocket);
        assert_eq!(session.poll_timeout(), Some(now + 200 * MS));
        assert_eq!(session.handle_timeout(&config, now + 199 * MS), None);
        assert_eq!(session.handle_timeout(&config, now + 200 * MS), Some(Expired::Ping));
        assert_eq!(session.handle_timeout(&config, now + 299 * MS), None);
        assert_eq!(
            session.handle_timeout(&config, now + 300 * MS),
            Some(Expired::Session(CloseReason::PingTimeout))
        );
    }

    #[test]
    fn a_ping_that_is_sent_late_moves_the_pong_only_as_far_as_the_client_needs() {
        for (sent, deadline) in [(208, 300), (250, 300), (9_000, 9_050)] {
            let (mut session, config, now) = session(Revision::V4, Transport::Polling);
            assert_eq!(session.handle_timeout(&config, now + sent * MS), Some(Expired::Ping));
            assert_eq!(session.poll_timeout(), Some(now + deadline * MS), "{sent}");
        }
    }

    #[test]
    fn a_pong_starts_the_next_interval() {
        let (mut session, config, now) = session(Revision::V4, Transport::WebSocket);
        session.handle_timeout(&config, now + 200 * MS);
        let pong = session.handle_packet(Lane::Main, PacketKind::Pong, false, &config, now + 250 * MS);
        assert_eq!(pong, Ok(Reaction::None));
        assert_eq!(session.poll_timeout(), Some(now + 450 * MS));
    }

    #[test]
    fn another_packet_pushes_a_due_pong_back_once() {
        let (mut session, config, now) = session(Revision::V4, Transport::WebSocket);
        session.handle_timeout(&config, now + 200 * MS);
        for (at, deadline) in [(250, 350), (300, 350)] {
            let message =
                session.handle_packet(Lane::Main, PacketKind::Message, false, &config, now + at * MS);
            assert_eq!(message, Ok(Reaction::Message));
            assert_eq!(session.poll_timeout(), Some(now + deadline * MS));
        }
    }

    #[test]
    fn a_client_of_revision_3_pings_and_only_pings_count() {
        let (mut session, config, now) = session(Revision::V3, Transport::WebSocket);
        assert_eq!(session.poll_timeout(), Some(now + 300 * MS));
        session.handle_packet(Lane::Main, PacketKind::Message, false, &config, now + 100 * MS).unwrap();
        assert_eq!(session.poll_timeout(), Some(now + 300 * MS));
        let ping = session.handle_packet(Lane::Main, PacketKind::Ping, true, &config, now + 150 * MS);
        assert_eq!(ping, Ok(Reaction::Pong));
        assert_eq!(session.poll_timeout(), Some(now + 450 * MS));
    }

    #[test]
    fn a_heartbeat_in_the_wrong_direction_is_a_fault() {
        for (revision, kind) in [(Revision::V4, PacketKind::Ping), (Revision::V3, PacketKind::Pong)] {
            let (mut session, config, now) = session(revision, Transport::WebSocket);
            let fault = session.handle_packet(Lane::Main, kind, false, &config, now);
            assert_eq!(fault, Err(PeerFault::WrongHeartbeat));
        }
    }

    #[test]
    fn an_upgrade_moves_the_session_and_restarts_the_heartbeat() {
        let (mut session, config, now) = session(Revision::V4, Transport::Polling);
        session.handle_timeout(&config, now + 200 * MS);
        assert!(session.probe_opened(&config, now + 210 * MS));
        let probe = session.handle_packet(Lane::Probe, PacketKind::Ping, true, &config, now + 220 * MS);
        assert_eq!(probe, Ok(Reaction::ProbePong));
        assert_eq!(session.transport(), Transport::Polling);
        let upgrade = session.handle_packet(Lane::Probe, PacketKind::Upgrade, false, &config, now + 230 * MS);
        assert_eq!(upgrade, Ok(Reaction::Upgraded));
        assert_eq!(session.transport(), Transport::WebSocket);
        assert_eq!(session.poll_timeout(), Some(now + 430 * MS));
    }

    #[test]
    fn a_poll_during_the_probe_is_released_only_once_the_probe_is_confirmed() {
        let (mut session, config, now) = session(Revision::V4, Transport::Polling);
        session.handle_poll().unwrap();
        assert!(session.probe_opened(&config, now));
        assert!(!session.release_poll());
        session.handle_packet(Lane::Probe, PacketKind::Ping, true, &config, now).unwrap();
        assert!(session.release_poll());
        session.poll_answered();
        assert!(!session.release_poll());
    }

    #[test]
    fn a_second_probe_is_refused_and_a_late_one_closed() {
        let (mut session, config, now) = session(Revision::V4, Transport::Polling);
        assert!(session.probe_opened(&EngineConfig { upgrade_timeout_ms: 50, ..config.clone() }, now));
        assert!(!session.probe_opened(&config, now));
        assert_eq!(session.handle_timeout(&config, now + 50 * MS), Some(Expired::Probe));
        assert!(session.probe_opened(&config, now + 60 * MS));
    }

    #[test]
    fn anything_else_on_a_probe_is_refused_and_polling_lives_on() {
        let (mut session, config, now) = session(Revision::V4, Transport::Polling);
        assert!(session.probe_opened(&config, now));
        for (kind, is_probe) in [(PacketKind::Message, false), (PacketKind::Ping, false)] {
            let fault = session.handle_packet(Lane::Probe, kind, is_probe, &config, now);
            assert_eq!(fault, Err(PeerFault::UnexpectedOnProbe));
        }
        session.probe_closed();
        assert_eq!(session.transport(), Transport::Polling);
    }

    #[test]
    fn overlapping_requests_are_faults() {
        let (mut session, ..) = session(Revision::V4, Transport::Polling);
        assert_eq!(session.handle_poll(), Ok(()));
        assert_eq!(session.handle_poll(), Err(PeerFault::Overlap("poll")));
        assert_eq!(session.pushing().begin(), Ok(()));
        assert_eq!(session.pushing().begin(), Err(PeerFault::Overlap("push")));
        session.pushing().end();
        assert_eq!(session.pushing().begin(), Ok(()));
    }

    #[test]
    fn a_close_packet_counts_over_polling_only() {
        for (transport, expected) in [
            (Transport::Polling, Reaction::Close(CloseReason::TransportClose)),
            (Transport::WebSocket, Reaction::None),
        ] {
            let (mut session, config, now) = session(Revision::V4, transport);
            assert_eq!(
                session.handle_packet(Lane::Main, PacketKind::Close, false, &config, now),
                Ok(expected)
            );
        }
    }

    #[test]
    fn a_close_that_nobody_fetches_ends_after_thirty_seconds() {
        let (mut session, config, now) = session(Revision::V4, Transport::Polling);
        session.close_on_next_poll(now);
        assert_eq!(
            session.handle_packet(Lane::Main, PacketKind::Message, false, &config, now),
            Ok(Reaction::None)
        );
        assert_eq!(session.poll_timeout(), Some(now + CLOSE_TIMEOUT));
        assert_eq!(
            session.handle_timeout(&config, now + CLOSE_TIMEOUT),
            Some(Expired::Session(CloseReason::ForcedClose))
        );
    }
}
