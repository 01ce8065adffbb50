//! The move from polling to WebSocket, and its races.

use broker::{Flow, Happening, Refusal};
use engineio::{CloseReason, HttpFault, PeerFault};

use crate::harness::{Broker, Polling, Socket, V4};

/// A connected polling session with a WebSocket beside it.
fn probing() -> (Broker, Polling, Socket) {
    let mut broker = Broker::dev();
    let polling = broker.connect_polling();
    let probe = broker.probe(polling).unwrap();
    (broker, polling, probe)
}

#[test]
fn a_probe_is_answered_and_the_waiting_poll_released() {
    let (mut broker, polling, probe) = probing();
    let poll = broker.poll(polling).unwrap();
    assert_eq!(broker.answer(poll), None);
    assert_eq!(broker.send(probe, "2probe"), Flow::Continue);
    assert_eq!(broker.received(probe), ["3probe"]);
    assert_eq!(broker.answer(poll).as_deref(), Some("6"));
}

#[test]
fn a_poll_that_comes_between_probe_and_upgrade_is_released_at_once() {
    let (mut broker, polling, probe) = probing();
    broker.send(probe, "2probe");
    let poll = broker.poll(polling).unwrap();
    assert_eq!(broker.answer(poll).as_deref(), Some("6"));
}

#[test]
fn until_the_upgrade_messages_go_to_polling_and_afterwards_to_the_websocket_in_order() {
    let (mut broker, polling, probe) = probing();
    broker.send(probe, "2probe");
    broker.received(probe);
    broker.publish(&[], r#"["a"]"#);
    let poll = broker.poll(polling).unwrap();
    assert_eq!(broker.answer(poll).as_deref(), Some(r#"42["a"]"#));
    broker.publish(&[], r#"["b"]"#);
    broker.publish(&[], r#"["c"]"#);
    assert_eq!(broker.received(probe), [""; 0]);
    assert_eq!(broker.send(probe, "5"), Flow::Continue);
    broker.publish(&[], r#"["d"]"#);
    assert_eq!(broker.received(probe), [r#"42["b"]"#, r#"42["c"]"#, r#"42["d"]"#]);
    assert_eq!(broker.happenings(), [Happening::Upgraded]);
    assert_eq!(broker.poll(polling), Err(Refusal::Fault(HttpFault::BadRequest)));
    assert_eq!(broker.push(polling, "3"), Err(Refusal::Fault(HttpFault::BadRequest)));
    broker.send(probe, r#"421["join","r"]"#);
    assert_eq!(broker.received(probe), [r#"431[{"status":"ok"}]"#]);
}

#[test]
fn a_poll_that_still_waits_at_the_upgrade_hears_a_close_and_the_websocket_gets_the_messages() {
    let (mut broker, polling, probe) = probing();
    let poll = broker.poll(polling).unwrap();
    broker.send(probe, "5");
    assert_eq!(broker.answer(poll).as_deref(), Some("1"));
    broker.publish(&[], r#"["a"]"#);
    assert_eq!(broker.received(probe), [r#"42["a"]"#]);
}

#[test]
fn probe_and_upgrade_in_one_turn_lose_nothing() {
    let (mut broker, polling, probe) = probing();
    let poll = broker.poll(polling).unwrap();
    broker.shard.handle_text(probe.key, probe.link, "2probe", broker.now);
    broker.deliver(&[], r#"["a"]"#, adapter::Delivery::Reliable);
    broker.shard.handle_text(probe.key, probe.link, "5", broker.now);
    broker.turn();
    assert_eq!(broker.answer(poll).as_deref(), Some("1"));
    let received: Vec<String> = broker.received(probe).into_iter().filter(|packet| packet != "6").collect();
    assert_eq!(received, ["3probe", r#"42["a"]"#]);
}

#[test]
fn a_second_websocket_is_busy_and_the_session_lives() {
    let (mut broker, polling, probe) = probing();
    assert_eq!(broker.probe(polling).map(|_| ()), Err(Refusal::Busy));
    broker.send(probe, "2probe");
    broker.send(probe, "5");
    assert_eq!(broker.probe(polling).map(|_| ()), Err(Refusal::Busy));
    broker.received(probe);
    broker.publish(&[], r#"["a"]"#);
    assert_eq!(broker.received(probe), [r#"42["a"]"#]);
}

#[test]
fn a_wrong_first_packet_closes_the_websocket_and_polling_goes_on() {
    for packet in ["2", "2other", "3", r#"42["x"]"#, "9", "", "1"] {
        let (mut broker, polling, probe) = probing();
        assert_eq!(broker.send(probe, packet), Flow::Closed, "{packet}");
        assert!(broker.is_closed(probe), "{packet}");
        let happenings = broker.happenings();
        assert!(matches!(happenings[..], [Happening::EnginePeerFault(_)]), "{happenings:?}");
        broker.publish(&[], r#"["a"]"#);
        let poll = broker.poll(polling).unwrap();
        assert_eq!(broker.answer(poll).as_deref(), Some(r#"42["a"]"#));
        assert!(broker.probe(polling).is_ok(), "another may be tried");
    }
}

#[test]
fn an_upgrade_that_takes_too_long_is_closed_and_polling_goes_on() {
    let (mut broker, polling, probe) = probing();
    broker.send(probe, "2probe");
    broker.advance_ms(9990);
    assert!(!broker.is_closed(probe));
    broker.advance_ms(20);
    assert!(broker.is_closed(probe));
    assert_eq!(broker.send(probe, "5"), Flow::Closed);
    let poll = broker.poll(polling).unwrap();
    assert_eq!(broker.answer(poll), None, "polls wait again");
    broker.publish(&[], r#"["a"]"#);
    assert_eq!(broker.answer(poll).as_deref(), Some(r#"42["a"]"#));
}

#[test]
fn an_upgrade_without_a_probe_is_taken() {
    let (mut broker, _, probe) = probing();
    assert_eq!(broker.send(probe, "5"), Flow::Continue);
    assert_eq!(broker.happenings(), [Happening::Upgraded]);
}

#[test]
fn a_lost_probe_leaves_polling_alone() {
    let (mut broker, polling, probe) = probing();
    // In one turn: the answer to the probe must not be written to a link that is gone.
    broker.shard.handle_text(probe.key, probe.link, "2probe", broker.now);
    broker.shard.handle_link_closed(probe.key, probe.link, CloseReason::TransportClose);
    broker.turn();
    assert_eq!(broker.wire.link(probe.link).writes, 0);
    let poll = broker.poll(polling).unwrap();
    assert_eq!(broker.happenings(), []);
    // The first poll after the probe's answer is still released by its noop; the next one waits.
    let poll = match broker.answer(poll).as_deref() {
        Some("6") => broker.poll(polling).unwrap(),
        None => poll,
        other => panic!("{other:?}"),
    };
    broker.publish(&[], r#"["a"]"#);
    assert_eq!(broker.answer(poll).as_deref(), Some(r#"42["a"]"#));
}

#[test]
fn a_session_that_ends_takes_its_probe_along() {
    let (mut broker, polling, probe) = probing();
    broker.push(polling, "1").unwrap();
    assert!(broker.is_closed(probe));
    broker.assert_empty();
    assert_eq!(broker.send(probe, "2probe"), Flow::Closed);
}

#[test]
fn after_an_upgrade_the_end_of_the_websocket_is_the_end_of_the_session() {
    let (mut broker, _, probe) = probing();
    broker.send(probe, "5");
    broker.shard.handle_link_closed(probe.key, probe.link, CloseReason::TransportClose);
    broker.turn();
    broker.assert_empty();
}

#[test]
fn without_upgrades_allowed_a_websocket_is_refused() {
    let mut config = crate::harness::config();
    config.engine.allow_upgrades = false;
    let mut broker = Broker::new(config);
    let polling = broker.open_polling(V4);
    assert_eq!(broker.probe(polling).map(|_| ()), Err(Refusal::Busy));
}

#[test]
fn messages_on_an_unconfirmed_probe_never_reach_the_session() {
    let (mut broker, _, probe) = probing();
    broker.send(probe, r#"42["join","r"]"#);
    assert_eq!(broker.happenings(), [Happening::EnginePeerFault(PeerFault::UnexpectedOnProbe)]);
    assert_eq!(broker.publish(&["r"], r#"["x"]"#).matched, 0);
}
