//! Things worth a log line, one type each: kind, level, fields and words stand here and nowhere else.
//!
//! Levels: `info` for the life of the process, `warn` for what was recovered from, `error` for what someone must
//! act on. Sids, tokens, payloads, rooms and users are never fields.

use std::net::{IpAddr, SocketAddr};

use tracing::{Level, Value};

use crate::labels::{ForwardFailure, Label as _, PeerRefusal, RedisConnection, Refusal};
use crate::repeats::{Repeats, now_ms};

/// Something that happened, and how it is told.
pub trait Happening {
    /// What it is called in logs, such as `slow_client_closed`.
    const KIND: &'static str;
    /// How grave it is.
    const LEVEL: Level;

    /// Writes its line. `suppressed` is how many of its kind were held back since the last one.
    #[doc(hidden)]
    fn write(&self, suppressed: Option<u64>);

    /// What holds back lines of this kind; `None` for those that are always written.
    #[doc(hidden)]
    fn repeats() -> Option<&'static Repeats>;
}

/// Tells of a happening. At `warn` and `error`, at most one line per kind and second is written; the next one
/// says in `suppressed` how many were held back.
pub fn emit<H: Happening>(happening: &H) {
    match H::repeats() {
        None => happening.write(None),
        Some(repeats) => {
            if let Some(suppressed) = repeats.admit(now_ms()) {
                happening.write((suppressed > 0).then_some(suppressed));
            }
        }
    }
}

macro_rules! happenings {
    ($(
        $(#[$doc:meta])*
        $level:ident $name:ident = $kind:literal, $text:literal
        { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug)]
            pub struct $name {
                $($(#[$field_doc])* pub $field: $type,)*
            }

            impl Happening for $name {
                const KIND: &'static str = $kind;
                const LEVEL: Level = Level::$level;

                fn write(&self, suppressed: Option<u64>) {
                    tracing::event!(
                        target: "roomcast", Level::$level, kind = $kind, $($field = self.$field.value(),)*
                        suppressed, $text
                    );
                }

                fn repeats() -> Option<&'static Repeats> {
                    static REPEATS: Repeats = Repeats::new();
                    // Lines about the life of the process come in bursts by nature: three ports, one second.
                    (Self::LEVEL <= Level::WARN).then_some(&REPEATS)
                }
            }
        )*

        /// Every kind and its level.
        #[cfg(test)]
        pub(crate) const KINDS: &[(&str, Level)] = &[$(($kind, Level::$level)),*];
    };
}

happenings! {
    /// The process begins.
    INFO GatewayStarted = "gateway_started", "gateway started" {
        /// Its version.
        version: &'static str,
        /// Its number among the gateways.
        node: u16,
        /// How many threads hold connections.
        shards: usize,
    }

    /// The process without clients begins.
    INFO PublisherStarted = "publisher_started", "publisher started" {
        /// Its version.
        version: &'static str,
    }

    /// A port is open.
    INFO Listening = "listening", "listening" {
        /// Which: `client`, `grpc`, `ops` or `cluster`.
        port: &'static str,
        /// Where.
        address: SocketAddr,
    }

    /// Other gateways may forward requests to this one.
    INFO PeersExpected = "peers_expected", "other gateways reach this one here" {
        /// The number by which session ids name this gateway.
        node: u16,
        /// What `cluster.advertise` says, or what follows from `cluster.listen`.
        address: SocketAddr,
    }

    /// Readiness has changed.
    INFO ReadinessChanged = "readiness_changed", "readiness changed" {
        /// Whether traffic should come here.
        ready: bool,
        /// Why not, comma separated; empty when it should.
        reasons: String,
    }

    /// The process was told to stop and closes its clients.
    INFO DrainStarted = "drain_started", "closing clients" {
        /// Over which time they are closed, in ms.
        drain_ms: u32,
    }

    /// Every client was closed in time.
    INFO DrainFinished = "drain_finished", "all clients closed" {
        /// How long that took, in ms.
        took_ms: u64,
    }

    /// The process ends.
    INFO GatewayStopped = "gateway_stopped", "gateway stopped" {}

    /// The process without clients ends.
    INFO PublisherStopped = "publisher_stopped", "publisher stopped" {}

    /// Calls of the publish API were not done in time, and end with the process.
    WARN CallsCutOff = "calls_cut_off", "calls that had begun end with the process" {
        /// The time they had, `shutdown.deadline_ms`.
        deadline_ms: u32,
    }

    /// A client did not read; it was closed so that it delays nobody.
    WARN SlowClientClosed = "slow_client_closed", "a client that did not read was closed; limits.outbox_bytes decides when" {
        /// What waited for it, in bytes.
        queued_bytes: u32,
    }

    /// A connection was turned away with 503.
    WARN ConnectionLimitReached = "connection_limit_reached", "a connection was refused; raise limits.connections or add gateways" {
        /// The limit.
        connections: u32,
    }

    /// An address has as many connections as it may, or opens them too fast: one more was refused with 429.
    WARN AddressLimited = "address_limited", "a client was refused: its address is at a limit; if this is a proxy, name it in client.trusted_proxies" {
        /// The address.
        address: IpAddr,
        /// Why, as the metric has it.
        cause: Refusal,
    }

    /// A client sent more packets than it may, and was closed.
    WARN PacketRateExceeded = "packet_rate_exceeded", "a client that sent too fast was closed; limits.packets_per_second decides when" {
        /// From where; empty if that was not kept.
        address: String,
    }

    /// A connection did not begin with the PROXY header that was due, or with one that was not.
    WARN ProxyHeaderRefused = "proxy_header_refused", "a connection was closed for its PROXY header; see client.proxy_protocol and client.trusted_proxies" {
        /// Who is at its other end.
        address: IpAddr,
        /// What is wrong.
        error: String,
    }

    /// A TLS handshake failed.
    WARN TlsFailed = "tls_failed", "a TLS handshake failed" {
        /// Why.
        error: String,
    }

    /// The certificate of the client port was replaced.
    INFO CertificateReloaded = "certificate_reloaded", "the certificate has changed and is in use for new connections" {}

    /// The files of the certificate have changed to something that cannot be used.
    WARN CertificateRefused = "certificate_refused", "the changed certificate cannot be used; the old one stays in use" {
        /// Why.
        error: String,
    }

    /// Requests between gateways are signed with a key that everybody knows.
    WARN InsecureCluster = "insecure_cluster", "cluster.insecure: the key that gateways share is no secret; set node.secret_file" {}

    /// A request could not be forwarded, or its answer did not come.
    WARN ForwardFailed = "forward_failed", "a request was not answered by the gateway that owns its session; its client reconnects" {
        /// The number of the owner.
        node: u16,
        /// Why, as the metric has it.
        cause: ForwardFailure,
        /// The same at length.
        error: String,
    }

    /// A request on the cluster port was refused with 401.
    WARN PeerRequestRefused = "peer_request_refused", "a request on the cluster port is not from a gateway of this cluster" {
        /// Why, as the metric has it.
        cause: PeerRefusal,
        /// From where it came.
        address: String,
    }

    /// A call of the publish API, or a message of a stream, was refused to its caller.
    WARN PublishRefused = "publish_refused", "a call of the publish API was refused to its caller" {
        /// The name of the identity, as its entry or token has it; empty when nobody is known.
        identity: String,
        /// Why, as in the metric `roomcast_publish_refused_total`.
        cause: &'static str,
    }

    /// The file of identities has changed and is in use.
    INFO KeysReloaded = "keys_reloaded", "the keys of the publish API have changed and are in use" {
        /// How many entries it has.
        entries: usize,
    }

    /// The file of identities has changed to something that cannot be used.
    WARN KeysRefused = "keys_refused", "the changed keys of the publish API cannot be used; the old ones stay in use" {
        /// Why.
        error: String,
    }

    /// The keys that tokens are checked with were read.
    INFO JwksLoaded = "jwks_loaded", "the keys for tokens of the publish API were read" {
        /// How many can be used.
        keys: usize,
    }

    /// The keys that tokens are checked with could not be read.
    WARN JwksRefused = "jwks_refused", "the keys for tokens of the publish API could not be read; the old ones stay in use" {
        /// Why.
        error: String,
    }

    /// Redis takes nothing, or sends nothing.
    WARN RedisAway = "redis_away", "a connection to Redis is lost; clients here are served, other nodes are not reached" {
        /// Which.
        connection: RedisConnection,
        /// Why.
        error: String,
    }

    /// Everything that is wanted is subscribed again.
    INFO RedisRestored = "redis_restored", "all channels are subscribed" {
        /// How many.
        channels: usize,
        /// For how long not all were, in ms.
        deaf_ms: u64,
    }

    /// Part of the channels has to be subscribed anew.
    WARN RedisChannelsLost = "redis_channels_lost", "channels have moved or their master is away; they are subscribed again" {
        /// How many.
        channels: usize,
    }

    /// What came on a channel means nothing.
    WARN UndecodableMessage = "undecodable_message", "a message on a Redis channel means nothing and is skipped; who publishes there?" {
        /// The channel, without the room.
        channel: String,
        /// What is wrong with it.
        fault: String,
    }

    /// An event would have stopped Node servers, and was kept from them.
    WARN NotPublished = "not_published", "an event was not published: Node servers would not survive it" {
        /// What is wrong with it.
        fault: String,
    }

    /// Other nodes ask more than is answered at once.
    WARN TooManyInquiries = "too_many_inquiries", "too many requests of other nodes wait for an answer; one was not answered" {}

    /// Another node's call asks nobody here.
    WARN CallRefused = "call_refused", "a call of another node was refused: nobody here is asked" {
        /// Why, and which limit it is.
        error: String,
    }

    /// Two gateways have one number.
    ERROR NodeNumberTaken = "node_number_taken", "another gateway has the same number: sessions are looked for at the wrong one; set node.id" {
        /// The number.
        node: u16,
        /// The name of the other one.
        other: String,
    }

    /// The thread that talks to Redis has ended.
    ERROR ClusterFailed = "cluster_failed", "the connection to the cluster has ended for good; restart this gateway" {
        /// Why.
        error: String,
    }

    /// The drain took longer than it may.
    WARN DrainDeadlinePassed = "drain_deadline_passed", "clients were left when shutdown.deadline_ms had passed" {}

    /// A connection could not be accepted; it is tried again.
    ERROR AcceptFailed = "accept_failed", "no connection could be accepted; is the limit of open files reached?" {
        /// Which port: `client`, `grpc`, `ops` or `cluster`.
        port: &'static str,
        /// Why.
        error: String,
    }

    /// The publish API has ended.
    ERROR PublishServerFailed = "publish_server_failed", "the publish API has ended" {
        /// Why.
        error: String,
    }

    /// A shard has ended before the process.
    ERROR ShardFailed = "shard_failed", "a shard has ended; its clients are lost" {
        /// Which.
        shard: u16,
        /// Why.
        error: String,
    }
}

/// A field as a log line has it: numbers stay numbers in JSON.
trait Field {
    fn value(&self) -> impl Value;
}

macro_rules! plain_fields {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn value(&self) -> impl Value {
                *self
            }
        }
    )*};
}

plain_fields!(bool, u16, u32, u64, usize, &'static str);

macro_rules! label_fields {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn value(&self) -> impl Value {
                self.as_str()
            }
        }
    )*};
}

label_fields!(ForwardFailure, PeerRefusal, RedisConnection, Refusal);

impl Field for String {
    fn value(&self) -> impl Value {
        self.as_str()
    }
}

macro_rules! displayed_fields {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn value(&self) -> impl Value {
                tracing::field::display(self)
            }
        }
    )*};
}

displayed_fields!(IpAddr, SocketAddr);

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What `act` logs, one JSON object per line.
    fn log_of(act: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, act);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_has_its_kind_level_and_fields() {
        let log = log_of(|| emit(&SlowClientClosed { queued_bytes: 4096 }));
        for part in [r#""level":"WARN""#, r#""kind":"slow_client_closed""#, r#""queued_bytes":4096"#] {
            assert!(log.contains(part), "{part} is not in {log}");
        }
        assert!(!log.contains("suppressed"), "{log}");
    }

    #[test]
    fn repeated_warnings_are_held_back_and_lifecycle_lines_are_not() {
        let warnings =
            log_of(|| (0..100).for_each(|connections| emit(&ConnectionLimitReached { connections })));
        // Two if the second turns in between.
        assert!((1..=2).contains(&warnings.lines().count()), "{warnings}");
        let address = SocketAddr::from(([127, 0, 0, 1], 3000));
        let lifecycle = log_of(|| {
            ["client", "grpc", "ops"].into_iter().for_each(|port| emit(&Listening { port, address }))
        });
        assert_eq!(lifecycle.lines().count(), 3, "{lifecycle}");
    }
}
