//! What a shard tells metrics and logs.

use std::time::Instant;

use broker::{ConnectRefusal, Happening};
use rooms::shrink_after_wave;
use telemetry::ShardCounts;

use super::{Driver, GAUGE_PAUSE};
use crate::{context::Context, tasks::parking};

impl Driver {
    /// Adds what a turn has counted.
    pub(super) fn report(&mut self, now: Instant) {
        let counters = self.shard.take_counters();
        self.metrics.add(&ShardCounts {
            packets_received: counters.packets_in,
            received_bytes: std::mem::take(&mut self.received_bytes),
            packets_sent: counters.packets_out,
            sent_bytes: counters.bytes_out,
            events_received: counters.events_in,
            events_refused: counters.events_refused,
            broadcasts: counters.broadcasts,
            deliveries: counters.deliveries,
            volatile_dropped: counters.volatile_dropped,
        });
        if now >= self.gauges_at {
            self.gauges_at = now + GAUGE_PAUSE;
            self.metrics.set_outbox_bytes(self.shard.outbox_bytes());
            self.shrink(now);
        }
    }

    /// Gives back what a past crowd needed.
    fn shrink(&mut self, now: Instant) {
        self.shard.shrink();
        shrink_after_wave(&mut self.links);
        self.polls.shrink();
        parking::shrink();
        let links = self.links.len();
        self.unread.shrink_to(links);
        self.pushes.shrink_to(2 * self.pushes.len());
        self.calls.shrink_to(2 * self.calls.len());
        self.backlog.shrink();
        if self.number == 0 {
            self.context.quotas.shrink(now);
        }
    }
}

impl Context {
    /// Counts and logs what happened in a shard.
    pub(super) fn record(&self, happening: &Happening) {
        match happening {
            Happening::SessionOpened(transport) => self.metrics.opened(*transport),
            Happening::SessionClosed(transport, reason) => self.metrics.closed(*transport, *reason),
            Happening::Upgraded => self.metrics.upgraded(),
            Happening::EnginePeerFault(fault) => self.metrics.peer_fault(fault),
            Happening::SocketPeerFault(offence) => {
                self.metrics.peer_fault(telemetry::FaultCause::SocketPacket);
                tracing::debug!(offence, "a client broke the rules of Socket.IO and was closed");
            }
            Happening::SlowClientClosed { queued_bytes } => {
                self.metrics.slow_client_closed();
                telemetry::emit(&telemetry::SlowClientClosed { queued_bytes: *queued_bytes });
            }
            Happening::PacketRateExceeded { address } => {
                self.metrics.peer_fault(telemetry::FaultCause::PacketRate);
                let address = address.map(|address| address.to_string()).unwrap_or_default();
                telemetry::emit(&telemetry::PacketRateExceeded { address });
            }
            Happening::ConnectRefused(refusal) => self.metrics.connect_refused(match refusal {
                ConnectRefusal::UnknownNamespace => telemetry::ConnectRefusal::UnknownNamespace,
                ConnectRefusal::NotAuthorized => telemetry::ConnectRefusal::NotAuthorized,
                ConnectRefusal::TooManyNamespaces => telemetry::ConnectRefusal::TooManyNamespaces,
            }),
        }
    }
}
