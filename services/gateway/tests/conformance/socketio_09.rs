//! Socket.IO 0.9, protocol 1, as its clients see it before and beside their session: what is offered, what is refused,
//! and the scripts of JSONP byte for byte.
//!
//! Source: socket.io 0.9.19 and its client 0.9.16, as captured; where the gateway says something else on purpose, the
//! test says so.

use crate::harness::{Frames, Gateway, Opcode, Request, Response, message};

const ON: &str = "engine.allow_socketio_09=true";
/// What the client is told to begin anew with.
const NOT_HANDSHAKEN: &str = "7:::1+0";

const TEXT: &str = "text/plain; charset=UTF-8";
const SCRIPT: &str = "text/javascript; charset=UTF-8";

/// Status, type and body.
fn told(answer: &Response) -> (u16, String, String) {
    (answer.status, answer.header("Content-Type").unwrap_or_default(), answer.text())
}

fn text(body: &str) -> (u16, String, String) {
    (200, TEXT.into(), body.into())
}

fn script(body: &str) -> (u16, String, String) {
    (200, SCRIPT.into(), body.into())
}

/// The id of a new session.
fn handshake(gateway: &Gateway) -> String {
    sid_of(&gateway.get("/socket.io/1/?t=1").text()).to_owned()
}

fn sid_of(line: &str) -> &str {
    line.split_once(':').unwrap_or_else(|| panic!("{line} names no session")).0
}

fn post(gateway: &Gateway, target: &str, content_type: &str, body: &str) -> Response {
    gateway.http().send(&Request::post(target, body).header("Content-Type", content_type).close())
}

/// What a request whose connection ends without an answer gets.
fn bytes_until_the_end(gateway: &Gateway, request: &Request) -> Vec<u8> {
    let mut http = gateway.http();
    http.write(&request.bytes());
    http.rest()
}

#[test]
fn without_the_key_its_paths_are_those_of_nobody() {
    let gateway = Gateway::dev(&[]);
    let unknown = told(&gateway.get("/socket.io/nothing/?t=1"));
    assert_eq!(unknown.0, 400, "{unknown:?}");
    for path in ["1/?t=1", "1/?t=1&jsonp=0", "1/xhr-polling/s?t=1", "1/jsonp-polling/s?t=1&i=0", "2/"] {
        assert_eq!(told(&gateway.get(&format!("/socket.io/{path}"))), unknown, "{path}");
    }
    let upgrade = |path: &str| told(&gateway.http().send(&Request::upgrade(path)));
    assert_eq!(upgrade("/socket.io/1/websocket/s"), upgrade("/socket.io/nothing/s"));
}

#[test]
fn a_handshake_is_a_line_that_names_the_session_its_times_and_the_transports() {
    let gateway = Gateway::dev(&[ON]);
    let (status, content_type, line) = told(&gateway.get("/socket.io/1/?t=1"));
    let sid = sid_of(&line);
    assert!(!sid.is_empty() && sid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    // Neither Flash nor the endless page of old browsers.
    let expected = format!("{sid}:45:45:websocket,xhr-polling,jsonp-polling");
    assert_eq!((status, content_type, line.clone()), text(&expected));
    assert_ne!(sid, handshake(&gateway), "a session is nobody else's");

    let (status, content_type, call) = told(&gateway.get("/socket.io/1/?t=1&jsonp=3"));
    let said = call.strip_prefix("io.j[3](\"").unwrap_or_else(|| panic!("{call}"));
    let expected = format!("io.j[3](\"{}:45:45:websocket,xhr-polling,jsonp-polling\");", sid_of(said));
    assert_eq!((status, content_type, call.clone()), script(&expected));
}

#[test]
fn transports_that_are_not_offered_get_no_answer_and_other_versions_are_refused() {
    let mut gateway = Gateway::dev(&[ON]);
    let sid = handshake(&gateway);
    for transport in ["htmlfile", "flashsocket", "nonsense"] {
        let request = Request::get(&format!("/socket.io/1/{transport}/{sid}?t=1"));
        assert_eq!(bytes_until_the_end(&gateway, &request), b"", "{transport}");
    }
    for transport in ["htmlfile", "flashsocket"] {
        let request = Request::upgrade(&format!("/socket.io/1/{transport}/{sid}"));
        assert_eq!(gateway.http().send(&request).status, 400, "{transport} as a WebSocket");
    }
    let version = told(&gateway.get("/socket.io/2/?t=1"));
    assert_eq!(version, (500, TEXT.into(), "Protocol version not supported.".into()));
    gateway.assert_unharmed();
}

#[test]
fn jsonp_is_answered_by_scripts_to_the_byte() {
    let gateway = Gateway::dev(&[ON]);
    let sid = handshake(&gateway);
    let target = |index: &str| format!("/socket.io/1/jsonp-polling/{sid}?t=1&i={index}");
    let first = gateway.get(&target("0"));
    assert_eq!(told(&first), script(r#"io.j[0]("1::");"#));
    assert_eq!(first.header("X-XSS-Protection").as_deref(), Some("0"));

    // The packets as a JSON string: 5:1+::{"name":"join","args":["hé€😀"]}
    let form = "d=%225%3A1%2B%3A%3A%7B%5C%22name%5C%22%3A%5C%22join%5C%22%2C%5C%22args%5C%22%3A%5B%5C%22h%C3%A9%E2%82%AC%F0%9F%98%80%5C%22%5D%7D%22";
    let pushed = post(&gateway, &target("0"), "application/x-www-form-urlencoded", form);
    assert_eq!(told(&pushed), text("1"));
    let answered = told(&gateway.get(&target("1")));
    assert_eq!(answered, script(r#"io.j[1]("6:::1+[{\"status\":\"ok\"}]");"#));

    gateway.publisher().publish(message(&["hé€😀"], "said", "[\"\u{2028}</script>\"]"));
    // What ends a line in a script, and nowhere else, is escaped; the index is digits whatever was asked for.
    let expected = r#"io.j[2]("5:::{\"name\":\"said\",\"args\":[\"\u2028</script>\"]}");"#;
    assert_eq!(told(&gateway.get(&target("2](alert"))), script(expected));
}

#[test]
fn an_unknown_session_is_told_to_begin_anew() {
    let gateway = Gateway::dev(&[ON]);
    assert_eq!(told(&gateway.get("/socket.io/1/xhr-polling/nobody?t=1")), text(NOT_HANDSHAKEN));
    let polled = told(&gateway.get("/socket.io/1/jsonp-polling/nobody?t=1&i=4"));
    assert_eq!(polled, script(&format!("io.j[4](\"{NOT_HANDSHAKEN}\");")));
    // Clients look at no body here: what is not 200 makes them begin anew.
    let pushed = post(&gateway, "/socket.io/1/xhr-polling/nobody?t=1", TEXT, "3:::hi");
    pushed.assert_error(1, "Session ID unknown");
    let mut frames = Frames::open(gateway.client, "/socket.io/1/websocket/nobody");
    assert_eq!(frames.text(), NOT_HANDSHAKEN);
    assert_eq!(frames.frame().opcode, Opcode::CLOSE);
    let ended = gateway.get("/socket.io/1/xhr-polling/nobody/?disconnect=1");
    assert_eq!((ended.status, ended.text().as_str()), (200, ""));
}

#[test]
fn a_session_that_is_ended_by_url_is_unknown_at_once() {
    let gateway = Gateway::dev(&[ON]);
    let sid = handshake(&gateway);
    let poll = format!("/socket.io/1/xhr-polling/{sid}?t=1");
    assert_eq!(told(&gateway.get(&poll)), text("1::"));
    let ended = gateway.get(&format!("/socket.io/1//{sid}/?disconnect=1"));
    assert_eq!((ended.status, ended.text().as_str()), (200, ""));
    assert_eq!(told(&gateway.get(&poll)), text(NOT_HANDSHAKEN));
}

#[test]
fn foreign_origins_are_refused_at_the_handshake_and_listed_ones_get_their_headers() {
    let gateway =
        Gateway::dev(&[ON, r#"client.cors.origins=["https://app.example"]"#, "client.cors.credentials=true"]);
    let from = |origin: &str, request: Request| {
        gateway.http().send(&request.header("Origin", origin).header("Connection", "close"))
    };
    let refused = from("https://evil.test", Request::get("/socket.io/1/?t=1"));
    assert_eq!(told(&refused), (403, TEXT.into(), "handshake bad origin".into()));
    assert_eq!(refused.header("Access-Control-Allow-Origin"), None);
    let refused = from("https://evil.test", Request::get("/socket.io/1/?t=1&jsonp=0"));
    assert_eq!(told(&refused), script(r#"io.j[0](new Error("handshake bad origin"));"#));

    let app = |request| {
        let answer = from("https://app.example", request);
        assert_eq!(answer.header("Access-Control-Allow-Origin").as_deref(), Some("https://app.example"));
        assert_eq!(answer.header("Access-Control-Allow-Credentials").as_deref(), Some("true"));
        answer
    };
    let line = app(Request::get("/socket.io/1/?t=1")).text();
    let target = format!("/socket.io/1/xhr-polling/{}?t=1", sid_of(&line));
    assert_eq!(app(Request::get(&target)).text(), "1::");
    assert_eq!(told(&app(Request::post(&target, "2::").header("Content-Type", TEXT))), text("1"));
    assert_eq!(app(Request::get("/socket.io/1/xhr-polling/nobody?t=1")).text(), NOT_HANDSHAKEN);
    // Its client asks for none, but a script that adds a header does.
    let preflight = app(Request::new("OPTIONS", &target).header("Access-Control-Request-Method", "POST"));
    assert_eq!(preflight.status, 204);
    assert!(preflight.header("Access-Control-Allow-Methods").is_some_and(|methods| methods.contains("POST")));
}

#[test]
fn a_session_is_no_other_origins_either() {
    let gateway = Gateway::dev(&[ON, r#"client.cors.origins=["https://app.example"]"#]);
    let sid = handshake(&gateway);
    let poll = format!("/socket.io/1/xhr-polling/{sid}?t=1");
    assert_eq!(told(&gateway.get(&poll)), text("1::"));
    let scripted = format!("/socket.io/1/jsonp-polling/{sid}?t=1&i=0");
    let evil = |request: Request| gateway.http().send(&request.header("Origin", "https://evil.test"));
    for (step, request) in [
        ("push", Request::post(&poll, "0::").header("Content-Type", TEXT)),
        ("push of JSONP", Request::post(&scripted, "d=%220%3A%3A%22")),
        ("poll", Request::get(&poll)),
        ("end", Request::get(&format!("/socket.io/1//{sid}/?disconnect=1"))),
    ] {
        let refused = evil(request);
        assert_eq!(refused.status, 403, "{step}");
        refused.assert_error(4, "Forbidden");
    }
    let websocket = format!("/socket.io/1/websocket/{sid}");
    let refused = evil(Request::upgrade(&websocket));
    assert_eq!((refused.status, refused.text().as_str()), (400, "Forbidden"));
    let own = Request::upgrade(&websocket).header("Origin", "https://app.example");
    assert_eq!(gateway.http().send(&own).status, 101, "the session lives");
}
