//! How fast one client may send.

use std::net::{IpAddr, Ipv4Addr};

use broker::{Flow, HandshakeRecord, Happening, Opening, Refusal};
use engineio::CloseReason;

use crate::harness::{Broker, V4, config, polling_closed, websocket_closed};

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The close frame with 1008.
const TOO_FAST: [u8; 4] = [0x88, 2, 0x03, 0xf0];

fn broker(packets_per_second: u32) -> Broker {
    let mut config = config();
    config.limits.packets_per_second = packets_per_second;
    Broker::new(config)
}

fn opening() -> Opening {
    let handshake = HandshakeRecord::new("/", std::iter::empty(), ADDRESS, false, 0);
    Opening { handshake: Some(handshake), ..V4 }
}

fn exceeded() -> Happening {
    Happening::PacketRateExceeded { address: Some(ADDRESS) }
}

#[test]
fn one_packet_over_the_rate_closes_the_websocket_with_1008() {
    let mut broker = broker(5);
    let socket = broker.open(opening());
    let (neighbour, _) = broker.connect();
    broker.happenings();
    assert_eq!(broker.send(socket, "40"), Flow::Continue);
    for _ in 0..4 {
        assert_eq!(broker.send(socket, "42[\"a\"]"), Flow::Continue);
    }
    assert!(!broker.is_closed(socket));
    assert_eq!(broker.send(socket, "42[\"a\"]"), Flow::Closed);
    assert!(broker.wire.link(socket.link).bytes.ends_with(&TOO_FAST));
    assert_eq!(broker.happenings(), [exceeded(), websocket_closed(CloseReason::ForcedClose)]);
    assert_eq!(broker.send(neighbour, "420[\"a\"]"), Flow::Continue);
    assert_eq!(broker.received(neighbour).pop().as_deref(), Some("430[{\"status\":\"ok\"}]"));
}

#[test]
fn packets_within_the_rate_may_go_on_for_ever() {
    let mut broker = broker(5);
    let (socket, _) = broker.connect();
    for _ in 0..500 {
        broker.advance_ms(200);
        broker.send(socket, "3");
        assert!(!broker.is_closed(socket));
    }
}

#[test]
fn binary_messages_control_frames_and_fragments_count_as_well() {
    let mut broker = broker(4);
    let now = broker.now;
    let (socket, _) = broker.connect();
    assert_eq!(broker.shard.handle_frame(socket.key, socket.link, Some(vec![0x8a, 0]), now), Flow::Continue);
    assert_eq!(broker.shard.handle_frame(socket.key, socket.link, None, now), Flow::Continue);
    broker.send(socket, "451-[\"b\",{\"_placeholder\":true,\"num\":0}]");
    assert!(!broker.is_closed(socket));
    assert_eq!(broker.send_binary(socket, b"x"), Flow::Closed);
    assert!(broker.happenings().contains(&Happening::PacketRateExceeded { address: None }));
}

#[test]
fn one_packet_over_the_rate_ends_a_polling_session_and_the_push_hears_of_it() {
    let mut broker = broker(4);
    let polling = broker.open_polling(opening());
    assert_eq!(broker.push(polling, "40"), Ok(()));
    assert_eq!(broker.push(polling, "42[\"a\"]\u{1e}42[\"a\"]\u{1e}42[\"a\"]"), Ok(()));
    broker.happenings();
    assert_eq!(broker.push(polling, "42[\"a\"]\u{1e}42[\"a\"]"), Err(Refusal::TooFast));
    assert_eq!(broker.happenings(), [exceeded(), polling_closed(CloseReason::ForcedClose)]);
    let poll = broker.poll(polling).unwrap();
    assert!(broker.answer(poll).unwrap().ends_with("\u{1e}6\u{1e}1"));
}

#[test]
fn a_probe_over_the_rate_is_closed_and_polling_goes_on_a_second_later() {
    let mut broker = broker(3);
    let polling = broker.connect_polling();
    let probe = broker.probe(polling).unwrap();
    let now = broker.now;
    for _ in 0..2 {
        assert_eq!(broker.shard.handle_frame(probe.key, probe.link, None, now), Flow::Continue);
    }
    assert_eq!(broker.shard.handle_frame(probe.key, probe.link, None, now), Flow::Closed);
    broker.turn();
    assert!(broker.is_closed(probe) && broker.wire.link(probe.link).bytes.ends_with(&TOO_FAST));
    broker.advance_ms(1000);
    assert_eq!(broker.push(polling, "420[\"a\"]"), Ok(()));
    let poll = broker.poll(polling).unwrap();
    assert_eq!(broker.answer(poll).as_deref(), Some("430[{\"status\":\"ok\"}]"));
}

#[test]
fn a_rate_of_0_is_no_limit() {
    let mut broker = broker(0);
    let (socket, _) = broker.connect();
    for _ in 0..50_000 {
        assert_eq!(broker.shard.handle_text(socket.key, socket.link, "3", broker.now), Flow::Continue);
    }
}
