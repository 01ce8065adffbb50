//! What a request asks for by its URL, and the line that answers a handshake.

use crate::{EngineConfig, Transport, jsonp::script_string};

/// A request below the path of Socket.IO, whose first segment is the version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// `1/`: begin a session.
    Handshake,
    /// `1/<transport>/<sid>`: open a transport, poll or push.
    Transport {
        /// Which; `None` for those that are not offered.
        transport: Option<Transport>,
        /// Whether polls are answered by scripts, and pushes are forms.
        jsonp: bool,
        /// As the client wrote it.
        sid: &'a str,
    },
    /// `1/<anything or nothing>/<sid>/?disconnect=1`: end a session. Browsers ask for it when a page closes.
    Disconnect {
        /// As the client wrote it.
        sid: &'a str,
    },
    /// A version that does not exist.
    UnknownVersion,
}

impl<'a> Request<'a> {
    /// Reads the path behind `/socket.io/` and the query behind the question mark. `None` if it is no request of this
    /// protocol: versions are numbers, and nothing else begins with one.
    pub fn parse(rest: &'a str, query: &str) -> Option<Self> {
        let (version, rest) = rest.split_once('/').unwrap_or((rest, ""));
        match version {
            "1" => {}
            _ if !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Some(Self::UnknownVersion);
            }
            _ => return None,
        }
        let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let sid = rest.strip_suffix('/').unwrap_or(rest);
        let has = |key: &str| form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == key);
        Some(match (name, sid) {
            (_, sid) if !sid.is_empty() && has("disconnect") => Self::Disconnect { sid },
            ("", "") => Self::Handshake,
            (name, sid) => {
                let (transport, jsonp) = match name {
                    "websocket" => (Some(Transport::WebSocket), false),
                    "xhr-polling" => (Some(Transport::Polling), false),
                    "jsonp-polling" => (Some(Transport::Polling), true),
                    // An endless page in a frame, and Flash: no living browser needs them.
                    _ => (None, false),
                };
                Self::Transport { transport, jsonp, sid }
            }
        })
    }
}

/// The answer to a handshake, `sid:heartbeat:close:transports`.
///
/// Both times are in seconds, and what the client waits for any packet, over WebSocket, and for any data, over polling,
/// before it takes the connection for lost. The server says something in each interval.
pub fn handshake_line(sid: &str, config: &EngineConfig) -> String {
    let patience = (config.ping_interval() + config.ping_timeout()).as_millis().div_ceil(1000);
    let transports: Vec<&str> = [
        ("websocket", Transport::WebSocket),
        ("xhr-polling", Transport::Polling),
        ("jsonp-polling", Transport::Polling),
    ]
    .into_iter()
    .filter(|(_, transport)| config.allows(*transport))
    .map(|(name, _)| name)
    .collect();
    format!("{sid}:{patience}:{patience}:{}", transports.join(","))
}

/// A text as the argument of a script's call, `io.j[<index>]("<text>");`. `index` is the client's, of which its digits
/// count.
pub fn wrap_jsonp(index: &str, text: &str) -> String {
    format!("io.j[{}]({});", digits(index), script_string(text))
}

/// A handshake that is refused for `reason`, as a script: `io.j[<index>](new Error("<reason>"));`.
pub fn refusal_script(index: &str, reason: &str) -> String {
    format!("io.j[{}](new Error({}));", digits(index), script_string(reason))
}

fn digits(index: &str) -> String {
    let digits: String = index.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() { "0".into() } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_handshake_a_transport_or_an_end() {
        let check =
            |rest, query, expected| assert_eq!(Request::parse(rest, query), expected, "{rest}?{query}");
        let transport = |transport, jsonp| Some(Request::Transport { transport, jsonp, sid: "s" });
        check("1/", "t=1", Some(Request::Handshake));
        check("1", "", Some(Request::Handshake));
        check("1/websocket/s", "", transport(Some(Transport::WebSocket), false));
        check("1/xhr-polling/s/", "t=1", transport(Some(Transport::Polling), false));
        check("1/jsonp-polling/s", "t=1&i=0", transport(Some(Transport::Polling), true));
        check("1/htmlfile/s", "", transport(None, false));
        check("1/flashsocket/s", "", transport(None, false));
        check("1/xhr-polling/s/", "disconnect=1", Some(Request::Disconnect { sid: "s" }));
        check("1//s/", "disconnect", Some(Request::Disconnect { sid: "s" }));
        check("2/", "", Some(Request::UnknownVersion));
        for other in ["", "socket.io.js", "x1/"] {
            check(other, "EIO=4", None);
        }
    }

    #[test]
    fn the_line_names_the_session_both_times_and_the_transports() {
        let config = EngineConfig::default();
        assert_eq!(handshake_line("s", &config), "s:45:45:websocket,xhr-polling,jsonp-polling");
        let config = EngineConfig { ping_interval_ms: 1, transports: vec![Transport::Polling], ..config };
        assert_eq!(handshake_line("s", &config), "s:21:21:xhr-polling,jsonp-polling");
    }

    #[test]
    fn scripts_call_the_index_of_the_client_whatever_it_wrote() {
        for (index, call) in [("2", "io.j[2]("), ("", "io.j[0]("), ("1](alert", "io.j[1](")] {
            assert_eq!(wrap_jsonp(index, "a\"\u{2028}"), format!(r#"{call}"a\"\u2028");"#));
        }
    }
}
