//! Several shards in one process: requests that arrive at another than the one that owns the session, and
//! broadcasts that have members on all of them.

use std::collections::HashSet;

use crate::harness::{Frames, Gateway, Opcode, Polling, Request, message};

const SHARDS: &str = "client.shards=4";

/// The shards that hold connections now.
fn busy_shards(gateway: &Gateway) -> HashSet<usize> {
    let holds =
        |shard: &usize| gateway.metric("roomcast_connections", &[("shard", &shard.to_string())]) > 0.5;
    (0..4).filter(holds).collect()
}

/// Sessions until every shard has one: the system spreads connections by their addresses.
fn on_every_shard<T>(gateway: &Gateway, open: impl Fn() -> T) -> Vec<T> {
    let mut sessions = Vec::new();
    while busy_shards(gateway).len() < 4 {
        sessions.push(open());
        assert!(sessions.len() < 200, "a shard never gets a connection");
    }
    sessions
}

#[test]
fn a_polling_session_may_come_over_any_connection() {
    let gateway = Gateway::dev(&[SHARDS]);
    let session = Polling::joined(&gateway);
    // Each request is a connection of its own: 80 of them reach every shard but for a chance of 4 * 0.75^80.
    for number in 0..40 {
        session.push(&format!("42{number}[\"a\"]"));
        assert_eq!(session.poll(), format!("43{number}[{{\"status\":\"ok\"}}]"));
    }
    gateway.expect_metric("roomcast_connections_opened_total", &[], 1.0);
    gateway.expect_metric("roomcast_requests_refused_total", &[], 0.0);
}

#[test]
fn an_upgrade_may_arrive_at_any_shard() {
    let gateway = Gateway::dev(&[SHARDS]);
    let mut publisher = gateway.publisher();
    for number in 0..24 {
        let session = Polling::joined(&gateway);
        let mut poll = session.start_poll();
        let mut websocket = Frames::open(gateway.client, &session.upgrade_target());
        websocket.send(Opcode::TEXT, b"2probe");
        assert_eq!(websocket.text(), "3probe");
        assert_eq!(poll.answer().text(), "6");
        websocket.send(Opcode::TEXT, b"5");
        websocket.send(Opcode::TEXT, b"420[\"join\",\"upgraded\"]");
        assert_eq!(websocket.text(), "430[{\"status\":\"ok\"}]");
        let reach = publisher.publish(message(&["upgraded"], "n", &format!("[{number}]")));
        assert_eq!(reach.sockets_written, 1);
        assert_eq!(websocket.text(), format!("42[\"n\",{number}]"));
        websocket.send(Opcode::CLOSE, b"");
        websocket.assert_closed(None);
    }
    gateway.expect_metric("roomcast_upgrades_total", &[], 24.0);
}

#[test]
fn an_upgrade_on_a_used_connection_may_arrive_at_any_shard() {
    let gateway = Gateway::dev(&[SHARDS]);
    for _ in 0..12 {
        let session = Polling::open(&gateway);
        let mut http = gateway.http();
        let answer = http.send(&Request::post(&session.target(), "40"));
        assert_eq!(answer.text(), "ok");
        // What a client sends before it has read the answer goes with the connection.
        let mut bytes = Request::upgrade(&session.upgrade_target()).bytes();
        bytes.extend(crate::harness::masked(0x81, b"5"));
        http.write(&bytes);
        assert_eq!(http.answer().status, 101);
        assert!(Frames::after(http).text().starts_with("40{\"sid\":\""));
    }
    gateway.expect_metric("roomcast_upgrades_total", &[], 12.0);
}

#[test]
fn broadcasts_and_rooms_span_the_shards() {
    let gateway = Gateway::dev(&[SHARDS]);
    let mut clients = on_every_shard(&gateway, || gateway.joined());
    let count = clients.len() as u64;
    let mut publisher = gateway.publisher();
    let reach = publisher.publish(message(&[], "all", "[]"));
    assert_eq!((reach.sockets_matched, reach.sockets_written), (count, count));
    clients.iter_mut().for_each(|client| assert_eq!(client.text(), "42[\"all\"]"));

    clients.iter_mut().step_by(2).for_each(|client| client.join_room("even"));
    let reach = publisher.publish(message(&["even"], "some", "[]"));
    assert_eq!(reach.sockets_matched, count.div_ceil(2));
    // What a client relays goes the same way.
    clients[0].send("42[\"relayed\"]");
    let mut except = message(&[], "odd", "[]");
    except.except = vec!["even".into()];
    assert_eq!(publisher.publish(except).sockets_matched, count / 2);
    for (index, client) in clients.iter_mut().enumerate() {
        match (index, index % 2) {
            (0, _) => assert_eq!(client.text(), "42[\"some\"]"),
            (_, 0) => {
                assert_eq!(client.text(), "42[\"some\"]");
                assert_eq!(client.text(), "42[\"relayed\"]");
            }
            _ => assert_eq!(client.text(), "42[\"odd\"]"),
        }
    }
}

#[test]
fn messages_of_one_publisher_arrive_in_order_on_every_shard() {
    let gateway = Gateway::dev(&[SHARDS]);
    let mut clients = on_every_shard(&gateway, || gateway.joined());
    let mut publisher = gateway.publisher();
    for number in 0..100 {
        publisher.publish(message(&[], "n", &format!("[{number}]")));
    }
    for client in &mut clients {
        for number in 0..100 {
            assert_eq!(client.text(), format!("42[\"n\",{number}]"));
        }
    }
}

#[test]
fn polling_sessions_of_every_shard_get_a_broadcast() {
    let gateway = Gateway::dev(&[SHARDS]);
    let sessions = on_every_shard(&gateway, || Polling::joined(&gateway));
    gateway.publisher().publish(message(&[], "all", "[1]"));
    for session in &sessions {
        assert_eq!(session.poll(), "42[\"all\",1]");
    }
}

#[test]
fn a_sid_with_any_character_changed_is_unknown() {
    let gateway = Gateway::dev(&[SHARDS]);
    let session = Polling::joined(&gateway);
    let sid = &session.sid;
    assert_eq!(sid.len(), 20);
    let mut forged: Vec<String> = Vec::new();
    for at in 0..sid.len() {
        for other in ['A', 'B', '-', 'z'] {
            let changed = format!("{}{other}{}", &sid[..at], &sid[at + 1..]);
            forged.extend((changed != *sid).then_some(changed));
        }
        // A byte that base64 has no value for, and the other half of the bits.
        forged.push(format!("{}.{}", &sid[..at], &sid[at + 1..]));
    }
    forged.extend([sid[1..].into(), format!("{sid}A"), sid.to_lowercase(), sid.chars().rev().collect()]);
    let mut http = gateway.http();
    for sid in &forged {
        let answer = http.send(&Request::get(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}")));
        answer.assert_error(1, "Session ID unknown");
        let answer =
            http.send(&Request::post(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}"), "41"));
        answer.assert_error(1, "Session ID unknown");
    }
    for sid in forged.iter().step_by(5) {
        let target = format!("{}&sid={sid}", crate::harness::WEBSOCKET);
        let answer = gateway.http().send(&Request::upgrade(&target));
        assert_eq!((answer.status, answer.text().as_str()), (400, "Session ID unknown"));
    }
    session.push("420[\"a\"]");
    assert_eq!(session.poll(), "430[{\"status\":\"ok\"}]");
}

#[test]
fn a_sid_of_another_gateway_is_unknown_even_with_the_same_key() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, "0123456789abcdef".repeat(4)).unwrap();
    let secret = format!("node.secret_file={}", key.display());
    let one = Gateway::dev(&[&secret, "node.id=1"]);
    let two = Gateway::dev(&[&secret, "node.id=2"]);
    let session = Polling::open(&one);
    two.get(&session.target()).assert_error(1, "Session ID unknown");
    session.push("40");
}
