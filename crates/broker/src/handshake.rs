//! The request a connection began with, kept in few bytes until somebody asks for it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

use adapter::{Handshake, date_text};
use bytes::Bytes;

const SECURE: u8 = 1;
const IPV6: u8 = 2;

/// What Socket.IO calls the handshake of a socket, as far as it is the same for all sockets of a connection.
///
/// One allocation: flags, time, address, length of the URL, URL, then the headers as lines. It is taken apart only
/// when a back end or another node asks for the socket.
#[derive(Clone, PartialEq, Eq)]
pub struct HandshakeRecord(Box<[u8]>);

/// The parts of a [`HandshakeRecord`].
struct Parts<'a> {
    secure: bool,
    issued_ms: u64,
    address: IpAddr,
    url: &'a [u8],
    /// `name:value\n` for each header.
    headers: &'a [u8],
}

impl HandshakeRecord {
    /// Keeps a request. `url` is its path and query, `headers` come in the order of the request, names in any
    /// case; `address` is the client's, `issued_ms` the time since 1970.
    pub fn new<'a>(
        url: &str,
        headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
        address: IpAddr,
        secure: bool,
        issued_ms: u64,
    ) -> Self {
        let url = &url.as_bytes()[..url.len().min(u16::MAX.into())];
        let lines: usize = headers.clone().map(|(name, value)| name.len() + value.len() + 2).sum();
        // No more than needed: the allocation then stays as it is.
        let mut out = Vec::with_capacity(1 + 8 + address_bytes(address) + 2 + url.len() + lines);
        out.push((u8::from(secure) * SECURE) | (u8::from(address.is_ipv6()) * IPV6));
        out.extend_from_slice(&issued_ms.to_le_bytes());
        match address {
            IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
        }
        out.extend_from_slice(&u16::try_from(url.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(url);
        for (name, value) in headers {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            out.extend_from_slice(value);
            out.push(b'\n');
        }
        Self(out.into())
    }

    /// The same with as many headers as fit into `bytes_max` altogether; nothing if not even the URL does.
    pub(crate) fn limited(self, bytes_max: usize) -> Option<Self> {
        if self.0.len() <= bytes_max {
            return Some(self);
        }
        let headers = self.parts()?.headers.len();
        let fixed = self.0.len() - headers;
        let kept = self.0.get(..bytes_max).filter(|_| bytes_max >= fixed)?;
        let end =
            kept.get(fixed..)?.iter().rposition(|byte| *byte == b'\n').map_or(fixed, |at| fixed + at + 1);
        Some(Self(kept.get(..end)?.into()))
    }

    /// The client's address.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.parts().map(|parts| parts.address)
    }

    /// The handshake of a socket that authenticated with `auth`, the text of a JSON object.
    pub(crate) fn of_socket(&self, auth: &str) -> Handshake {
        let auth = Bytes::copy_from_slice(auth.as_bytes());
        let Some(parts) = self.parts() else { return Handshake { auth, ..Handshake::default() } };
        let url = String::from_utf8_lossy(parts.url).into_owned();
        let headers = headers(parts.headers);
        let xdomain = headers.iter().any(|(name, values)| name == "origin" && values.concat() != "");
        Handshake {
            time: date_text(parts.issued_ms),
            address: parts.address.to_string(),
            xdomain,
            secure: parts.secure,
            issued_ms: parts.issued_ms,
            query: query_object(url.split_once('?').map_or("", |(_, query)| query)).into(),
            headers: headers_object(&headers).into(),
            url,
            auth,
        }
    }

    /// One parameter of the query of the URL, percent-decoded.
    pub(crate) fn query_value(&self, key: &str) -> Option<String> {
        let url = std::str::from_utf8(self.parts()?.url).ok()?;
        query_value(url.split_once('?')?.1, key)
    }

    fn parts(&self) -> Option<Parts<'_>> {
        let (flags, rest) = self.0.split_first()?;
        let (issued, rest) = rest.split_first_chunk::<8>()?;
        let (address, rest) = if flags & IPV6 == 0 {
            let (octets, rest) = rest.split_first_chunk::<4>()?;
            (Ipv4Addr::from(*octets).into(), rest)
        } else {
            let (octets, rest) = rest.split_first_chunk::<16>()?;
            (Ipv6Addr::from(*octets).into(), rest)
        };
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (url, headers) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        let issued_ms = u64::from_le_bytes(*issued);
        Some(Parts { secure: flags & SECURE != 0, issued_ms, address, url, headers })
    }
}

/// Headers hold credentials: only the size is shown.
impl fmt::Debug for HandshakeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandshakeRecord({} bytes)", self.0.len())
    }
}

/// The first value of `key` in a query, percent-decoded.
pub(crate) fn query_value(query: &str, key: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == key)
        .map(|(_, value)| value.into_owned())
}

fn address_bytes(address: IpAddr) -> usize {
    if address.is_ipv6() { 16 } else { 4 }
}

/// Headers of which Node keeps the first and drops the rest.
///
/// Source: Node.js, `message.headers` of `http.IncomingMessage`.
const FIRST_COUNTS: [&str; 18] = [
    "age",
    "authorization",
    "content-length",
    "content-type",
    "etag",
    "expires",
    "from",
    "host",
    "if-modified-since",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "proxy-authorization",
    "referer",
    "retry-after",
    "server",
    "user-agent",
];

/// The values of one header; several only where Node makes a list of them.
type Values = Vec<String>;

/// The headers as Node gives them to applications: names in lower case, values as Latin-1, repeated ones joined,
/// but for those that are dropped or listed.
fn headers(lines: &[u8]) -> Vec<(String, Values)> {
    let mut headers: Vec<(String, Values)> = Vec::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let name = latin1(name).to_ascii_lowercase();
        let value = latin1(value.get(1..).unwrap_or_default().trim_ascii());
        match headers.iter_mut().find(|(known, _)| *known == name) {
            None => headers.push((name, vec![value])),
            Some(_) if FIRST_COUNTS.contains(&name.as_str()) => {}
            Some((_, values)) if name == "set-cookie" => values.push(value),
            Some((_, values)) => {
                let separator = if name == "cookie" { "; " } else { ", " };
                if let Some(joined) = values.first_mut() {
                    joined.push_str(separator);
                    joined.push_str(&value);
                }
            }
        }
    }
    headers
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn headers_object(headers: &[(String, Values)]) -> String {
    object(headers.iter().map(|(name, values)| {
        let value = match values.as_slice() {
            [value] if name != "set-cookie" => json_string(value),
            values => {
                let values: Vec<String> = values.iter().map(|value| json_string(value)).collect();
                format!("[{}]", values.join(","))
            }
        };
        (name.as_str(), value)
    }))
}

/// The JSON object of a query's text: of repeated parameters the last counts, in the place of the first.
///
/// Source: engine.io 6.6, `Object.fromEntries(url.searchParams)`.
pub(crate) fn query_object(query: &str) -> String {
    let mut parameters: Vec<(String, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match parameters.iter_mut().find(|(known, _)| *known == name) {
            Some(parameter) => parameter.1 = value.into_owned(),
            None => parameters.push((name.into_owned(), value.into_owned())),
        }
    }
    object(parameters.iter().map(|(name, value)| (name.as_str(), json_string(value))))
}

/// A JSON object of names and values that are JSON.
fn object<'a>(members: impl Iterator<Item = (&'a str, String)>) -> String {
    let members: Vec<String> =
        members.map(|(name, value)| format!("{}:{value}", json_string(name))).collect();
    format!("{{{}}}", members.join(","))
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn record(url: &str, headers: &[(&str, &str)]) -> HandshakeRecord {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        HandshakeRecord::new(url, headers, ADDRESS, false, 1_795_226_126_768)
    }

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).expect("JSON is UTF-8")
    }

    #[test]
    fn a_handshake_reads_as_that_of_node() {
        // What a Node server told another one: tests/vectors/redis-classic.json.
        let headers = [
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "x9DZWFg8uTp9MJCX/7e0zA=="),
            ("Connection", "Upgrade"),
            ("Host", "127.0.0.1:33783"),
        ];
        let handshake = record("/socket.io/?EIO=4&transport=websocket", &headers).of_socket("{}");
        let expected = Handshake {
            headers: Bytes::from_static(
                br#"{"sec-websocket-version":"13","sec-websocket-key":"x9DZWFg8uTp9MJCX/7e0zA==","connection":"Upgrade","host":"127.0.0.1:33783"}"#,
            ),
            time: "Sat Nov 21 2026 01:55:26 GMT+0000 (Coordinated Universal Time)".into(),
            address: "127.0.0.1".into(),
            xdomain: false,
            secure: false,
            issued_ms: 1_795_226_126_768,
            url: "/socket.io/?EIO=4&transport=websocket".into(),
            query: Bytes::from_static(br#"{"EIO":"4","transport":"websocket"}"#),
            auth: Bytes::from_static(b"{}"),
        };
        assert_eq!(handshake, expected);
    }

    #[test]
    fn repeated_headers_are_joined_listed_or_dropped_as_in_node() {
        let check = |name: &str, expected: &str| {
            let headers = [(name, "a"), ("X", "between"), (name, "b")];
            let handshake = record("/", &headers).of_socket("{}");
            assert!(text(&handshake.headers).contains(expected), "{:?}", handshake.headers);
        };
        check("X-Forwarded-For", r#""x-forwarded-for":"a, b""#);
        check("Cookie", r#""cookie":"a; b""#);
        check("Set-Cookie", r#""set-cookie":["a","b"]"#);
        check("User-Agent", r#""user-agent":"a""#);
    }

    #[test]
    fn the_last_of_repeated_parameters_counts() {
        let query = record("/?a=1&b=%C3%A9+%22&a=2&c", &[]).of_socket("{}").query;
        assert_eq!(text(&query), r#"{"a":"2","b":"é \"","c":""}"#);
        assert_eq!(text(&record("/", &[]).of_socket("{}").query), "{}");
    }

    #[test]
    fn an_origin_makes_it_another_domain() {
        assert!(record("/", &[("Origin", "https://a.example")]).of_socket("{}").xdomain);
        assert!(!record("/", &[("Origin", "")]).of_socket("{}").xdomain);
    }

    #[test]
    fn bytes_of_headers_are_latin_1() {
        let headers = [("X", b"caf\xe9 \"1\"".as_slice())].into_iter();
        let address = "2001:db8::1".parse().expect("an address");
        let handshake = HandshakeRecord::new("/", headers, address, true, 0).of_socket(r#"{"a":1}"#);
        assert_eq!(text(&handshake.headers), r#"{"x":"café \"1\""}"#);
        assert_eq!((handshake.address.as_str(), handshake.secure), ("2001:db8::1", true));
        assert_eq!(text(&handshake.auth), r#"{"a":1}"#);
    }

    #[test]
    fn a_limit_leaves_out_whole_headers_from_the_end() {
        let whole = record("/x", &[("A", "1"), ("B", "2")]);
        let size = whole.0.len();
        let headers = |bytes_max| {
            let limited = whole.clone().limited(bytes_max)?;
            assert!(limited.0.len() <= bytes_max);
            Some(text(&limited.of_socket("{}").headers).to_owned())
        };
        assert_eq!(headers(size).as_deref(), Some(r#"{"a":"1","b":"2"}"#));
        assert_eq!(headers(size - 1).as_deref(), Some(r#"{"a":"1"}"#));
        assert_eq!(headers(size - 5).as_deref(), Some("{}"));
        assert_eq!(headers(size - 8).as_deref(), Some("{}"));
        assert_eq!(headers(size - 9), None);
    }

    #[test]
    fn nothing_of_the_request_is_shown_in_logs() {
        assert_eq!(format!("{:?}", record("/?token=secret", &[])), "HandshakeRecord(29 bytes)");
    }
}
