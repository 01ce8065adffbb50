//! The state machine of one Engine.IO session: packets, timeouts and changes of transport in any order.

use std::time::{Duration, Instant};

use engineio::{EngineConfig, Expired, Lane, PacketKind, Reaction, Revision, Session, Transport};

use crate::program::Program;

/// Pauses between what happens, in ms: below, at and beyond each deadline.
const PAUSES_MS: [u64; 8] = [0, 1, 99, 100, 199, 200, 1_000, 30_000];

/// The first byte chooses revision and transport; each further one is a step.
pub(crate) fn session(bytes: &[u8]) {
    let mut program = Program::new(bytes);
    let Some(selector) = program.byte() else { return };
    let revision = if selector & 1 == 0 { Revision::V3 } else { Revision::V4 };
    let transport = if selector & 2 == 0 { Transport::Polling } else { Transport::WebSocket };
    let config = EngineConfig {
        ping_interval_ms: 200,
        ping_timeout_ms: 100,
        upgrade_timeout_ms: 50,
        ..EngineConfig::default()
    };
    let now = Instant::now();
    let session = Session::open(revision, transport, &config, now);
    let mut owner = Owner { session, config, now, revision };
    while owner.step(&mut program) == Some(true) {
        owner.check();
    }
}

/// Whoever drives a session, as a shard does.
struct Owner {
    session: Session,
    config: EngineConfig,
    now: Instant,
    revision: Revision,
}

impl Owner {
    /// One step; false if the session is over.
    fn step(&mut self, program: &mut Program<'_>) -> Option<bool> {
        let was = (self.session.transport(), self.session.is_closing());
        let goes_on = match program.below(12)? {
            0..=3 => {
                let kind = PacketKind::from_digit(char::from(b'0' + program.byte()? % 7))?;
                let lane = if self.session.is_probing() && program.below(2)? == 0 {
                    Lane::Probe
                } else {
                    Lane::Main
                };
                self.packet(lane, kind, program.below(2)? == 0)
            }
            4 => {
                let waits = self.session.poll_waiting();
                assert_eq!(self.session.handle_poll().is_err(), waits, "one poll at a time");
                !waits
            }
            5 => {
                self.session.poll_answered();
                true
            }
            6 => {
                let runs = self.session.pushing().is_running();
                assert_eq!(self.session.pushing().begin().is_err(), runs, "one push at a time");
                !runs
            }
            7 => {
                self.session.pushing().end();
                true
            }
            8 => {
                let free = was == (Transport::Polling, false) && !self.session.is_probing();
                assert_eq!(self.session.probe_opened(&self.config, self.now), free);
                true
            }
            9 => {
                self.session.probe_closed();
                assert!(!self.session.is_probing());
                true
            }
            10 if was.0 == Transport::Polling => {
                self.session.close_on_next_poll(self.now);
                true
            }
            _ => self.time_passes(PAUSES_MS[program.below(PAUSES_MS.len())?]),
        };
        if was.0 == Transport::WebSocket {
            assert_eq!(self.session.transport(), Transport::WebSocket, "a WebSocket went back to polling");
        }
        assert!(!was.1 || self.session.is_closing(), "a closing session opened again");
        Some(goes_on)
    }

    fn packet(&mut self, lane: Lane, kind: PacketKind, is_probe: bool) -> bool {
        let reaction = self.session.handle_packet(lane, kind, is_probe, &self.config, self.now);
        match (lane, reaction) {
            (Lane::Probe, Err(_)) => {
                self.session.probe_closed();
                true
            }
            (Lane::Main, Err(_)) | (_, Ok(Reaction::Close(_))) => false,
            (_, Ok(Reaction::Message)) => {
                assert_eq!((lane, kind), (Lane::Main, PacketKind::Message));
                assert!(!self.session.is_closing(), "a message of a session that is closing");
                true
            }
            (_, Ok(Reaction::Upgraded)) => {
                assert_eq!(self.session.transport(), Transport::WebSocket);
                true
            }
            (_, Ok(Reaction::Pong)) => {
                assert_eq!(self.revision, Revision::V3);
                true
            }
            (_, Ok(Reaction::ProbePong | Reaction::None)) => true,
        }
    }

    /// Lets time pass, and does what is due at its end.
    fn time_passes(&mut self, pause_ms: u64) -> bool {
        self.now += Duration::from_millis(pause_ms);
        // Each timer fires once at most: three of them, and a heartbeat that is due again.
        for _ in 0..4 {
            match self.session.handle_timeout(&self.config, self.now) {
                None => return true,
                Some(Expired::Ping) => assert_eq!(self.revision, Revision::V4),
                Some(Expired::Probe) => assert!(!self.session.is_probing()),
                Some(Expired::Poll) => panic!("polls of Engine.IO wait for as long as the session lasts"),
                Some(Expired::Session(_)) => return false,
            }
        }
        panic!("timeouts without an end");
    }

    /// A session always ends by itself if nothing more comes.
    fn check(&self) {
        assert!(self.session.poll_timeout().is_some(), "nothing would end it");
        assert!(!self.session.is_closing() || !self.session.is_probing());
    }
}
