//! The metrics of the connection to Redis and of the cluster behind it.

use std::time::Duration;

use metrics::{Counter, Gauge, Label};

use crate::labels::{ChannelState, Label as _, RedisConnection};
use crate::names;

/// What the cluster's node and its link have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterFigures {
    /// Broadcasts published since the start.
    pub published: u64,
    /// Broadcasts of other nodes delivered since the start.
    pub delivered: u64,
    /// Messages that meant nothing, since the start.
    pub undecodable: u64,
    /// Requests of other nodes answered since the start.
    pub answered: u64,
    /// Channels that are to be subscribed.
    pub channels_wanted: u64,
    /// Channels that are.
    pub channels_in_force: u64,
    /// Whether Redis takes what is published.
    pub can_publish: bool,
    /// Whether everything that is wanted is subscribed.
    pub can_receive: bool,
    /// For how long it was not, since the start.
    pub deaf: Duration,
    /// Connections made again since the start.
    pub reconnects: u64,
    /// Connections that delivered nothing, since the start.
    pub heartbeats_missed: u64,
    /// Time of the last heartbeat through Redis and back.
    pub heartbeat: Duration,
    /// Bytes that wait to be written to Redis.
    pub queue_bytes: u64,
}

/// The figures of the cluster's node.
pub struct ClusterMetrics {
    published: Counter,
    delivered: Counter,
    undecodable: Counter,
    answered: Counter,
    lost: Counter,
    wanted: Gauge,
    in_force: Gauge,
    publisher_up: Gauge,
    subscriber_up: Gauge,
    deaf: Gauge,
    calls_refused: Counter,
    reconnects: Counter,
    heartbeats_missed: Counter,
    heartbeat: Gauge,
    queue_bytes: Gauge,
}

impl ClusterMetrics {
    /// Resolves the handles. Call after [`init`](crate::init).
    pub fn new() -> Self {
        let label = |name, value| vec![Label::from_static_parts(name, value)];
        let channels = |state: ChannelState| names::REDIS_CHANNELS.gauge(label("state", state.as_str()));
        let up =
            |connection: RedisConnection| names::REDIS_UP.gauge(label("connection", connection.as_str()));
        Self {
            published: names::REDIS_PUBLISHED.counter(Vec::new()),
            delivered: names::REDIS_DELIVERED.counter(Vec::new()),
            undecodable: names::REDIS_UNDECODABLE.counter(Vec::new()),
            answered: names::REDIS_ANSWERED.counter(Vec::new()),
            lost: names::REDIS_PUBLISHES_LOST.counter(Vec::new()),
            wanted: channels(ChannelState::Wanted),
            in_force: channels(ChannelState::InForce),
            publisher_up: up(RedisConnection::Publisher),
            subscriber_up: up(RedisConnection::Subscriber),
            deaf: names::REDIS_DEAF.gauge(Vec::new()),
            calls_refused: names::REDIS_CALLS_REFUSED.counter(Vec::new()),
            reconnects: names::REDIS_RECONNECTS.counter(Vec::new()),
            heartbeats_missed: names::REDIS_HEARTBEATS_MISSED.counter(Vec::new()),
            heartbeat: names::REDIS_HEARTBEAT.gauge(Vec::new()),
            queue_bytes: names::REDIS_QUEUE_BYTES.gauge(Vec::new()),
        }
    }

    /// Publishes that other nodes have not got, or of which it is not known.
    pub fn publishes_lost(&self, count: u64) {
        self.lost.increment(count);
    }

    /// A call of another node was refused.
    pub fn call_refused(&self) {
        self.calls_refused.increment(1);
    }

    /// Sets everything else.
    pub fn report(&self, figures: &ClusterFigures) {
        self.published.absolute(figures.published);
        self.delivered.absolute(figures.delivered);
        self.undecodable.absolute(figures.undecodable);
        self.answered.absolute(figures.answered);
        self.wanted.set(figures.channels_wanted as f64);
        self.in_force.set(figures.channels_in_force as f64);
        self.publisher_up.set(f64::from(u8::from(figures.can_publish)));
        self.subscriber_up.set(f64::from(u8::from(figures.can_receive)));
        self.deaf.set(figures.deaf.as_secs_f64());
        self.reconnects.absolute(figures.reconnects);
        self.heartbeats_missed.absolute(figures.heartbeats_missed);
        self.heartbeat.set(figures.heartbeat.as_secs_f64());
        self.queue_bytes.set(figures.queue_bytes as f64);
    }
}

impl Default for ClusterMetrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_as_they_are() {
        let recorder = crate::recorder().unwrap();
        metrics::with_local_recorder(&recorder, || {
            let cluster = ClusterMetrics::new();
            cluster.publishes_lost(3);
            cluster.call_refused();
            let heartbeat = Duration::from_millis(2);
            cluster.report(&ClusterFigures {
                published: 7,
                can_publish: true,
                heartbeat,
                deaf: Duration::from_millis(1_500),
                ..ClusterFigures::default()
            });
        });
        let text = recorder.handle().render();
        for line in [
            "roomcast_redis_published_total 7",
            "roomcast_redis_publishes_lost_total 3",
            r#"roomcast_redis_up{connection="publisher"} 1"#,
            r#"roomcast_redis_up{connection="subscriber"} 0"#,
            "roomcast_redis_heartbeat_seconds 0.002",
            "roomcast_redis_deaf_seconds 1.5",
            "roomcast_redis_calls_refused_total 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}
