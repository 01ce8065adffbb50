//! Clients that do not read, or read slowly, and links that break.

use adapter::Delivery;
use broker::{Happening, LimitsConfig, ShardConfig};
use engineio::CloseReason;

use crate::harness::{Broker, config, publication, websocket_closed};

const EVENT: &str = r#"["x",1]"#;
const PACKET: &str = r#"42["x",1]"#;

/// A broker whose outboxes hold exactly `count` copies of [`EVENT`].
fn with_outboxes_for(count: usize) -> Broker {
    let size = publication(&[], EVENT, Delivery::Reliable).encoded.size();
    let outbox_bytes = u32::try_from(size * count).unwrap();
    // Less than what CONNECT needs passes too, because its queue is empty.
    Broker::new(ShardConfig { limits: LimitsConfig { outbox_bytes, ..LimitsConfig::default() }, ..config() })
}

#[test]
fn a_client_that_takes_nothing_is_closed_at_one_message_over_the_limit_and_others_get_all() {
    let mut broker = with_outboxes_for(20);
    let ((slow, _), (other, _)) = (broker.connect(), broker.connect());
    broker.wire.link(slow.link).room = 0;
    for _ in 0..20 {
        let reach = broker.publish(&[], EVENT);
        assert_eq!((reach.written, reach.dropped_slow), (2, 0));
    }
    assert!(!broker.is_closed(slow));
    let reach = broker.publish(&[], EVENT);
    assert_eq!((reach.matched, reach.written, reach.dropped_slow), (2, 1, 1));
    assert!(broker.is_closed(slow));
    assert_eq!(broker.received(slow), [""; 0]);
    assert_eq!(broker.received(other), [PACKET; 21]);
    let queued_bytes =
        20 * u32::try_from(publication(&[], EVENT, Delivery::Reliable).encoded.size()).unwrap();
    assert_eq!(
        broker.happenings(),
        [Happening::SlowClientClosed { queued_bytes }, websocket_closed(CloseReason::TransportError)]
    );
    assert_eq!(broker.shard.connection_count(), 1);
}

#[test]
fn an_overflow_twice_in_one_turn_closes_once() {
    let mut broker = with_outboxes_for(20);
    let (slow, _) = broker.connect();
    for _ in 0..23 {
        broker.deliver(&[], EVENT, Delivery::Reliable);
    }
    broker.turn();
    assert!(broker.is_closed(slow));
    assert_eq!(broker.happenings().len(), 2);
    broker.assert_empty();
}

#[test]
fn a_polling_client_that_does_not_poll_is_closed_over_the_limit() {
    let mut broker = with_outboxes_for(20);
    let polling = broker.connect_polling();
    for _ in 0..21 {
        broker.publish(&[], EVENT);
    }
    assert!(broker.poll(polling).is_err());
    broker.assert_empty();
}

#[test]
fn a_blocked_client_gets_no_volatile_messages() {
    let mut broker = with_outboxes_for(20);
    let ((slow, _), (other, _)) = (broker.connect(), broker.connect());
    broker.wire.link(slow.link).room = 0;
    broker.publish(&[], EVENT);
    let reach = broker.deliver(&[], r#"["volatile"]"#, Delivery::Volatile);
    assert_eq!((reach.matched, reach.written, reach.dropped_volatile), (2, 1, 1));
    broker.turn();
    broker.wire.link(slow.link).room = usize::MAX;
    broker.shard.handle_writable(slow.key, slow.link);
    broker.turn();
    assert_eq!(broker.received(slow), [PACKET]);
    assert_eq!(broker.received(other), [PACKET, r#"42["volatile"]"#]);
}

#[test]
fn a_polling_client_gets_volatile_messages_only_while_a_poll_waits() {
    let mut broker = Broker::dev();
    let polling = broker.connect_polling();
    let dropped = broker.deliver(&[], r#"["a"]"#, Delivery::Volatile).dropped_volatile;
    let poll = broker.poll(polling).unwrap();
    let written = broker.deliver(&[], r#"["b"]"#, Delivery::Volatile).written;
    broker.turn();
    assert_eq!((dropped, written), (1, 1));
    assert_eq!(broker.answer(poll).as_deref(), Some(r#"42["b"]"#));
}

#[test]
fn queued_volatile_messages_make_room_for_reliable_ones() {
    let mut broker = with_outboxes_for(20);
    let (socket, _) = broker.connect();
    broker.shard.take_counters();
    for _ in 0..18 {
        broker.deliver(&[], EVENT, Delivery::Reliable);
    }
    for _ in 0..2 {
        broker.deliver(&[], r#"["v",1]"#, Delivery::Volatile);
    }
    assert_eq!(broker.deliver(&[], EVENT, Delivery::Reliable).written, 1);
    broker.turn();
    assert_eq!(broker.received(socket), [PACKET; 19]);
    assert_eq!(broker.shard.take_counters().volatile_dropped, 2);
}

#[test]
fn short_writes_keep_every_byte_in_order() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.wire.link(socket.link).room = 0;
    let texts: Vec<String> = (0..20).map(|n| format!("[\"x\",{n},\"{}\"]", "y".repeat(n * 13))).collect();
    for text in &texts {
        broker.publish(&[], text);
    }
    for portion in (1..7).cycle() {
        if broker.wire.link(socket.link).room > 0 {
            break;
        }
        broker.wire.link(socket.link).room = portion;
        broker.shard.handle_writable(socket.key, socket.link);
        broker.turn();
    }
    let expected: Vec<String> = texts.iter().map(|text| format!("42{text}")).collect();
    assert_eq!(broker.received(socket), expected);
}

#[test]
fn a_blocked_link_is_not_written_to_until_it_is_writable() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.wire.link(socket.link).room = 3;
    broker.publish(&[], EVENT);
    let writes = broker.wire.link(socket.link).writes;
    broker.publish(&[], EVENT);
    assert_eq!(broker.wire.link(socket.link).writes, writes);
}

#[test]
fn one_turn_is_one_write_however_many_messages() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    let writes = broker.wire.link(socket.link).writes;
    for _ in 0..10 {
        broker.deliver(&[], EVENT, Delivery::Reliable);
    }
    broker.turn();
    assert_eq!(broker.wire.link(socket.link).writes, writes + 1);
    assert_eq!(broker.received(socket), [PACKET; 10]);
}

#[test]
fn a_broken_link_ends_its_session_alone() {
    let mut broker = Broker::dev();
    let ((broken, _), (other, _)) = (broker.connect(), broker.connect());
    broker.wire.link(broken.link).broken = true;
    broker.publish(&[], EVENT);
    assert!(broker.is_closed(broken));
    assert_eq!(broker.happenings(), [websocket_closed(CloseReason::TransportError)]);
    assert_eq!(broker.received(other), [PACKET]);
    assert_eq!(broker.publish(&[], EVENT).matched, 1);
}

#[test]
fn a_closing_client_that_takes_nothing_is_cut_off_after_a_grace() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.wire.link(socket.link).room = 0;
    broker.send(socket, "40");
    assert_eq!(broker.shard.socket_count(), 0);
    broker.advance_ms(4_990);
    assert!(!broker.is_closed(socket));
    broker.advance_ms(20);
    assert!(broker.is_closed(socket));
    broker.assert_empty();
    let closed = broker.happenings().into_iter().filter(|it| matches!(it, Happening::SessionClosed(..)));
    assert_eq!(closed.count(), 1, "it is reported once");
}

#[test]
fn what_was_queued_goes_out_before_the_close() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.wire.link(socket.link).room = 0;
    broker.publish(&[], EVENT);
    broker.send(socket, "40");
    broker.wire.link(socket.link).room = usize::MAX;
    broker.shard.handle_writable(socket.key, socket.link);
    broker.turn();
    assert_eq!(broker.received(socket), [PACKET, "CLOSE"]);
    assert!(broker.is_closed(socket));
}
