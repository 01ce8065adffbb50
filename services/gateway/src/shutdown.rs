//! The end of the process: unready, no new clients, those that are here closed over the drain period, exit.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::timeout,
};

use crate::{
    admin::{Readiness, Unready},
    config::ShutdownConfig,
    inbox::{Command, Shards},
};

/// How long calls of the publish API that have begun may take once all clients are gone.
const CALLS_GRACE: Duration = Duration::from_millis(500);

/// How one shard ended.
pub(crate) struct ShardEnd {
    pub(crate) shard: u8,
    pub(crate) result: io::Result<()>,
}

/// The signals that tell the process to stop. A hang-up is one of them: without a handler it would cut all clients
/// at once, and there is nothing to read again, because certificates and keys are watched.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Begins to listen; from now on the signals do not kill.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Changes readiness and says so.
pub(crate) fn set_ready(ready: &watch::Sender<Readiness>, change: impl FnOnce(&mut Readiness)) {
    ready.send_modify(change);
    let readiness = ready.borrow();
    let reasons: Vec<&str> = readiness.reasons().iter().map(|reason| reason.as_str()).collect();
    telemetry::emit(&telemetry::ReadinessChanged { ready: readiness.is_ready(), reasons: reasons.join(",") });
}

/// Waits for a signal, then drains. A second signal ends the process at once.
///
/// # Errors
/// When a shard fails: the process ends so that it is started anew.
pub(crate) async fn run_until_stopped(
    config: &ShutdownConfig,
    shards: &Shards,
    ready: &watch::Sender<Readiness>,
    mut signals: Signals,
    mut ends: mpsc::Receiver<ShardEnd>,
    stop: watch::Sender<bool>,
) -> anyhow::Result<()> {
    tokio::select! {
        () = signals.next() => {}
        end = ends.recv() => {
            set_ready(ready, |readiness| readiness.set(Unready::ShardFailed));
            return Err(failure(end));
        }
    }
    set_ready(ready, |readiness| readiness.set(Unready::Draining));
    let started = Instant::now();
    telemetry::emit(&telemetry::DrainStarted { drain_ms: config.drain_ms });
    for inbox in shards.inboxes() {
        // A shard that is gone has nothing to drain.
        inbox.send(Command::Drain(started + config.drain())).await.ok();
    }
    let all_ended = async {
        for _ in shards.inboxes() {
            ends.recv().await;
        }
    };
    tokio::select! {
        () = signals.next() => return Ok(()),
        drained = timeout(config.deadline(), all_ended) => match drained {
            Ok(()) => telemetry::emit(&telemetry::DrainFinished {
                took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            }),
            Err(_) => telemetry::emit(&telemetry::DrainDeadlinePassed {}),
        },
    }
    stop.send_replace(true);
    tokio::time::sleep(CALLS_GRACE).await;
    Ok(())
}

fn failure(end: Option<ShardEnd>) -> anyhow::Error {
    let (shard, error) = match end {
        Some(ShardEnd { shard, result: Err(error) }) => (shard, error.to_string()),
        Some(ShardEnd { shard, result: Ok(()) }) => (shard, "it ended by itself".to_owned()),
        None => (0, "all shards have panicked".to_owned()),
    };
    telemetry::emit(&telemetry::ShardFailed { shard: shard.into(), error: error.clone() });
    anyhow::anyhow!("shard {shard} has ended: {error}")
}
