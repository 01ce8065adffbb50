//! Every metric: name, kind, unit, meaning and labels. Nothing else in the workspace names one.

use metrics::{Counter, Gauge, Histogram, Label, Unit, counter, gauge, histogram};
use metrics::{describe_counter, describe_gauge, describe_histogram};

/// How a metric behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution in [`BUCKETS_S`].
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its Prometheus name, with the unit, and `_total` for counters.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What one is.
    pub unit: Unit,
    /// What it says, in one sentence.
    pub help: &'static str,
    /// Its labels; `shard` is one value per core, the others have the values listed in the type of that name.
    pub labels: &'static [&'static str],
}

/// Upper bounds of the histogram buckets, in s: from one turn of a quiet shard to a patience of 10 s.
pub const BUCKETS_S: [f64; 14] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

macro_rules! metrics_table {
    ($($constant:ident: $kind:ident $name:literal $unit:ident [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric = Metric {
                name: $name, kind: Kind::$kind, unit: Unit::$unit, help: $help, labels: &[$($label),*],
            };
        )*

        /// Every metric, in the order of this file.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics_table! {
    CONNECTIONS: Gauge "roomcast_connections" Count ["shard", "transport"]
        "Open connections.";
    CONNECTIONS_OPENED: Counter "roomcast_connections_opened_total" Count ["shard", "transport"]
        "Connections opened, by the transport they started on.";
    CONNECTIONS_CLOSED: Counter "roomcast_connections_closed_total" Count ["shard", "transport", "reason"]
        "Connections closed, by their last transport, in the words of the reference server.";
    UPGRADES: Counter "roomcast_upgrades_total" Count ["shard"]
        "Connections that moved from polling to WebSocket.";
    PACKETS_RECEIVED: Counter "roomcast_packets_received_total" Count ["shard"]
        "Engine.IO packets from clients.";
    RECEIVED_BYTES: Counter "roomcast_received_bytes_total" Bytes ["shard"]
        "Bytes read from clients.";
    PACKETS_SENT: Counter "roomcast_packets_sent_total" Count ["shard"]
        "Engine.IO packets to clients.";
    SENT_BYTES: Counter "roomcast_sent_bytes_total" Bytes ["shard"]
        "Bytes written to clients.";
    EVENTS_RECEIVED: Counter "roomcast_events_received_total" Count ["shard"]
        "Socket.IO events from clients.";
    EVENTS_REFUSED: Counter "roomcast_events_refused_total" Count ["shard"]
        "Socket.IO events from clients that no rule allows.";
    BROADCASTS: Counter "roomcast_broadcasts_total" Count ["shard"]
        "Broadcasts handled.";
    DELIVERIES: Counter "roomcast_deliveries_total" Count ["shard"]
        "Copies of broadcasts queued for sockets.";
    VOLATILE_DROPPED: Counter "roomcast_volatile_dropped_total" Count ["shard"]
        "Volatile messages dropped because a client was not ready.";
    SLOW_CLIENTS_CLOSED: Counter "roomcast_slow_clients_closed_total" Count ["shard"]
        "Clients closed because limits.outbox_bytes waited for them, or because they took nothing of an HTTP answer.";
    OUTBOX_BYTES: Gauge "roomcast_outbox_bytes" Bytes ["shard"]
        "Bytes that wait for clients.";
    TIMER_LAG: Histogram "roomcast_timer_lag_seconds" Seconds ["shard"]
        "How late timers ran.";
    REQUESTS_REFUSED: Counter "roomcast_requests_refused_total" Count ["shard", "cause"]
        "Requests refused before they reached a session.";
    CONNECTS_REFUSED: Counter "roomcast_connects_refused_total" Count ["shard", "cause"]
        "Clients refused a namespace.";
    PEER_FAULTS: Counter "roomcast_peer_faults_total" Count ["shard", "cause"]
        "Sessions that ended, or upgrades that failed, because of what the client sent.";
    FORWARDS: Counter "roomcast_forwards_total" Count ["shard", "request"]
        "Requests forwarded to the gateway that owns their session.";
    FORWARD_FAILURES: Counter "roomcast_forward_failures_total" Count ["shard", "cause"]
        "Requests that could not be forwarded, or whose answer did not come.";
    FORWARD_DURATION: Histogram "roomcast_forward_duration_seconds" Seconds ["shard"]
        "Time from forwarding a push or upgrade to its answer.";
    SPLICED: Gauge "roomcast_spliced_websockets" Count ["shard"]
        "WebSockets whose bytes are passed between a client and the gateway that owns its session.";
    PEER_REQUESTS: Counter "roomcast_peer_requests_total" Count ["shard"]
        "Requests that other gateways have forwarded to this one.";
    PEER_REQUESTS_REFUSED: Counter "roomcast_peer_requests_refused_total" Count ["shard", "cause"]
        "Requests on the cluster port that no gateway of this cluster has signed.";
    PUBLISH_CALLS: Counter "roomcast_publish_calls_total" Count ["code"]
        "Calls of the publish API, by gRPC status.";
    PUBLISH_REFUSED: Counter "roomcast_publish_refused_total" Count ["cause"]
        "Calls and messages of the publish API that its caller may not make, or not so many of.";
    PUBLISH_DURATION: Histogram "roomcast_publish_duration_seconds" Seconds []
        "Time from a call of the publish API to its answer.";
    REDIS_UP: Gauge "roomcast_redis_up" Count ["connection"]
        "1 while Redis takes what is published, and while everything that is wanted is subscribed.";
    REDIS_DEAF: Gauge "roomcast_redis_deaf_seconds" Seconds []
        "Time since the start in which not everything that is wanted was subscribed; what others published then is lost here, uncounted.";
    REDIS_PUBLISHED: Counter "roomcast_redis_published_total" Count []
        "Broadcasts handed to Redis.";
    REDIS_PUBLISHES_LOST: Counter "roomcast_redis_publishes_lost_total" Count []
        "Broadcasts that other nodes have not got, or of which it is not known.";
    REDIS_DELIVERED: Counter "roomcast_redis_delivered_total" Count []
        "Broadcasts of other nodes handed to the shards.";
    REDIS_ANSWERED: Counter "roomcast_redis_answered_total" Count []
        "Requests of other nodes answered.";
    REDIS_CALLS_REFUSED: Counter "roomcast_redis_calls_refused_total" Count []
        "Calls of other nodes that asked nobody here, as no more may wait for answers.";
    REDIS_UNDECODABLE: Counter "roomcast_redis_undecodable_total" Count []
        "Messages on Redis channels that mean nothing; they are skipped.";
    REDIS_CHANNELS: Gauge "roomcast_redis_channels" Count ["state"]
        "Channels that this gateway needs, and those that are subscribed.";
    REDIS_RECONNECTS: Counter "roomcast_redis_reconnects_total" Count []
        "Connections to Redis made again.";
    REDIS_HEARTBEATS_MISSED: Counter "roomcast_redis_heartbeats_missed_total" Count []
        "Connections to Redis replaced because nothing came back through them.";
    REDIS_HEARTBEAT: Gauge "roomcast_redis_heartbeat_seconds" Seconds []
        "Time of the last heartbeat through Redis and back.";
    REDIS_QUEUE_BYTES: Gauge "roomcast_redis_queue_bytes" Bytes []
        "Bytes that wait to be written to Redis.";
}

impl Metric {
    pub(crate) fn counter(&self, labels: Vec<Label>) -> Counter {
        counter!(self.name, labels)
    }

    pub(crate) fn gauge(&self, labels: Vec<Label>) -> Gauge {
        gauge!(self.name, labels)
    }

    pub(crate) fn histogram(&self, labels: Vec<Label>) -> Histogram {
        histogram!(self.name, labels)
    }

    /// Tells the recorder what this metric means.
    pub(crate) fn describe(&self) {
        match self.kind {
            Kind::Counter => describe_counter!(self.name, self.unit, self.help),
            Kind::Gauge => describe_gauge!(self.name, self.unit, self.help),
            Kind::Histogram => describe_histogram!(self.name, self.unit, self.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_prometheus_conventions_and_differ() {
        let mut seen = std::collections::HashSet::new();
        for metric in ALL {
            let name = metric.name;
            assert!(seen.insert(name), "{name} twice");
            assert!(name.starts_with("roomcast_") && !name.contains("__"), "{name}");
            assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert_eq!(metric.unit == Unit::Seconds, name.ends_with("_seconds"), "{name}");
            assert_eq!(metric.unit == Unit::Bytes, name.contains("_bytes"), "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
        }
    }
}
