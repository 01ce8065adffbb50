//! The ends of connections: by the other side, and by a drain.

use engineio::CloseReason;

use crate::harness::{Broker, V4, websocket_closed};

#[test]
fn a_client_that_goes_leaves_all_its_namespaces_and_rooms() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.send(socket, "40/a,");
    broker.send(socket, r#"42/a,["join","r"]"#);
    broker.shard.handle_link_closed(socket.key, socket.link, CloseReason::TransportClose);
    broker.turn();
    assert_eq!(broker.happenings(), [websocket_closed(CloseReason::TransportClose)]);
    assert!(!broker.is_closed(socket), "its link has gone already");
    broker.assert_empty();
}

#[test]
fn a_key_outlives_its_connection_harmlessly() {
    let mut broker = Broker::dev();
    let (gone, _) = broker.connect();
    broker.shard.handle_link_closed(gone.key, gone.link, CloseReason::TransportClose);
    let (next, _) = broker.connect();
    assert_eq!(broker.send(gone, "40"), broker::Flow::Closed);
    broker.shard.handle_link_closed(gone.key, gone.link, CloseReason::TransportClose);
    broker.shard.handle_writable(gone.key, gone.link);
    broker.publish(&[], r#"["x"]"#);
    assert_eq!(broker.received(next), [r#"42["x"]"#]);
}

#[test]
fn nothing_follows_a_close_frame_on_a_slow_link() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.wire.link(socket.link).room = 0;
    broker.send(socket, "9");
    assert!(!broker.is_closed(socket), "its close frame has not left");
    let pong = websocket::frame(websocket::Opcode::Pong, b"late");
    broker.shard.handle_frame(socket.key, socket.link, Some(pong), broker.now);
    broker.wire.link(socket.link).room = usize::MAX;
    broker.shard.handle_writable(socket.key, socket.link);
    broker.turn();
    assert_eq!(broker.received(socket), ["CLOSE"]);
    assert!(broker.is_closed(socket));
}

#[test]
fn a_drain_closes_a_few_at_a_time_without_a_disconnect_packet() {
    let mut broker = Broker::dev();
    let sockets: Vec<_> = (0..5).map(|_| broker.connect().0).collect();
    let mut more = true;
    let mut rounds = 0;
    while more {
        more = broker.shard.drain(2, broker.now);
        broker.turn();
        rounds += 1;
    }
    assert_eq!(rounds, 3);
    for socket in sockets {
        assert_eq!(broker.received(socket), ["CLOSE"]);
        assert!(broker.is_closed(socket));
    }
    assert_eq!(broker.happenings(), vec![websocket_closed(CloseReason::ShuttingDown); 5]);
    broker.assert_empty();
}

#[test]
fn a_drain_tells_polling_clients_on_their_waiting_or_next_poll() {
    let mut broker = Broker::dev();
    let (waiting, absent) = (broker.connect_polling(), broker.connect_polling());
    let poll = broker.poll(waiting).unwrap();
    assert!(!broker.shard.drain(10, broker.now));
    broker.turn();
    assert_eq!(broker.answer(poll).as_deref(), Some("1"));
    let poll = broker.poll(absent).unwrap();
    assert_eq!(broker.answer(poll).as_deref(), Some("6\x1e1"));
    broker.assert_empty();
}

#[test]
fn connections_that_come_during_a_drain_are_drained_too() {
    let mut broker = Broker::dev();
    let _sockets: Vec<_> = (0..3).map(|_| broker.connect().0).collect();
    assert!(broker.shard.drain(2, broker.now));
    broker.turn();
    // It takes the place of one that was closed.
    let late = broker.open(V4);
    for _ in 0..3 {
        broker.shard.drain(2, broker.now);
        broker.turn();
    }
    assert!(broker.is_closed(late));
    broker.assert_empty();
}

#[test]
fn an_idle_shard_has_nothing_to_wait_for() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.shard.handle_link_closed(socket.key, socket.link, CloseReason::TransportClose);
    broker.turn();
    broker.advance_ms(60_000);
    assert_eq!(broker.shard.poll_timeout(), None);
}
