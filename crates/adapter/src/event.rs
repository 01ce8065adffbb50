//! Which names an event may have, for clients and for servers.

use std::borrow::Cow;

use socketio::{DEPTH_CEILING, reserved_event};

use crate::error::WireFault;
use crate::json::{self, Reader, Token};

/// Names of events that a Node server emits to itself, and whose handlers expect a socket or a namespace.
const SERVER_EVENTS: [&str; 3] = ["connect", "connection", "new_namespace"];

/// The name of an event; `json`, known to be JSON, has to be an array that starts with it.
pub(crate) fn name(json: &str) -> Result<Cow<'_, str>, WireFault> {
    let mut reader = Reader::new(json);
    if reader.token() != Ok(Token::Array) || reader.element(true) != Ok(true) {
        return Err(WireFault::EventName);
    }
    if let Some(text) = reader.plain_string() {
        return Ok(Cow::Borrowed(text));
    }
    match reader.token() {
        Ok(Token::String(text)) => Ok(text.unescaped()),
        Ok(Token::Number(text)) => Ok(Cow::Borrowed(text)),
        _ => Err(WireFault::EventName),
    }
}

/// That `json`, known to be JSON, is an event that clients accept.
pub(crate) fn check_client_event(json: &str) -> Result<(), WireFault> {
    // Clients take these names for a broken packet and close their connection.
    match reserved_event(&name(json)?) {
        Some(name) => Err(WireFault::ReservedEventName(name)),
        None => Ok(()),
    }
}

/// That `json` is JSON, and an event that servers may be sent.
pub(crate) fn check_server_event(json: &str) -> Result<(), WireFault> {
    json::check(json, DEPTH_CEILING)?;
    let name = name(json)?;
    match SERVER_EVENTS.into_iter().find(|event| *event == name) {
        Some(event) => Err(WireFault::ReservedEventName(event)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_need_a_name_that_clients_accept() {
        assert_eq!(check_client_event(r#"["e",1]"#), Ok(()));
        assert_eq!(check_client_event(r#"["",1]"#), Ok(()));
        assert_eq!(check_client_event("[1]"), Ok(()));
        assert_eq!(check_client_event(r#"["connect"]"#), Err(WireFault::ReservedEventName("connect")));
        for nameless in ["[]", "[null]", "{}", "\"e\""] {
            assert_eq!(check_client_event(nameless), Err(WireFault::EventName), "{nameless}");
        }
    }

    #[test]
    fn servers_are_not_sent_what_they_tell_themselves() {
        assert_eq!(check_server_event(r#"["disconnect"]"#), Ok(()));
        assert_eq!(check_server_event(r#"["connection"]"#), Err(WireFault::ReservedEventName("connection")));
        assert_eq!(check_server_event(r#"["e"],[]"#), Err(WireFault::TrailingBytes));
    }
}
