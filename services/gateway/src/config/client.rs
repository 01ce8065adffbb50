//! The port of the clients: address, path, TLS and who may come from where.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::path::PathBuf;

use admission::{Prefix, ProxyProtocol};
use broker::Parser;
use serde::{Deserialize, Serialize};

/// The port of the clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClientConfig {
    /// Address and port. Default `0.0.0.0:3000`. Environment: `ROOMCAST__CLIENT__LISTEN`.
    #[serde(deserialize_with = "super::address")]
    pub(crate) listen: SocketAddr,
    /// Path of the Engine.IO requests, written with or without a slash at its end. Default `/socket.io`.
    pub(crate) path: String,
    /// Parser of Socket.IO packets, `json` or `msgpack`; clients have to use the same. Default `json`.
    pub(crate) parser: Parser,
    /// Addresses of proxies that say who their clients are: by `X-Forwarded-For`, and by a PROXY header if
    /// `proxy_protocol` is set. Default none: whoever connects is the client.
    pub(crate) trusted_proxies: Vec<Prefix>,
    /// Which PROXY header the connections of `trusted_proxies` begin with, in front of HTTP or TLS; each of them has to,
    /// and no other may. Default `off`.
    pub(crate) proxy_protocol: ProxyProtocol,
    /// Threads that hold connections, at most 255: a session id names its own in a byte. Default: one per core.
    pub(crate) shards: Option<NonZeroU8>,
    /// Whether polling answers are compressed for clients that accept it. Default true.
    pub(crate) http_compression: bool,
    /// Whether WebSocket messages are compressed for clients that offer it (permessage-deflate). It costs processor time
    /// for each message of a client, and once for each broadcast. Default false.
    pub(crate) websocket_compression: bool,
    /// Shortest message that is compressed on its way to WebSockets, in bytes. Default 1024.
    pub(crate) websocket_compression_min_bytes: u32,
    /// Whether requests with an `Origin` that `cors.origins` does not allow are refused, before a session is made and
    /// (but for the page's own server) for one that exists; without effect while `cors.origins` is empty. Default true.
    pub(crate) refuse_foreign_origins: bool,
    /// Directory with the client bundle (`socket.io.js` and so on), served under `path`. Default: none is served.
    pub(crate) bundle_dir: Option<PathBuf>,
    /// Which generation of the client that is. Default `4.x`.
    pub(crate) bundle_generation: BundleGeneration,
    /// Whether `/` is the demo page. Default false.
    pub(crate) demo_page: bool,
    /// What browsers are told about other origins.
    pub(crate) cors: CorsConfig,
    /// Certificate and key. Default: plain HTTP.
    pub(crate) tls: Option<TlsConfig>,
}

/// Generations of the client, by their bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum BundleGeneration {
    /// For Engine.IO 4; what lies in the directory itself.
    #[serde(rename = "4.x")]
    V4,
    /// For Engine.IO 3, which has to be allowed; what lies in the folder `2.x` of the directory.
    #[serde(rename = "2.x")]
    V2,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 3000)),
            path: "/socket.io".into(),
            parser: Parser::Json,
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
            shards: None,
            http_compression: true,
            websocket_compression: false,
            websocket_compression_min_bytes: 1024,
            refuse_foreign_origins: true,
            bundle_dir: None,
            bundle_generation: BundleGeneration::V4,
            demo_page: false,
            cors: CorsConfig::default(),
            tls: None,
        }
    }
}

impl ClientConfig {
    /// Where the bundle lies that is served, if one is.
    pub(crate) fn bundle(&self) -> Option<PathBuf> {
        let directory = self.bundle_dir.as_ref()?;
        Some(match self.bundle_generation {
            BundleGeneration::V4 => directory.clone(),
            BundleGeneration::V2 => directory.join("2.x"),
        })
    }

    /// Whether a request for this path is one of Engine.IO: as in the reference server, `path` with a slash, and
    /// anything behind it.
    pub(crate) fn serves(&self, path: &str) -> bool {
        self.below(path).is_some()
    }

    /// What stands behind `path` and its slash in the path of a request.
    pub(crate) fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.path.trim_end_matches('/'))?.strip_prefix('/')
    }

    /// Whether a request for a new session with this `Origin` header is refused.
    ///
    /// There is no exception for an origin that equals the `Host` header: DNS rebinding makes them equal.
    pub(crate) fn refuses_origin(&self, origin: Option<&[u8]>) -> bool {
        let judges = self.refuse_foreign_origins && !self.cors.origins.is_empty();
        judges && origin.is_some_and(|origin| !self.cors.allows(&String::from_utf8_lossy(origin)))
    }

    /// Whether a request with these headers is refused for a session that exists.
    ///
    /// Not that of a page whose own server this is: browsers ask it for a session without an `Origin`, and name it with
    /// pushes and WebSockets. A proxy may have changed `Host`; newer browsers say what they know themselves.
    pub(crate) fn refuses_page<'h>(&self, header: impl Fn(&str) -> Option<&'h [u8]>) -> bool {
        let origin = header("origin");
        let is_own =
            || header("sec-fetch-site") == Some(b"same-origin") || is_of_host(origin, header("host"));
        self.refuses_origin(origin) && !is_own()
    }
}

/// Whether `origin` is that of pages of `host`, over whichever scheme: TLS may have ended at a proxy.
fn is_of_host(origin: Option<&[u8]>, host: Option<&[u8]>) -> bool {
    let text = |header| std::str::from_utf8(header).ok();
    let origin = origin.and_then(text).and_then(|origin| origin.split_once("://"));
    let host = host.and_then(text);
    origin.zip(host).is_some_and(|((_, origin), host)| origin.eq_ignore_ascii_case(host))
}

/// Certificate chain and private key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsConfig {
    /// Certificate chain, the own one first.
    pub(crate) cert_file: PathBuf,
    /// Its private key.
    pub(crate) key_file: PathBuf,
}

/// What browsers are told about other origins; nothing while `origins` is empty.
///
/// Source: the semantics of the reference server's `cors` option.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CorsConfig {
    /// `*`, or origins such as `https://app.example.com`; `*.` in front of the host stands for one or more
    /// labels, and a pattern without a scheme allows every scheme. Default none, and `*` with `--dev`.
    pub(crate) origins: Vec<String>,
    /// Whether browsers may send cookies. Default false.
    pub(crate) credentials: bool,
    /// Methods that a preflight allows. Default: those of the reference server.
    pub(crate) methods: Vec<String>,
    /// Request headers that a preflight allows. Default none listed: those that it asks for.
    pub(crate) headers: Vec<String>,
    /// How long a preflight stays valid, in s. Default: not stated, so the browser's own rule.
    pub(crate) max_age_s: Option<u32>,
}

impl Default for CorsConfig {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            credentials: false,
            methods: ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"].map(String::from).to_vec(),
            headers: Vec::new(),
            max_age_s: None,
        }
    }
}

impl CorsConfig {
    /// Whether `origin`, the value of an `Origin` header, matches one of `origins`.
    pub(crate) fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|pattern| matches(pattern, origin))
    }

    /// Whether every origin is allowed, so that an answer need not depend on the request's.
    pub(crate) fn allows_any(&self) -> bool {
        self.origins.iter().any(|pattern| pattern == "*")
    }
}

fn matches(pattern: &str, origin: &str) -> bool {
    if pattern == "*" || pattern.eq_ignore_ascii_case(origin) {
        return true;
    }
    let (scheme, host) = split_origin(pattern);
    let (origin_scheme, origin_host) = split_origin(origin);
    let Some(parent) = host.strip_prefix('*') else { return false };
    if scheme.is_some_and(|scheme| !origin_scheme.is_some_and(|other| other.eq_ignore_ascii_case(scheme))) {
        return false;
    }
    let (origin_host, parent) = (origin_host.to_ascii_lowercase(), parent.to_ascii_lowercase());
    origin_host.len() > parent.len() && origin_host.ends_with(&parent)
}

/// `https://a.b:1` as scheme and the rest.
fn split_origin(text: &str) -> (Option<&str>, &str) {
    match text.split_once("://") {
        Some((scheme, host)) => (Some(scheme), host),
        None => (None, text),
    }
}

/// Whether `pattern` has a form that [`CorsConfig::allows`] understands and a browser could send.
pub(super) fn is_origin_pattern(pattern: &str) -> bool {
    if pattern == "*" || pattern == "null" {
        return true;
    }
    let (scheme, host) = split_origin(pattern);
    let scheme_is_valid = scheme.is_none_or(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c))
    });
    let (wildcard, host) = match host.strip_prefix("*.") {
        Some(host) => (true, host),
        None => (false, host),
    };
    let host_is_valid =
        !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c));
    // An origin without a scheme is none: only the wildcard form may leave it out.
    scheme_is_valid && host_is_valid && (wildcard || scheme.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_patterns_match_whole_hosts_and_subdomains() {
        let cases = [
            ("*", "https://any.example", true),
            ("https://app.example.com", "https://app.example.com", true),
            ("https://app.example.com", "http://app.example.com", false),
            ("https://app.example.com", "https://app.example.com:8443", false),
            ("https://app.example.com", "https://app.example.com.evil.test", false),
            ("*.example.com", "https://a.example.com", true),
            ("*.example.com", "http://a.b.example.com", true),
            ("*.example.com", "https://A.Example.COM", true),
            ("*.example.com", "https://example.com", false),
            ("*.example.com", "https://evilexample.com", false),
            ("*.example.com", "https://.example.com.evil.test", false),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "http://a.example.com", false),
            ("https://*.example.com", "a.example.com", false),
            ("https://app.example.com", "null", false),
        ];
        for (pattern, origin, expected) in cases {
            assert_eq!(matches(pattern, origin), expected, "{pattern} against {origin}");
        }
    }

    #[test]
    fn malformed_origin_patterns_are_recognized() {
        for good in [
            "*",
            "null",
            "https://a.b",
            "https://*.a.b:8443",
            "*.a.b",
            "http://localhost:3000",
            "http://[::1]:3000",
            "capacitor://localhost",
        ] {
            assert!(is_origin_pattern(good), "{good}");
        }
        for bad in [
            "",
            "a.b",
            "https://",
            "https://a.b/",
            "https://a.*.b",
            "https://a*.b",
            "*.",
            "https://a b",
            "://a",
        ] {
            assert!(!is_origin_pattern(bad), "{bad}");
        }
    }

    #[test]
    fn foreign_origins_are_refused_only_when_origins_are_set() {
        let mut client = ClientConfig::default();
        assert!(!client.refuses_origin(Some(b"https://evil.test")));
        client.cors.origins = vec!["https://app.example.com".into()];
        assert!(client.refuses_origin(Some(b"https://evil.test")));
        assert!(!client.refuses_origin(Some(b"https://app.example.com")));
        client.refuse_foreign_origins = false;
        assert!(!client.refuses_origin(Some(b"https://evil.test")));
    }

    #[test]
    fn a_session_is_for_allowed_origins_and_pages_of_its_own_server() {
        let mut client = ClientConfig::default();
        client.cors.origins = vec!["https://app.example.com".into()];
        for (headers, refused) in [
            (&[("host", "chat.test")][..], false),
            (&[("origin", "https://app.example.com"), ("host", "chat.test")], false),
            (&[("origin", "https://chat.test"), ("host", "Chat.test")], false),
            (&[("origin", "http://chat.test:3000"), ("host", "chat.test:3000")], false),
            (
                &[("origin", "https://chat.test"), ("host", "upstream"), ("sec-fetch-site", "same-origin")],
                false,
            ),
            (&[("origin", "https://chat.test"), ("host", "upstream")], true),
            (&[("origin", "https://chat.test:8443"), ("host", "chat.test")], true),
            (
                &[("origin", "https://evil.test"), ("host", "chat.test"), ("sec-fetch-site", "same-site")],
                true,
            ),
            (&[("origin", "null"), ("host", "null")], true),
            (&[("origin", "https://evil.test")], true),
        ] {
            let find =
                |name: &str| headers.iter().find(|header| header.0 == name).map(|header| header.1.as_bytes());
            assert_eq!(client.refuses_page(find), refused, "{headers:?}");
        }
    }
}
