//! What back ends ask clients and of clients: acknowledgements, and details of sockets.

use std::collections::HashMap;

use roomcast_proto::v1::{CallEnd, NameValue};

use crate::harness::{Frames, Gateway, Opcode, Polling, Request, WebSocket, connect, message};

const SHARDS: &str = "client.shards=4";

#[test]
fn clients_of_every_transport_and_revision_answer_a_call() {
    let gateway = Gateway::dev(&[SHARDS]);
    let mut publisher = gateway.publisher();
    let mut websocket = gateway.websocket();
    let id = websocket.join("/");
    let polling = Polling::joined(&gateway);
    let mut old = Frames::open(gateway.client, "/socket.io/?EIO=3&transport=websocket");
    assert!(old.text().starts_with('0'));
    assert_eq!(old.text(), "40");

    let calling = publisher.call(message(&[], "q", "[1]"));
    let asked = websocket.text();
    let number = asked.strip_prefix("42").and_then(|rest| rest.strip_suffix(r#"["q",1]"#)).unwrap();
    assert_eq!(old.text(), asked);
    websocket.send(&format!(r#"461-{number}[{{"_placeholder":true,"num":0}},"x"]"#));
    websocket.send_binary(b"abc");
    old.send(Opcode::TEXT, format!("43{number}[]").as_bytes());
    assert!(polling.poll().starts_with("42"));
    polling.push(&format!(r#"43{number}["polled"]"#));

    let (answers, summary) = publisher.called(calling);
    assert_eq!((summary.end(), summary.sockets_asked, summary.sockets_answered), (CallEnd::All, 3, 3));
    let arguments: HashMap<&str, &str> =
        answers.iter().map(|answer| (answer.arguments.as_str(), answer.socket_id.as_str())).collect();
    let binary = r#"[{"_placeholder":true,"num":0},"x"]"#;
    assert_eq!(arguments.get(binary), Some(&id.as_str()));
    assert!(arguments.contains_key("[]") && arguments.contains_key(r#"["polled"]"#), "{arguments:?}");
    let with_part = answers.iter().find(|answer| answer.arguments == binary).unwrap();
    assert_eq!(with_part.attachments, [&b"abc"[..]]);
}

#[test]
fn a_call_ends_when_the_clients_it_waits_for_are_gone() {
    let gateway = Gateway::dev(&[SHARDS]);
    let mut publisher = gateway.publisher();
    let mut stays = gateway.joined();
    let mut goes = gateway.joined();
    let calling = publisher.call(message(&[], "q", "[]"));
    let asked = stays.text();
    assert_eq!(goes.text(), asked);
    drop(goes);
    stays.send(&format!("43{}[]", asked.trim_start_matches("42").trim_end_matches(r#"["q"]"#)));
    let (answers, summary) = publisher.called(calling);
    assert_eq!((summary.end(), summary.sockets_asked, answers.len()), (CallEnd::All, 2, 1));
}

fn value_of<'a>(pairs: &'a [NameValue], name: &str) -> Option<&'a str> {
    pairs.iter().find(|pair| pair.name == name).map(|pair| pair.value.as_str())
}

#[test]
fn fetched_sockets_tell_the_request_they_came_with() {
    let gateway = Gateway::dev(&[SHARDS]);
    let mut publisher = gateway.publisher();
    let target = "/socket.io/?EIO=4&transport=websocket&who=%C3%A9";
    let mut websocket = WebSocket::open(connect(gateway.client), target);
    websocket.text();
    websocket.send(r#"40/chat,{"token":"t"}"#);
    websocket.text();
    let from_elsewhere =
        Request::get("/socket.io/?EIO=4&transport=polling").header("Origin", "https://a.example");
    let session = Polling::open_by(&gateway, &from_elsewhere);
    session.push("40/chat,");
    session.poll();
    websocket.join("/");

    let sockets = publisher.fetch("/chat");
    assert_eq!(sockets.len(), 2);
    assert!(sockets[0].id < sockets[1].id);
    for socket in &sockets {
        let handshake = socket.handshake.as_ref().unwrap();
        assert_eq!((handshake.address.as_str(), handshake.secure), ("127.0.0.1", false));
        // What the harness calls the host, by either transport.
        assert!(value_of(&handshake.headers, "host").is_some());
        assert!(handshake.time.ends_with("GMT+0000 (Coordinated Universal Time)"), "{}", handshake.time);
        assert_eq!((&socket.rooms[..], &*socket.data), (&[socket.id.clone()][..], "{}"));
    }
    let by_transport = |transport: &str| {
        let handshakes = sockets.iter().filter_map(|socket| socket.handshake.as_ref());
        let mut found = handshakes.filter(|of| value_of(&of.query, "transport") == Some(transport));
        found.next().unwrap()
    };
    let of_websocket = by_transport("websocket");
    assert_eq!((of_websocket.url.as_str(), of_websocket.auth.as_str()), (target, r#"{"token":"t"}"#));
    assert_eq!(value_of(&of_websocket.query, "who"), Some("é"));
    assert!(!of_websocket.xdomain);
    let of_polling = by_transport("polling");
    assert_eq!((of_polling.auth.as_str(), of_polling.xdomain), ("{}", true));
}
