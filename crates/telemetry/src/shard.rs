//! The metrics of one shard: handles resolved once, counts added once per batch.

use std::time::Duration;

use engineio::{CloseReason, Transport};
use metrics::{Counter, Gauge, Histogram};

use crate::labels::{
    ConnectRefusal, FaultCause, ForwardFailure, ForwardedRequest, Label, PeerRefusal, Refusal,
};
use crate::names::{self, Metric};

/// What a shard counted since it last reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardCounts {
    /// Engine.IO packets from clients.
    pub packets_received: u64,
    /// Bytes read from clients.
    pub received_bytes: u64,
    /// Engine.IO packets to clients.
    pub packets_sent: u64,
    /// Bytes written to clients.
    pub sent_bytes: u64,
    /// Socket.IO events from clients.
    pub events_received: u64,
    /// Those that no rule allows.
    pub events_refused: u64,
    /// Broadcasts handled.
    pub broadcasts: u64,
    /// Copies of broadcasts queued for sockets.
    pub deliveries: u64,
    /// Volatile messages dropped because a client was not ready.
    pub volatile_dropped: u64,
}

/// The metrics of one shard. Every series exists from the start, at 0, so that rates have a first value.
#[derive(Debug)]
pub struct ShardMetrics {
    connections: ByLabel<Gauge>,
    opened: ByLabel<Counter>,
    /// One row per transport.
    closed: Vec<ByLabel<Counter>>,
    upgrades: Counter,
    packets_received: Counter,
    received_bytes: Counter,
    packets_sent: Counter,
    sent_bytes: Counter,
    events_received: Counter,
    events_refused: Counter,
    broadcasts: Counter,
    deliveries: Counter,
    volatile_dropped: Counter,
    slow_clients_closed: Counter,
    outbox_bytes: Gauge,
    timer_lag: Histogram,
    requests_refused: ByLabel<Counter>,
    connects_refused: ByLabel<Counter>,
    peer_faults: ByLabel<Counter>,
    forwards: ByLabel<Counter>,
    forward_failures: ByLabel<Counter>,
    forward_duration: Histogram,
    spliced: Gauge,
    peer_requests: Counter,
    peer_requests_refused: ByLabel<Counter>,
}

impl ShardMetrics {
    /// Resolves the handles of shard `shard`, from 0. Call after [`init`](crate::init): handles resolved before
    /// a recorder is installed count nothing.
    pub fn new(shard: u16) -> Self {
        let shard = metrics::Label::new("shard", shard.to_string());
        let counter = |metric: Metric| metric.counter(vec![shard.clone()]);
        let row = |transport: Transport| {
            let labels = [shard.clone(), label("transport", transport)];
            ByLabel::new::<CloseReason>("reason", |reason| {
                names::CONNECTIONS_CLOSED.counter([labels.as_slice(), &[reason]].concat())
            })
        };
        let by_cause = |metric: Metric| {
            let shard = shard.clone();
            move |cause| metric.counter(vec![shard.clone(), cause])
        };
        Self {
            connections: ByLabel::new::<Transport>("transport", |transport| {
                names::CONNECTIONS.gauge(vec![shard.clone(), transport])
            }),
            opened: ByLabel::new::<Transport>("transport", by_cause(names::CONNECTIONS_OPENED)),
            closed: Transport::ALL.iter().copied().map(row).collect(),
            upgrades: counter(names::UPGRADES),
            packets_received: counter(names::PACKETS_RECEIVED),
            received_bytes: counter(names::RECEIVED_BYTES),
            packets_sent: counter(names::PACKETS_SENT),
            sent_bytes: counter(names::SENT_BYTES),
            events_received: counter(names::EVENTS_RECEIVED),
            events_refused: counter(names::EVENTS_REFUSED),
            broadcasts: counter(names::BROADCASTS),
            deliveries: counter(names::DELIVERIES),
            volatile_dropped: counter(names::VOLATILE_DROPPED),
            slow_clients_closed: counter(names::SLOW_CLIENTS_CLOSED),
            outbox_bytes: names::OUTBOX_BYTES.gauge(vec![shard.clone()]),
            timer_lag: names::TIMER_LAG.histogram(vec![shard.clone()]),
            requests_refused: ByLabel::new::<Refusal>("cause", by_cause(names::REQUESTS_REFUSED)),
            connects_refused: ByLabel::new::<ConnectRefusal>("cause", by_cause(names::CONNECTS_REFUSED)),
            peer_faults: ByLabel::new::<FaultCause>("cause", by_cause(names::PEER_FAULTS)),
            forwards: ByLabel::new::<ForwardedRequest>("request", by_cause(names::FORWARDS)),
            forward_failures: ByLabel::new::<ForwardFailure>("cause", by_cause(names::FORWARD_FAILURES)),
            forward_duration: names::FORWARD_DURATION.histogram(vec![shard.clone()]),
            spliced: names::SPLICED.gauge(vec![shard.clone()]),
            peer_requests: counter(names::PEER_REQUESTS),
            peer_requests_refused: ByLabel::new::<PeerRefusal>(
                "cause",
                by_cause(names::PEER_REQUESTS_REFUSED),
            ),
        }
    }

    /// A connection has opened.
    pub fn opened(&self, transport: Transport) {
        self.opened.with(transport, |counter| counter.increment(1));
        self.connections.with(transport, |gauge| gauge.increment(1.0));
    }

    /// A connection has closed; `transport` is the one it was on then.
    pub fn closed(&self, transport: Transport, reason: CloseReason) {
        if let Some(row) = self.closed.get(transport.index()) {
            row.with(reason, |counter| counter.increment(1));
        }
        self.connections.with(transport, |gauge| gauge.decrement(1.0));
    }

    /// A connection has moved from polling to WebSocket.
    pub fn upgraded(&self) {
        self.upgrades.increment(1);
        self.connections.with(Transport::Polling, |gauge| gauge.decrement(1.0));
        self.connections.with(Transport::WebSocket, |gauge| gauge.increment(1.0));
    }

    /// Adds what was counted since the last call.
    pub fn add(&self, counts: &ShardCounts) {
        let pairs = [
            (&self.packets_received, counts.packets_received),
            (&self.received_bytes, counts.received_bytes),
            (&self.packets_sent, counts.packets_sent),
            (&self.sent_bytes, counts.sent_bytes),
            (&self.events_received, counts.events_received),
            (&self.events_refused, counts.events_refused),
            (&self.broadcasts, counts.broadcasts),
            (&self.deliveries, counts.deliveries),
            (&self.volatile_dropped, counts.volatile_dropped),
        ];
        for (counter, count) in pairs {
            // Most batches count few things, and an atomic addition of 0 costs as much as any other.
            if count > 0 {
                counter.increment(count);
            }
        }
    }

    /// A client was closed because it did not read.
    pub fn slow_client_closed(&self) {
        self.slow_clients_closed.increment(1);
    }

    /// Bytes that wait for clients now.
    pub fn set_outbox_bytes(&self, bytes: u64) {
        // Exact up to 2^53 bytes.
        self.outbox_bytes.set(bytes as f64);
    }

    /// Timers ran this late.
    pub fn timer_lag(&self, lag: Duration) {
        self.timer_lag.record(lag.as_secs_f64());
    }

    /// A request was refused before it reached a session.
    pub fn request_refused(&self, cause: impl Into<Refusal>) {
        self.requests_refused.with(cause.into(), |counter| counter.increment(1));
    }

    /// A client was refused a namespace.
    pub fn connect_refused(&self, cause: ConnectRefusal) {
        self.connects_refused.with(cause, |counter| counter.increment(1));
    }

    /// A request was forwarded to the gateway that owns its session.
    pub fn forwarded(&self, request: ForwardedRequest) {
        self.forwards.with(request, |counter| counter.increment(1));
    }

    /// A forwarded request has no answer of its owner.
    pub fn forward_failed(&self, cause: ForwardFailure) {
        self.forward_failures.with(cause, |counter| counter.increment(1));
    }

    /// The owner answered so long after the request was forwarded.
    pub fn forward_answered(&self, took: Duration) {
        self.forward_duration.record(took.as_secs_f64());
    }

    /// A WebSocket is passed on between its client and another gateway from now on.
    pub fn splice_began(&self) {
        self.spliced.increment(1.0);
    }

    /// A WebSocket is passed on no more.
    pub fn splice_ended(&self) {
        self.spliced.decrement(1.0);
    }

    /// Another gateway has forwarded a request to this one.
    pub fn peer_request(&self) {
        self.peer_requests.increment(1);
    }

    /// A request on the cluster port was refused.
    pub fn peer_request_refused(&self, cause: PeerRefusal) {
        self.peer_requests_refused.with(cause, |counter| counter.increment(1));
    }

    /// A client did what it must not.
    pub fn peer_fault(&self, cause: impl Into<FaultCause>) {
        self.peer_faults.with(cause.into(), |counter| counter.increment(1));
    }
}

fn label<L: Label>(name: &'static str, value: L) -> metrics::Label {
    metrics::Label::from_static_parts(name, value.as_str())
}

/// One handle per value of a label.
#[derive(Debug)]
struct ByLabel<H>(Vec<H>);

impl<H> ByLabel<H> {
    fn new<L: Label>(name: &'static str, resolve: impl Fn(metrics::Label) -> H) -> Self {
        Self(L::ALL.iter().map(|value| resolve(label(name, *value))).collect())
    }

    fn with(&self, value: impl Label, act: impl FnOnce(&H)) {
        if let Some(handle) = self.0.get(value.index()) {
            act(handle);
        }
    }
}

#[cfg(test)]
mod tests {
    use engineio::{HttpFault, PeerFault};

    use super::*;

    /// What a scrape shows after `act` on shard 0.
    fn scrape(act: impl FnOnce(&ShardMetrics)) -> String {
        let recorder = crate::recorder().unwrap();
        metrics::with_local_recorder(&recorder, || act(&ShardMetrics::new(0)));
        recorder.handle().render()
    }

    fn assert_line(text: &str, line: &str) {
        assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
    }

    #[test]
    fn every_series_exists_at_zero_from_the_start() {
        let text = scrape(|_| {});
        for metric in names::ALL.iter().filter(|metric| metric.labels.contains(&"shard")) {
            assert!(text.contains(&format!("# TYPE {} ", metric.name)), "{}", metric.name);
            for label in metric.labels {
                assert!(
                    text.lines()
                        .any(|line| line.starts_with(metric.name) && line.contains(&format!("{label}=\""))),
                    "{} has no {label}",
                    metric.name
                );
            }
        }
        assert_line(
            &text,
            r#"roomcast_connections_closed_total{shard="0",transport="polling",reason="ping timeout"} 0"#,
        );
    }

    #[test]
    fn an_upgrade_moves_a_connection_between_the_transports() {
        let text = scrape(|shard| {
            shard.opened(Transport::Polling);
            shard.opened(Transport::Polling);
            shard.upgraded();
            shard.closed(Transport::WebSocket, CloseReason::PingTimeout);
        });
        assert_line(&text, r#"roomcast_connections{shard="0",transport="polling"} 1"#);
        assert_line(&text, r#"roomcast_connections{shard="0",transport="websocket"} 0"#);
        assert_line(&text, r#"roomcast_connections_opened_total{shard="0",transport="polling"} 2"#);
        assert_line(
            &text,
            r#"roomcast_connections_closed_total{shard="0",transport="websocket",reason="ping timeout"} 1"#,
        );
        assert_line(&text, r#"roomcast_upgrades_total{shard="0"} 1"#);
    }

    #[test]
    fn counts_are_added_and_faults_keep_their_cause() {
        let text = scrape(|shard| {
            shard.add(&ShardCounts { deliveries: 5, sent_bytes: 700, ..ShardCounts::default() });
            shard.add(&ShardCounts { deliveries: 2, ..ShardCounts::default() });
            shard.request_refused(HttpFault::Forbidden);
            shard.request_refused(Refusal::ConnectionLimit);
            shard.peer_fault(&PeerFault::Overlap("GET"));
            shard.set_outbox_bytes(42);
            shard.timer_lag(Duration::from_millis(2));
        });
        assert_line(&text, r#"roomcast_deliveries_total{shard="0"} 7"#);
        assert_line(&text, r#"roomcast_sent_bytes_total{shard="0"} 700"#);
        assert_line(&text, r#"roomcast_requests_refused_total{shard="0",cause="forbidden"} 1"#);
        assert_line(&text, r#"roomcast_requests_refused_total{shard="0",cause="connection_limit"} 1"#);
        assert_line(&text, r#"roomcast_peer_faults_total{shard="0",cause="overlap"} 1"#);
        assert_line(&text, r#"roomcast_outbox_bytes{shard="0"} 42"#);
        assert_line(&text, r#"roomcast_timer_lag_seconds_bucket{shard="0",le="0.0025"} 1"#);
    }
}
