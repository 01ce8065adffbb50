//! Heartbeats in virtual time.

use broker::TICK;
use engineio::CloseReason;

use crate::harness::{Broker, V3, V4, polling_closed, websocket_closed};

#[test]
fn a_websocket_is_pinged_and_closed_without_a_pong() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.advance_ms(24_990);
    assert_eq!(broker.received(socket), [""; 0]);
    broker.advance_ms(20);
    assert_eq!(broker.received(socket), ["2"]);
    broker.advance_ms(19_980);
    assert_eq!(broker.received(socket), [""; 0]);
    broker.advance_ms(20);
    assert_eq!(broker.received(socket), ["CLOSE"]);
    assert_eq!(broker.happenings(), [websocket_closed(CloseReason::PingTimeout)]);
    broker.assert_empty();
}

#[test]
fn pongs_keep_a_websocket_open_for_hours() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    for _ in 0..300 {
        broker.advance_ms(25_000 + TICK.as_millis() as u64);
        assert_eq!(broker.received(socket), ["2"]);
        broker.send(socket, "3");
    }
}

#[test]
fn traffic_does_not_replace_pings_and_extends_a_due_pong_once() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.advance_ms(24_000);
    broker.send(socket, r#"42["x"]"#);
    broker.advance_ms(1010);
    assert_eq!(broker.received(socket), ["2"]);
    broker.advance_ms(5_000);
    // The first event behind the ping gives the pong 20 s from there, the next one nothing more.
    broker.send(socket, r#"42["x"]"#);
    broker.advance_ms(15_000);
    broker.send(socket, r#"42["x"]"#);
    broker.advance_ms(4_990);
    assert_eq!(broker.received(socket), [""; 0]);
    broker.advance_ms(20);
    assert_eq!(broker.received(socket), ["CLOSE"]);
}

#[test]
fn a_polling_session_gets_its_ping_in_a_poll_and_pongs_by_push() {
    let mut broker = Broker::dev();
    let polling = broker.connect_polling();
    for _ in 0..3 {
        let poll = broker.poll(polling).unwrap();
        broker.advance_ms(25_010);
        assert_eq!(broker.answer(poll).as_deref(), Some("2"));
        broker.push(polling, "3").unwrap();
    }
    let poll = broker.poll(polling).unwrap();
    broker.advance_ms(25_010);
    assert_eq!(broker.answer(poll).as_deref(), Some("2"));
    let poll = broker.poll(polling).unwrap();
    broker.advance_ms(20_010);
    assert_eq!(broker.answer(poll).as_deref(), Some("1"));
    broker.assert_empty();
}

#[test]
fn a_polling_session_that_never_polls_is_forgotten() {
    let mut broker = Broker::dev();
    let polling = broker.connect_polling();
    broker.advance_ms(45_020);
    broker.assert_empty();
    assert!(broker.poll(polling).is_err());
}

#[test]
fn a_ping_from_a_client_of_revision_4_closes_its_connection() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.send(socket, "2");
    assert_eq!(broker.received(socket), ["CLOSE"]);
    let happenings = broker.happenings();
    assert!(happenings.contains(&websocket_closed(CloseReason::TransportError)), "{happenings:?}");
}

#[test]
fn clients_of_revision_3_ping_and_only_pings_keep_them_alive() {
    let mut broker = Broker::dev();
    let socket = broker.open(V3);
    broker.received(socket);
    broker.advance_ms(40_000);
    assert_eq!(broker.received(socket), [""; 0], "the server does not ping");
    broker.send(socket, "2");
    assert_eq!(broker.received(socket), ["3"]);
    broker.advance_ms(44_000);
    broker.send(socket, r#"42["x"]"#);
    broker.advance_ms(1010);
    assert_eq!(broker.received(socket), ["CLOSE"]);
}

#[test]
fn a_heartbeat_goes_on_after_an_upgrade() {
    let mut broker = Broker::dev();
    let polling = broker.open_polling(V4);
    broker.push(polling, "40").unwrap();
    broker.advance_ms(25_010);
    // The ping is queued for polling and moves to the WebSocket with the rest.
    let probe = broker.probe(polling).unwrap();
    broker.send(probe, "5");
    assert_eq!(broker.received(probe).last().map(String::as_str), Some("2"));
    broker.send(probe, "3");
    broker.advance_ms(25_010);
    assert_eq!(broker.received(probe), ["2"]);
    broker.advance_ms(20_010);
    assert_eq!(broker.received(probe), ["CLOSE"]);
}

#[test]
fn a_poll_after_the_deadline_is_refused_though_the_wheel_is_behind() {
    let mut broker = Broker::dev();
    // Off the ticks, so that both the ping and the pong's deadline fall between two of them.
    broker.advance_ms(1);
    let polling = broker.connect_polling();
    broker.advance_ms(25_001);
    broker.advance_ms(19_998);
    assert!(!broker.happenings().contains(&polling_closed(CloseReason::PingTimeout)));
    broker.advance_ms(1);
    assert!(broker.poll(polling).is_err());
    broker.assert_empty();
}
