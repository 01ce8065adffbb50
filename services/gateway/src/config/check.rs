//! What the types cannot say: ranges, relations between keys, and files that must exist.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;

use admission::ProxyProtocol;
use broker::{AuthConfig, NamespaceConfig, RoomRule};
use redis_link::LinkConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use telemetry::LogConfig;

use super::{AdapterConfig, AdapterKind, GatewayConfig, GrpcConfig, OpsConfig, client};

/// A rule that a decoded configuration breaks.
#[derive(Clone, Debug)]
pub(super) struct Complaint {
    /// The key to change.
    pub(super) key: String,
    /// What is wrong, and what is allowed.
    pub(super) problem: String,
}

/// A number's key, smallest and largest value, and where it is.
type Range = (&'static str, u64, u64, fn(&GatewayConfig) -> u64);

const MS_MAX: u64 = 3_600_000;
const U32_MAX: u64 = u32::MAX as u64;

/// Numbers whose type holds more than makes sense.
const RANGES: [Range; 18] = [
    ("engine.ping_interval_ms", 1, MS_MAX, |config| config.engine.ping_interval_ms.into()),
    ("engine.ping_timeout_ms", 1, MS_MAX, |config| config.engine.ping_timeout_ms.into()),
    ("engine.upgrade_timeout_ms", 1, MS_MAX, |config| config.engine.upgrade_timeout_ms.into()),
    ("engine.max_payload_bytes", 1, U32_MAX, |config| config.engine.max_payload_bytes.into()),
    ("limits.outbox_bytes", 1, U32_MAX, |config| config.limits.outbox_bytes.into()),
    ("limits.connect_timeout_ms", 1, MS_MAX, |config| config.limits.connect_timeout_ms.into()),
    ("limits.namespaces_per_connection", 1, 65_535, |config| config.limits.namespaces_per_connection.into()),
    ("limits.namespace_name_bytes", 1, 65_535, |config| config.limits.namespace_name_bytes.into()),
    ("limits.room_name_bytes", 1, 65_535, |config| config.limits.room_name_bytes.into()),
    ("limits.connections", 1, U32_MAX, |config| config.limits.connections.into()),
    ("limits.request_timeout_ms", 1, MS_MAX, |config| config.limits.request_timeout_ms.into()),
    ("limits.pending_calls_max", 1, U32_MAX, |config| config.limits.pending_calls_max.into()),
    ("limits.ipv6_prefix_bits", 1, 128, |config| config.limits.ipv6_prefix_bits.into()),
    ("adapter.linger_ms", 0, MS_MAX, |config| config.adapter.linger_ms.into()),
    // Shorter ones would be over before they are renewed.
    ("adapter.lease_ms", 1_000, MS_MAX, |config| config.adapter.lease_ms.into()),
    ("shutdown.drain_ms", 0, MS_MAX, |config| config.shutdown.drain_ms.into()),
    ("shutdown.deadline_ms", 1, MS_MAX, |config| config.shutdown.deadline_ms.into()),
    // Preflights of more than a day are cut short by every browser.
    ("client.cors.max_age_s", 0, 86_400, |config| config.client.cors.max_age_s.unwrap_or(0).into()),
];

/// Smallest and largest value of `key`, when they are narrower than its type.
pub(super) fn range_of(key: &str) -> Option<(u64, u64)> {
    RANGES.iter().find(|range| range.0 == key).map(|range| (range.1, range.2))
}

/// All that one service is told.
pub(super) trait Settings: Serialize + DeserializeOwned {
    /// Every rule that it breaks.
    ///
    /// `skipped` are the keys that did not decode: their defaults are here instead, which no rule should judge, and
    /// lists lack their items, so that an item's index in the file is not its index here.
    fn complaints(&self, skipped: &HashSet<String>) -> Vec<Complaint>;
}

impl Settings for GatewayConfig {
    fn complaints(&self, skipped: &HashSet<String>) -> Vec<Complaint> {
        check(self, skipped)
    }
}

fn check(config: &GatewayConfig, skipped: &HashSet<String>) -> Vec<Complaint> {
    let mut check = Check::new(skipped);
    for (key, _, _, value) in RANGES {
        check.number(key, value(config));
    }
    check.guards(&config.grpc, &config.ops);
    check.ports(&[
        ("client.listen", true, config.client.listen),
        ("grpc.listen", config.grpc.enabled, config.grpc.listen),
        ("ops.listen", config.ops.enabled, config.ops.listen),
        ("cluster.listen", config.is_clustered(), config.cluster.listen),
    ]);
    check.cluster(config);
    check.client(config);
    check.engine(config);
    check.adapter(&config.adapter, &config.redis);
    check.grpc(&config.grpc);
    check.log(&config.log);
    if let Err(problem) = config.node.read_secret() {
        check.complain("node.secret_file", problem);
    }
    if config.shutdown.drain_ms > config.shutdown.deadline_ms {
        let problem = format!("allowed: at most shutdown.deadline_ms, {}", config.shutdown.deadline_ms);
        check.relate("shutdown.drain_ms", "shutdown.deadline_ms", problem);
    }
    check.namespaces(&config.namespaces);
    check.complaints
}

/// Rules, and who has broken them.
pub(super) struct Check<'a> {
    skipped: &'a HashSet<String>,
    pub(super) complaints: Vec<Complaint>,
}

impl<'a> Check<'a> {
    pub(super) fn new(skipped: &'a HashSet<String>) -> Self {
        Self { skipped, complaints: Vec::new() }
    }

    /// The number at `key` is to be in the range of this table.
    pub(super) fn number(&mut self, key: &str, value: u64) {
        let range = range_of(key).filter(|(min, max)| !(min..=max).contains(&&value));
        if let Some((min, max)) = range {
            self.complain(key, format!("allowed: an integer from {min} to {max}"));
        }
    }

    pub(super) fn complain(&mut self, key: &str, problem: impl Into<String>) {
        if !self.is_unknown(key) {
            self.complaints.push(Complaint { key: key.into(), problem: problem.into() });
        }
    }

    /// Complains about `key` unless the key that it was compared with did not decode.
    fn relate(&mut self, key: &str, other: &str, problem: impl Into<String>) {
        if !self.is_unknown(other) {
            self.complain(key, problem);
        }
    }

    /// Whether `key`, something around it or something in it did not decode.
    fn is_unknown(&self, key: &str) -> bool {
        let is_below = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.skipped.iter().any(|skipped| is_below(key, skipped) || is_below(skipped, key))
    }

    /// The items of the list at `key`, each with its key.
    fn items<'t, T>(&self, key: &str, list: &'t [T]) -> Vec<(String, &'t T)> {
        let keys = (0_usize..).map(|index| format!("{key}[{index}]"));
        keys.filter(|key| !self.skipped.contains(key)).zip(list).collect()
    }

    /// What others may reach asks who they are.
    pub(super) fn guards(&mut self, grpc: &GrpcConfig, ops: &OpsConfig) {
        let guarded = [
            (
                "grpc",
                "the publish API",
                grpc.enabled,
                grpc.insecure || grpc.auth.is_configured(),
                grpc.listen,
            ),
            ("ops", "the operations port", ops.enabled, ops.insecure, ops.listen),
        ];
        for (section, what, enabled, may_be_reached, listen) in guarded {
            if enabled && !may_be_reached && !listen.ip().is_loopback() {
                let variable = format!("ROOMCAST__{}__INSECURE=true", section.to_uppercase());
                let auth = if section == "grpc" { ", configure grpc.auth" } else { "" };
                let problem = format!(
                    "not a loopback address, and {what} has no authentication configured; \
                     listen on 127.0.0.1{auth}, or set {section}.insecure = true ({variable}) to open it to whoever reaches it"
                );
                self.relate(&format!("{section}.listen"), &format!("{section}.insecure"), problem);
            }
        }
    }

    /// Each port that is open, by the key of its address, is another one.
    pub(super) fn ports(&mut self, ports: &[(&str, bool, SocketAddr)]) {
        let open: Vec<_> = ports.iter().filter(|(_, enabled, _)| *enabled).collect();
        for (index, (key, _, address)) in open.iter().enumerate() {
            for (other, _, taken) in open.iter().take(index) {
                if collide(*address, *taken) {
                    self.relate(key, other, format!("allowed: a port that {other}, {taken}, does not use"));
                }
            }
        }
    }

    pub(super) fn adapter(&mut self, adapter: &AdapterConfig, redis: &LinkConfig) {
        if adapter.kind != AdapterKind::Memory {
            for fault in redis.check() {
                self.complain(&format!("redis.{}", fault.key), fault.problem);
            }
        }
        if adapter.prefix.is_empty() || adapter.prefix.chars().any(char::is_control) {
            self.complain("adapter.prefix", "allowed: text that is not empty, without control characters");
        }
    }

    pub(super) fn log(&mut self, log: &LogConfig) {
        if telemetry::check_filter(&log.filter).is_err() {
            let problem =
                "allowed: off, error, warn, info, debug, trace, also as target=level, comma separated";
            self.complain("log.filter", problem);
        }
    }

    /// What gateways that know each other have to share, and to know of themselves.
    fn cluster(&mut self, config: &GatewayConfig) {
        if !config.is_clustered() {
            return;
        }
        if config.node.secret_file.is_none() && !config.cluster.insecure {
            let problem = "is to be set: gateways of one cluster accept each other's session ids and sign what they \
                forward with this key; allowed: one file for all of them, written by openssl rand -hex 32 \
                (to try it on one machine: cluster.insecure = true, or --dev)";
            self.relate("node.secret_file", "cluster.insecure", problem);
        }
        if let Err(problem) = config.cluster.advertised(config.cluster.listen) {
            self.relate("cluster.advertise", "cluster.listen", problem);
        }
        if config.node.id.is_none() && !config.cluster.peers.is_empty() {
            let problem = "is to be set: cluster.peers of the other gateways names this one by it; \
                allowed: an integer from 0 to 65535 that no other gateway has";
            self.relate("node.id", "cluster.peers", problem);
        }
        let mut nodes: Vec<(String, u16)> = Vec::new();
        for (key, peer) in self.items("cluster.peers", &config.cluster.peers) {
            if let Some((first, _)) = nodes.iter().find(|(_, node)| *node == peer.node) {
                self.complain(&key, format!("allowed: a node.id other than that of {first}"));
            }
            nodes.push((key, peer.node));
        }
    }

    fn client(&mut self, config: &GatewayConfig) {
        let client = &config.client;
        let path = client.path.trim_end_matches('/');
        if !path.starts_with('/')
            || path.contains(|c: char| c.is_whitespace() || c.is_control() || "?#%".contains(c))
        {
            self.complain(
                "client.path",
                "allowed: a path other than / that begins with /, such as /socket.io",
            );
        }
        if client.proxy_protocol != ProxyProtocol::Off && client.trusted_proxies.is_empty() {
            let problem = "allowed: off while client.trusted_proxies is empty; anyone could say to be anyone";
            self.relate("client.proxy_protocol", "client.trusted_proxies", problem);
        }
        for (key, origin) in self.items("client.cors.origins", &client.cors.origins) {
            if !client::is_origin_pattern(origin) {
                self.complain(
                    &key,
                    "allowed: *, scheme://host[:port] without a path, scheme://*.host or *.host",
                );
            }
        }
        if client.cors.credentials && client.cors.allows_any() {
            let problem = "allowed: false while client.cors.origins has *, because browsers refuse the pair; name the origins";
            self.relate("client.cors.credentials", "client.cors.origins", problem);
        }
        for (key, method) in self.items("client.cors.methods", &client.cors.methods) {
            if http::Method::from_bytes(method.as_bytes()).is_err() {
                self.complain(&key, "allowed: an HTTP method, such as GET");
            }
        }
        for (key, header) in self.items("client.cors.headers", &client.cors.headers) {
            if http::HeaderName::from_bytes(header.as_bytes()).is_err() {
                self.complain(&key, "allowed: the name of an HTTP header, such as Authorization");
            }
        }
        if let Some(directory) = client.bundle()
            && let Err(error) = std::fs::read_dir(&directory)
        {
            let key = match client.bundle_generation {
                client::BundleGeneration::V4 => "client.bundle_dir",
                client::BundleGeneration::V2 => "client.bundle_generation",
            };
            let allowed = "allowed: a directory that can be read";
            self.complain(key, format!("{}: {error}; {allowed}", directory.display()));
        }
        if let Some(tls) = &client.tls {
            self.readable("client.tls.cert_file", &tls.cert_file);
            self.readable("client.tls.key_file", &tls.key_file);
        }
    }

    pub(super) fn grpc(&mut self, grpc: &GrpcConfig) {
        for fault in grpc.limits.faults() {
            self.complain(&format!("grpc.limits.{}", fault.key), format!("allowed: {}", fault.allowed));
        }
        for fault in grpc.auth.faults() {
            self.complain(&format!("grpc.auth.{}", fault.key), fault.problem);
        }
        let Some(tls) = &grpc.tls else { return };
        self.readable("grpc.tls.cert_file", &tls.cert_file);
        self.readable("grpc.tls.key_file", &tls.key_file);
        if let Some(authorities) = &tls.client_ca_file {
            self.readable("grpc.tls.client_ca_file", authorities);
            if grpc.auth.keys_file.is_none() {
                let problem =
                    "allowed: together with grpc.auth.keys_file, whose entries say what a certificate may do";
                self.relate("grpc.tls.client_ca_file", "grpc.auth.keys_file", problem);
            }
        }
    }

    fn engine(&mut self, config: &GatewayConfig) {
        if config.engine.transports.is_empty() {
            self.complain("engine.transports", "allowed: a list of polling, websocket or both");
        }
        // Otherwise a message that any client may send would close every client it is relayed to.
        if config.limits.outbox_bytes < config.engine.max_payload_bytes {
            let problem =
                format!("allowed: at least engine.max_payload_bytes, {}", config.engine.max_payload_bytes);
            self.relate("limits.outbox_bytes", "engine.max_payload_bytes", problem);
        }
    }

    fn readable(&mut self, key: &str, path: &Path) {
        if let Err(error) = std::fs::read(path) {
            self.complain(key, format!("{error}; allowed: a file that can be read"));
        }
    }

    fn namespaces(&mut self, namespaces: &[NamespaceConfig]) {
        let mut names: Vec<(String, &str)> = Vec::new();
        for (key, namespace) in self.items("namespaces", namespaces) {
            let name_key = format!("{key}.name");
            if !namespace.name.starts_with(['/', '*']) {
                self.complain(&name_key, "allowed: / and what follows, such as /chat, or a pattern with *");
            } else if let Some((first, _)) = names.iter().find(|(_, name)| *name == namespace.name) {
                self.complain(&name_key, format!("never reached: {first} decides for the same name"));
            }
            names.push((key.clone(), &namespace.name));
            self.namespace(&key, namespace);
        }
    }

    fn namespace(&mut self, key: &str, namespace: &NamespaceConfig) {
        if let AuthConfig::Tokens(tokens) = &namespace.auth {
            let key = format!("{key}.auth.tokens");
            if tokens.is_empty() {
                self.complain(
                    &key,
                    "nobody could connect; allowed: one token hash or more, or auth = \"deny\"",
                );
            }
            for (key, token) in self.items(&key, tokens) {
                if token.len() != 64 || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    self.complain(&key, "allowed: the SHA-256 of a token, 64 hex digits");
                }
            }
        }
        for (key, room) in self.items(&format!("{key}.join"), &namespace.join) {
            if room.is_empty() {
                self.complain(&key, "allowed: a room name that is not empty");
            }
        }
        let rules = [("may_join", &namespace.may_join), ("may_leave", &namespace.may_leave)];
        for (name, rule) in rules {
            if let Some(rule) = rule {
                self.room_rule(&format!("{key}.{name}"), rule);
            }
        }
        if let (Some(join), Some(leave)) = (&namespace.may_join, &namespace.may_leave)
            && join.event == leave.event
        {
            let other = format!("{key}.may_join.event");
            self.relate(
                &format!("{key}.may_leave.event"),
                &other,
                format!("allowed: an event other than {other}"),
            );
        }
        for (key, rule) in self.items(&format!("{key}.events"), &namespace.events) {
            self.event(&format!("{key}.event"), &rule.event);
        }
    }

    fn room_rule(&mut self, key: &str, rule: &RoomRule) {
        self.event(&format!("{key}.event"), &rule.event);
        let key = format!("{key}.rooms");
        if rule.rooms.is_empty() {
            self.complain(&key, "no room could be named; allowed: one pattern or more, * for every room");
        }
        for (key, room) in self.items(&key, &rule.rooms) {
            if room.is_empty() {
                self.complain(&key, "allowed: a pattern that is not empty");
            }
        }
    }

    fn event(&mut self, key: &str, event: &str) {
        if event.is_empty() {
            self.complain(key, "allowed: an event name that is not empty");
        } else if RESERVED_EVENTS.contains(&event) {
            self.complain(key, "allowed: an event that clients may emit; this one is reserved by Socket.IO");
        }
    }
}

/// Names that no client can emit. Source: Socket.IO, reserved events.
const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Whether two listeners could not both have their port; port 0 is any free one.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && overlap
}
