//! Requests that reach a gateway which does not own the session, with real gateways that know each other.

use std::io::Write;

use crate::harness::{
    Cluster, Frames, Gateway, Http, Opcode, Polling, Request, WebSocket, connect, message, payload_3,
};

const UNKNOWN: (u8, &str) = (1, "Session ID unknown");

fn forwarded(gateway: &Gateway, request: &str) -> f64 {
    gateway.metric("roomcast_forwards_total", &[("request", request)])
}

fn failures(gateway: &Gateway, cause: &str) -> f64 {
    gateway.metric("roomcast_forward_failures_total", &[("cause", cause)])
}

#[test]
fn a_polling_session_may_be_asked_for_at_any_gateway() {
    let cluster = Cluster::dev(3, &["client.shards=2"]);
    let session = Polling::joined(&cluster[0]);
    for number in 0..30 {
        session.over(&cluster[number % 3]).push(&format!("42{number}[\"a\"]"));
        let poll = session.over(&cluster[(number + 1) % 3]).poll();
        assert_eq!(poll, format!("43{number}[{{\"status\":\"ok\"}}]"));
    }
    for node in [1, 2] {
        assert_eq!((forwarded(&cluster[node], "push"), forwarded(&cluster[node], "poll")), (10.0, 10.0));
        cluster[node].expect_metric("roomcast_forward_failures_total", &[], 0.0);
        cluster[node].expect_metric("roomcast_connections_opened_total", &[], 0.0);
        cluster[node].expect_metric("roomcast_forward_duration_seconds_count", &[], 10.0);
    }
    cluster[0].expect_metric("roomcast_forwards_total", &[], 0.0);
    cluster[0].expect_metric("roomcast_requests_refused_total", &[], 0.0);
}

#[test]
fn an_upgrade_may_arrive_at_a_third_gateway() {
    let cluster = Cluster::dev(3, &[]);
    let session = Polling::joined(&cluster[0]);
    session.over(&cluster[1]).push("420[\"join\",\"upgraded\"]");
    assert_eq!(session.over(&cluster[1]).poll(), "430[{\"status\":\"ok\"}]");
    let mut poll = session.over(&cluster[1]).start_poll();
    let mut websocket = Frames::open(cluster[2].client, &session.upgrade_target());
    websocket.send(Opcode::TEXT, b"2probe");
    assert_eq!(websocket.text(), "3probe");
    assert_eq!(poll.answer().text(), "6");
    websocket.send(Opcode::TEXT, b"5");
    websocket.send(Opcode::TEXT, b"421[\"a\"]");
    assert_eq!(websocket.text(), "431[{\"status\":\"ok\"}]");
    let big = "x".repeat(900_000);
    let mut publisher = cluster[0].publisher();
    let reach = publisher.publish(message(&["upgraded"], "n", &format!("[\"{big}\"]")));
    assert_eq!(reach.sockets_written, 1);
    assert_eq!(websocket.text(), format!("42[\"n\",\"{big}\"]"));
    cluster[0].expect_metric("roomcast_upgrades_total", &[], 1.0);
    cluster[2].expect_metric("roomcast_spliced_websockets", &[], 1.0);
    websocket.send(Opcode::CLOSE, b"");
    websocket.assert_closed(None);
    cluster[0].expect_metric("roomcast_connections", &[], 0.0);
    cluster[2].expect_metric("roomcast_spliced_websockets", &[], 0.0);
}

#[test]
fn an_upgrade_on_a_used_connection_is_forwarded_with_what_was_sent_behind_it() {
    let cluster = Cluster::dev(2, &[]);
    let session = Polling::open(&cluster[0]);
    let mut http = cluster[1].http();
    assert_eq!(http.send(&Request::post(&session.target(), "40")).text(), "ok");
    let mut bytes = Request::upgrade(&session.upgrade_target()).bytes();
    bytes.extend(crate::harness::masked(0x81, b"5"));
    http.write(&bytes);
    assert_eq!(http.answer().status, 101);
    assert!(Frames::after(http).text().starts_with("40{\"sid\":\""));
}

#[test]
fn a_websocket_that_ends_on_either_side_ends_on_the_other() {
    let cluster = Cluster::dev(2, &[]);
    let upgraded = || {
        let session = Polling::joined(&cluster[0]);
        let mut websocket = WebSocket::open(connect(cluster[1].client), &session.upgrade_target());
        websocket.send("5");
        // The session is closed by the Socket.IO client's last word, or by its socket.
        cluster[0].expect_metric("roomcast_connections", &[("transport", "websocket")], 1.0);
        (session, websocket)
    };
    let (_, websocket) = upgraded();
    drop(websocket);
    cluster[0].expect_metric("roomcast_connections", &[], 0.0);
    let (_, mut websocket) = upgraded();
    // A packet that is none: the owner closes.
    websocket.send("9");
    assert!(websocket.message().is_close());
    cluster[0].expect_metric("roomcast_connections", &[], 0.0);
    cluster[1].expect_metric("roomcast_spliced_websockets", &[], 0.0);
}

#[test]
fn a_poll_given_up_at_another_gateway_is_given_up_at_the_owner() {
    let cluster = Cluster::dev(2, &[]);
    let session = Polling::joined(&cluster[0]);
    let poll = session.over(&cluster[1]).start_poll();
    cluster[0].expect_metric("roomcast_peer_requests_total", &[], 1.0);
    drop(poll);
    // As for a direct client, the session ends with its poll.
    cluster[0].expect_metric("roomcast_connections_closed_total", &[("reason", "transport error")], 1.0);
    session.over(&cluster[1]).assert_unknown();
}

#[test]
fn answers_are_those_of_the_owner_to_the_byte() {
    let cluster =
        Cluster::dev(2, &["client.cors.origins=https://good.example", "client.cors.credentials=true"]);
    let session = Polling::joined(&cluster[0]);
    let ask = |gateway: &Gateway, request: &Request| {
        let answer = session.over(gateway).send(&request.clone().header("Origin", "https://good.example"));
        let headers = [
            "Content-Type",
            "Content-Length",
            "Content-Encoding",
            "Cache-Control",
            "Vary",
            "Access-Control-Allow-Origin",
            "Access-Control-Allow-Credentials",
            "Access-Control-Allow-Methods",
            "Access-Control-Allow-Headers",
            "Transfer-Encoding",
            "Keep-Alive",
        ];
        (answer.status, headers.map(|name| answer.header(name)), answer.body)
    };
    let same = |request: &Request| {
        let direct = ask(&cluster[0], request);
        assert_eq!(ask(&cluster[1], request), direct, "{request:?}");
        direct.0
    };
    let poll = Request::get(&session.target());
    for request in [
        poll.clone(),
        poll.clone().header("Accept-Encoding", "gzip"),
        Request::get(&format!("{}&j=3", session.target())),
    ] {
        let text = "y".repeat(5000);
        // One for the owner to answer, one for the other gateway.
        let answers = [&cluster[0], &cluster[1]].map(|gateway| {
            cluster[0].publisher().publish(message(&[], "n", &format!("[\"{text}\"]")));
            ask(gateway, &request)
        });
        assert_eq!(answers[0], answers[1], "{request:?}");
    }
    assert_eq!(same(&Request::post(&session.target(), "42[\"a\"]")), 200);
    let preflight = Request::new("OPTIONS", &session.target())
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type,x-a");
    assert_eq!(same(&preflight), 204);
    assert_eq!(same(&Request::new("PUT", &session.target())), 500);
    assert_eq!(same(&Request::new("DELETE", &session.target()).body("x")), 500);
    assert_eq!(same(&Request::post(&session.target(), "x".repeat(1_000_001))), 413);
    // A WebSocket's target without its headers, and a transport that does not exist.
    assert_eq!(same(&Request::get(&session.upgrade_target())), 400);
    assert_eq!(same(&Request::get(&session.target().replace("polling", "carrier-pigeon"))), 400);
    // An upgrade without its key.
    assert_eq!(same(&Request::upgrade(&session.upgrade_target()).without("Sec-WebSocket-Key")), 400);
    // None of it has harmed the session.
    session.over(&cluster[1]).push("420[\"a\"]");
    assert!(session.over(&cluster[1]).poll().starts_with("430"));
    assert_eq!(forwarded(&cluster[1], "other"), 2.0);
}

#[test]
fn revision_3_and_jsonp_are_forwarded_as_they_are() {
    let cluster = Cluster::dev(2, &[]);
    let via = |request: &Request| cluster[1].http().send(&request.clone().close());
    let open = cluster[0].get("/socket.io/?EIO=3&transport=polling&b64=1").text();
    let sid = open.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let target = format!("/socket.io/?EIO=3&transport=polling&b64=1&sid={sid}");
    // A revision 3 client has joined / with its handshake. Lengths are in UTF-16 code units.
    let push = via(&Request::post(&target, "13:420[\"a\",\"\u{1f600}\"]8:421[\"b\"]"));
    assert_eq!((push.status, push.text().as_str()), (200, "ok"));
    let polled = via(&Request::get(&target)).text();
    let answers: Vec<_> = payload_3(&polled).into_iter().filter(|packet| packet.starts_with("43")).collect();
    assert_eq!(answers, ["430[{\"status\":\"ok\"}]", "431[{\"status\":\"ok\"}]"], "{polled}");
    let mut binary = message(&[], "n", "[{\"_placeholder\":true,\"num\":0}]");
    binary.attachments = vec![vec![1, 2, 3].into()];
    cluster[0].publisher().publish(binary);
    let polled = via(&Request::get(&target)).text();
    assert_eq!(payload_3(&polled).last().map(String::as_str), Some("b4AQID"), "{polled}");

    let session = Polling::joined(&cluster[0]);
    let form = Request::post(&format!("{}&j=0", session.target()), "d=420%5B%22a%22%5D")
        .header("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(via(&form).text(), "ok");
    let script = via(&Request::get(&format!("{}&j=0", session.target()))).text();
    assert_eq!(script, "___eio[0](\"430[{\\\"status\\\":\\\"ok\\\"}]\");");
}

#[test]
fn sids_that_are_forged_or_of_nobody_are_unknown() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    secret.as_file().write_all("0123".repeat(16).as_bytes()).unwrap();
    let key = format!("node.secret_file={}", secret.path().display());
    let mut cluster = Cluster::dev(2, &[]);
    let session = Polling::joined(&cluster[0]);
    let mut forged = session.over(&cluster[1]);
    forged.sid.replace_range(19.., if forged.sid.ends_with('A') { "B" } else { "A" });
    forged.assert_unknown();
    assert_eq!(forwarded(&cluster[1], "poll"), 0.0);
    // A node that nobody knows.
    let stranger = Gateway::dev(&[
        "node.id=9",
        "cluster.insecure=true",
        "cluster.peers=0=127.0.0.1:1",
        "cluster.listen=127.0.0.1:0",
    ]);
    let foreign = Polling::open(&stranger).over(&cluster[1]);
    foreign.assert_unknown();
    foreign.send(&Request::post(&foreign.target(), "40")).assert_error(UNKNOWN.0, UNKNOWN.1);
    let upgrade = cluster[1].http().send(&Request::upgrade(&foreign.upgrade_target()));
    assert_eq!((upgrade.status, upgrade.text().as_str()), (400, UNKNOWN.1));
    assert_eq!(failures(&cluster[1], "unknown_node"), 3.0);
    cluster[1].log_line(|line| line["kind"] == "forward_failed" && line["node"] == 9);
    // A gateway with another secret takes the sids of the others for forged.
    cluster.restart(1, &[&key]);
    session.over(&cluster[1]).assert_unknown();
    assert_eq!(forwarded(&cluster[1], "poll"), 0.0);
}

#[test]
fn the_cluster_port_answers_nobody_but_gateways_of_the_cluster() {
    let cluster = Cluster::dev(2, &[]);
    let session = Polling::joined(&cluster[0]);
    let at_port = |request: &Request| Http::connect(cluster.port(0)).send(&request.clone().close());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let poll = Request::get(&session.target());
    for (request, cause) in [
        (poll.clone(), "unsigned"),
        (Request::upgrade(&session.upgrade_target()), "unsigned"),
        (Request::get("/"), "unsigned"),
        (poll.clone().header("Roomcast-Peer", "let me in"), "unsigned"),
        (poll.header("Roomcast-Peer", &format!("1 1 {now} {}", "0".repeat(64))), "forged"),
    ] {
        let refused = |cause| cluster[0].metric("roomcast_peer_requests_refused_total", &[("cause", cause)]);
        let before = refused(cause);
        let answer = at_port(&request);
        assert_eq!((answer.status, answer.body.len()), (401, 0), "{request:?}");
        assert_eq!(refused(cause), before + 1.0, "{request:?}");
    }
    cluster[0].log_line(|line| line["kind"] == "peer_request_refused" && line["cause"] == "unsigned");
    // The session is unharmed.
    session.push("420[\"a\"]");
    assert!(session.poll().starts_with("430"));
}

#[test]
fn the_header_of_gateways_is_no_use_to_clients() {
    let cluster = Cluster::dev(2, &[]);
    let session = Polling::joined(&cluster[0]).over(&cluster[1]);
    let push = Request::post(&session.target(), "420[\"a\"]").header("Roomcast-Peer", "1 1 1 00");
    assert_eq!(session.send(&push).text(), "ok");
}

#[test]
fn clients_of_0_9_whose_owner_is_gone_are_told_to_begin_anew_on_each_transport() {
    let mut cluster = Cluster::dev(2, &["engine.allow_socketio_09=true"]);
    let line = cluster[0].get("/socket.io/1/?t=1").text();
    let sid = line.split(':').next().unwrap();
    let poll = format!("/socket.io/1/xhr-polling/{sid}?t=1");
    assert_eq!(cluster[1].get(&poll).text(), "1::", "it is forwarded");
    cluster.kill(0);
    assert_eq!(cluster[1].get(&poll).text(), "7:::1+0");
    let mut websocket = Frames::open(cluster[1].client, &format!("/socket.io/1/websocket/{sid}"));
    assert_eq!(websocket.text(), "7:::1+0");
    assert_eq!(websocket.frame().opcode, Opcode::CLOSE);
    assert_eq!(failures(&cluster[1], "unreachable") + failures(&cluster[1], "broken"), 2.0);
}

#[test]
fn an_owner_that_is_killed_answers_its_polls_with_unknown_sids() {
    let mut cluster = Cluster::dev(2, &[]);
    let session = Polling::joined(&cluster[0]).over(&cluster[1]);
    let mut poll = session.start_poll();
    cluster[0].expect_metric("roomcast_peer_requests_total", &[], 1.0);
    let upgraded = Polling::joined(&cluster[0]);
    let mut websocket = Frames::open(cluster[1].client, &upgraded.upgrade_target());
    websocket.send(Opcode::TEXT, b"2probe");
    assert_eq!(websocket.text(), "3probe");
    cluster.kill(0);
    poll.answer().assert_error(UNKNOWN.0, UNKNOWN.1);
    assert_eq!(websocket.next(), None);
    session.assert_unknown();
    let push = session.try_push("40");
    push.assert_error(UNKNOWN.0, UNKNOWN.1);
    let upgrade = cluster[1].http().send(&Request::upgrade(&session.upgrade_target()));
    assert_eq!((upgrade.status, upgrade.text().as_str()), (400, UNKNOWN.1));
    assert_eq!((failures(&cluster[1], "broken"), failures(&cluster[1], "unreachable")), (1.0, 3.0));
    // One that comes back under the same number and key has none of the sessions, and is reached again.
    cluster.restart(0, &[]);
    session.assert_unknown();
    let anew = Polling::joined(&cluster[0]).over(&cluster[1]);
    anew.push("420[\"a\"]");
    assert!(anew.poll().starts_with("430"));
    cluster.get_mut(1).assert_unharmed();
}

#[test]
fn an_owner_that_drains_goes_on_answering_what_is_forwarded() {
    let cluster = Cluster::dev(2, &["shutdown.drain_ms=4000"]);
    let sessions: Vec<_> = (0..8).map(|_| Polling::joined(&cluster[0]).over(&cluster[1])).collect();
    cluster[0].signal("TERM");
    cluster[0].log_line(|line| line["kind"] == "drain_started");
    // Clients are closed one after the other; the last of them is served through the cluster port until then.
    let served = sessions.iter().filter(|session| session.try_push("420[\"a\"]").status == 200).count();
    assert!(served > 0, "no session was served while the owner drained");
    for session in &sessions {
        let answer = session.start_poll().answer();
        assert!(matches!(answer.status, 200 | 400), "{answer:?}");
    }
}

#[test]
fn websockets_that_pass_through_are_closed_while_the_gateway_drains() {
    let mut cluster = Cluster::dev(2, &["shutdown.drain_ms=500"]);
    let session = Polling::joined(&cluster[0]);
    let mut websocket = Frames::open(cluster[1].client, &session.upgrade_target());
    websocket.send(Opcode::TEXT, b"5");
    cluster[0].expect_metric("roomcast_upgrades_total", &[], 1.0);
    cluster[1].signal("TERM");
    assert_eq!(websocket.next(), None);
    cluster[0].expect_metric("roomcast_connections", &[], 0.0);
    let ended = cluster.get_mut(1).exit(crate::harness::PATIENCE);
    assert_eq!(ended.and_then(|status| status.code()), Some(0));
}
