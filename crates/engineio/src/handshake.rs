//! The handshake: what a request's query says, and the open packet that answers the first one.

use serde::Serialize;

use crate::{EngineConfig, PacketKind, Revision, Transport};

/// What Engine.IO reads from the query of a request.
///
/// The rest of the query belongs to the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// `EIO`: only the exact text `4` means revision 4; anything else, or nothing, means 3.
    pub revision: Revision,
    /// `transport`; `None` if it is missing or none we know.
    pub transport: Option<Transport>,
    /// `sid`, as the client wrote it; absent if empty, which makes the request a handshake.
    pub sid: Option<String>,
    /// `b64` with any value, or `j`: the client cannot take binary.
    pub base64: bool,
    /// `j`: the index of a JSONP poll, digits alone, possibly none.
    pub jsonp: Option<String>,
}

impl Query {
    /// Reads `query`, the part of the target after the question mark. Keys and values are percent-decoded;
    /// of duplicate keys the last one counts. Every text is a query: what is missing is for the caller to judge.
    ///
    /// Source: Engine.IO protocol 4 and 3, handshake; engine.io 6.6 where they are silent.
    pub fn parse(query: &str) -> Self {
        let mut parsed =
            Self { revision: Revision::V3, transport: None, sid: None, base64: false, jsonp: None };
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "EIO" => parsed.revision = if value == "4" { Revision::V4 } else { Revision::V3 },
                "transport" => parsed.transport = transport(&value),
                "sid" => parsed.sid = (!value.is_empty()).then(|| value.into_owned()),
                "b64" => parsed.base64 = !value.is_empty(),
                "j" => parsed.jsonp = Some(value.chars().filter(char::is_ascii_digit).collect()),
                _ => {}
            }
        }
        // JSONP clients always send `b64` as well. Without it the reference server answers with a dump
        // of its buffer as soon as there is a binary packet.
        parsed.base64 |= parsed.jsonp.is_some();
        parsed
    }
}

fn transport(name: &str) -> Option<Transport> {
    match name {
        "polling" => Some(Transport::Polling),
        "websocket" => Some(Transport::WebSocket),
        _ => None,
    }
}

/// The open packet, `0{"sid":"…","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`.
///
/// `upgrades` is [`EngineConfig::upgrades_from`] the transport of the session. The order of the fields is
/// the reference server's.
///
/// Source: Engine.IO protocol 4, handshake. Clients of revision 3 ignore `maxPayload`.
pub fn open_packet(sid: &str, upgrades: &[&str], config: &EngineConfig) -> String {
    let open = Open {
        sid,
        upgrades,
        ping_interval: config.ping_interval_ms,
        ping_timeout: config.ping_timeout_ms,
        max_payload: config.max_payload_bytes,
    };
    let json = serde_json::to_string(&open).expect("texts and numbers are always representable as JSON");
    format!("{}{json}", PacketKind::Open.digit())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Open<'a> {
    sid: &'a str,
    upgrades: &'a [&'a str],
    /// In ms, like the next.
    ping_interval: u32,
    ping_timeout: u32,
    /// In bytes.
    max_payload: u32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_exact_text_4_is_revision_4() {
        let check = |query, revision| assert_eq!(Query::parse(query).revision, revision, "{query}");
        check("EIO=4", Revision::V4);
        check("EIO=%34", Revision::V4);
        check("EIO=3&EIO=4", Revision::V4);
        for query in ["", "EIO=3", "EIO=5", "EIO=", "EIO=abc", "EIO=04", "EIO=4&EIO=3", "eio=4"] {
            check(query, Revision::V3);
        }
    }

    #[test]
    fn unknown_transports_are_none() {
        let check = |query, transport| assert_eq!(Query::parse(query).transport, transport, "{query}");
        check("transport=polling", Some(Transport::Polling));
        check("transport=poll%69ng", Some(Transport::Polling));
        check("transport=polling&transport=websocket", Some(Transport::WebSocket));
        for query in
            ["", "transport", "transport=webtransport", "transport=POLLING", "transport=polling&transport=x"]
        {
            check(query, None);
        }
    }

    #[test]
    fn an_empty_sid_is_absent() {
        let check = |query, sid: Option<&str>| assert_eq!(Query::parse(query).sid.as_deref(), sid, "{query}");
        check("sid=a-_1", Some("a-_1"));
        check("sid=a&sid=b", Some("b"));
        for query in ["", "sid", "sid=", "sid=a&sid="] {
            check(query, None);
        }
    }

    #[test]
    fn jsonp_implies_base64() {
        let check = |query, base64, jsonp: Option<&str>| {
            let parsed = Query::parse(query);
            assert_eq!((parsed.base64, parsed.jsonp.as_deref()), (base64, jsonp), "{query}");
        };
        check("", false, None);
        check("b64=", false, None);
        check("b64=1", true, None);
        check("b64=0", true, None);
        check("j=5&b64=1", true, Some("5"));
        check("j=a1b2", true, Some("12"));
        check("j=%3Cscript%3E", true, Some(""));
        check("b64=1&b64=&j", true, Some(""));
    }

    #[test]
    fn the_open_packet_is_that_of_the_reference_server() {
        let config = EngineConfig::default();
        assert_eq!(
            open_packet("PcNMBVjj2Aq2E7iyAAAA", &["websocket"], &config),
            r#"0{"sid":"PcNMBVjj2Aq2E7iyAAAA","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#,
        );
        assert!(open_packet("a", &[], &config).starts_with(r#"0{"sid":"a","upgrades":[],"#));
    }

    proptest! {
        #[test]
        fn no_query_panics(query: String, plausible in "(EIO|sid|j|b64|transport|[=&%+0-9a-f]){0,20}") {
            Query::parse(&query);
            Query::parse(&plausible);
        }
    }
}
