//! HTTP long-polling: polls, pushes, and what ends a session.

use broker::{Happening, Opening, Refusal};
use engineio::{BodyForm, CloseReason, HttpFault, Owner, PeerFault, Revision, SidKey};
use rand::{SeedableRng, rngs::StdRng};

use crate::harness::{Broker, Polling, V3, V4, polling_closed};

const UNKNOWN: Refusal = Refusal::Fault(HttpFault::SessionUnknown);
const BAD: Refusal = Refusal::Fault(HttpFault::BadRequest);

fn ended(broker: &mut Broker, polling: Polling) {
    assert_eq!(broker.poll(polling), Err(UNKNOWN));
    assert_eq!(broker.push(polling, "3"), Err(UNKNOWN));
    broker.assert_empty();
}

#[test]
fn a_poll_waits_until_there_is_something() {
    let mut broker = Broker::dev();
    let polling = broker.connect_polling();
    let poll = broker.poll(polling).unwrap();
    assert_eq!(broker.answer(poll), None);
    broker.publish(&[], r#"["x"]"#);
    assert_eq!(broker.answer(poll).as_deref(), Some(r#"42["x"]"#));
    // The next one waits again.
    let poll = broker.poll(polling).unwrap();
    assert_eq!(broker.answer(poll), None);
}

#[test]
fn all_that_is_queued_goes_in_one_payload_in_order() {
    let mut broker = Broker::dev();
    let polling = broker.connect_polling();
    for json in ["[\"a\"]", "[\"b\"]", "[\"c\"]"] {
        broker.publish(&[], json);
    }
    let poll = broker.poll(polling).unwrap();
    assert_eq!(broker.answer(poll).as_deref(), Some("42[\"a\"]\x1e42[\"b\"]\x1e42[\"c\"]"));
}

#[test]
fn the_packets_of_a_push_are_handled_in_order() {
    let mut broker = Broker::dev();
    let polling = broker.open_polling(V4);
    broker.push(polling, "40/a,\x1e421[\"x\"]").unwrap();
    // `/` was not joined, so the second packet is an offence: the connect came first.
    let poll = broker.poll(polling).unwrap();
    let answer = broker.answer(poll).unwrap();
    assert!(answer.starts_with("40/a,{") && answer.ends_with("\x1e6\x1e1"), "{answer}");
}

#[test]
fn a_second_poll_beside_a_waiting_one_ends_the_session() {
    let mut broker = Broker::dev();
    let polling = broker.connect_polling();
    let poll = broker.poll(polling).unwrap();
    assert_eq!(broker.poll(polling), Err(Refusal::Offence));
    assert_eq!(broker.answer(poll).as_deref(), Some("1"));
    let happenings = broker.happenings();
    assert!(happenings.contains(&Happening::EnginePeerFault(PeerFault::Overlap("poll"))));
    assert!(happenings.contains(&polling_closed(CloseReason::TransportError)));
    ended(&mut broker, polling);
}

#[test]
fn a_second_push_beside_a_running_one_ends_the_session() {
    let mut broker = Broker::dev();
    let polling = broker.connect_polling();
    let key = broker.shard.push_started(&polling.sid, Revision::V4, broker.now).unwrap();
    assert_eq!(broker.push(polling, "3"), Err(Refusal::Offence));
    assert_eq!(broker.shard.push(key, BodyForm::Text, b"3", broker.now), Err(UNKNOWN));
    ended(&mut broker, polling);
}

#[test]
fn a_body_that_arrives_after_its_session_was_closed_joins_nothing() {
    let mut broker = Broker::dev();
    let polling = broker.open_polling(V4);
    let poll = broker.poll(polling).unwrap();
    let key = broker.shard.push_started(&polling.sid, Revision::V4, broker.now).unwrap();
    // The second poll closes the session; all in one turn, so the first one has not been answered yet.
    let second = broker.new_poll();
    let overlap = broker.shard.poll(&polling.sid, Revision::V4, second, broker.now);
    assert_eq!(overlap, Err(Refusal::Offence));
    assert_eq!(broker.shard.push(key, BodyForm::Text, b"40", broker.now), Err(UNKNOWN));
    broker.turn();
    assert_eq!(broker.answer(poll).as_deref(), Some("1"));
    broker.assert_empty();
    broker.publish(&[], r#"["x"]"#);
}

#[test]
fn a_push_with_a_packet_that_is_none_is_answered_and_ends_the_session() {
    for body in ["9", "", "40\x1e", "40\x1e\x1e40/a,"] {
        let mut broker = Broker::dev();
        let polling = broker.open_polling(V4);
        assert_eq!(broker.push(polling, body), Ok(()), "{body:?}");
        let closed = polling_closed(CloseReason::ParseError);
        assert!(broker.happenings().contains(&closed), "{body:?}");
        ended(&mut broker, polling);
    }
}

#[test]
fn a_binary_body_is_refused_and_ends_the_session() {
    let mut broker = Broker::dev();
    let polling = broker.connect_polling();
    let key = broker.shard.push_started(&polling.sid, Revision::V4, broker.now).unwrap();
    let result = broker.shard.push(key, BodyForm::Binary, b"3", broker.now);
    assert_eq!(result, Err(Refusal::Offence));
    broker.turn();
    ended(&mut broker, polling);
}

#[test]
fn a_push_that_was_too_large_leaves_the_session_alive_and_a_cut_one_ends_it() {
    let mut broker = Broker::dev();
    let polling = broker.connect_polling();
    let key = broker.shard.push_started(&polling.sid, Revision::V4, broker.now).unwrap();
    broker.shard.push_failed(key, false, broker.now);
    assert_eq!(broker.push(polling, r#"42["join","r"]"#), Ok(()));
    let key = broker.shard.push_started(&polling.sid, Revision::V4, broker.now).unwrap();
    broker.shard.push_failed(key, true, broker.now);
    broker.turn();
    ended(&mut broker, polling);
}

#[test]
fn a_lost_poll_ends_the_session() {
    let mut broker = Broker::dev();
    let polling = broker.connect_polling();
    let poll = broker.new_poll();
    let key = broker.shard.poll(&polling.sid, Revision::V4, poll, broker.now).unwrap();
    broker.turn();
    broker.shard.handle_poll_lost(key, poll, broker.now);
    broker.turn();
    assert_eq!(broker.happenings(), [polling_closed(CloseReason::TransportError)]);
    ended(&mut broker, polling);
}

#[test]
fn a_poll_that_was_answered_cannot_be_lost() {
    let mut broker = Broker::dev();
    let polling = broker.connect_polling();
    let poll = broker.new_poll();
    let key = broker.shard.poll(&polling.sid, Revision::V4, poll, broker.now).unwrap();
    broker.publish(&[], r#"["x"]"#);
    broker.shard.handle_poll_lost(key, poll, broker.now);
    assert!(broker.poll(polling).is_ok());
}

#[test]
fn a_client_closes_with_a_packet_and_its_poll_hears_a_noop() {
    let mut broker = Broker::dev();
    let polling = broker.connect_polling();
    let poll = broker.poll(polling).unwrap();
    assert_eq!(broker.push(polling, "1\x1e42[\"late\"]"), Ok(()));
    assert_eq!(broker.answer(poll).as_deref(), Some("6"));
    assert_eq!(broker.happenings(), [polling_closed(CloseReason::TransportClose)]);
    ended(&mut broker, polling);
}

#[test]
fn a_close_by_the_server_waits_for_the_next_poll_behind_what_was_queued() {
    let mut broker = Broker::dev();
    let polling = broker.connect_polling();
    broker.publish(&[], r#"["x"]"#);
    broker.push(polling, "40").unwrap();
    assert_eq!(broker.shard.socket_count(), 0, "its sockets leave at once");
    assert_eq!(broker.push(polling, "3"), Err(UNKNOWN));
    broker.advance_ms(29_000);
    let poll = broker.poll(polling).unwrap();
    assert_eq!(broker.answer(poll).as_deref(), Some("42[\"x\"]\x1e6\x1e1"));
    ended(&mut broker, polling);
}

#[test]
fn a_close_that_nobody_fetches_ends_after_thirty_seconds() {
    let mut broker = Broker::dev();
    let polling = broker.connect_polling();
    broker.push(polling, "40").unwrap();
    broker.advance_ms(29_990);
    assert_eq!(broker.shard.connection_count(), 1);
    broker.advance_ms(20);
    ended(&mut broker, polling);
    let closed = broker.happenings().into_iter().filter(|it| matches!(it, Happening::SessionClosed(..)));
    assert_eq!(closed.count(), 1, "it is reported once");
}

#[test]
fn an_unknown_sid_and_one_of_another_revision_or_transport_are_refused() {
    let mut broker = Broker::dev();
    let open = broker.open_polling(V4);
    let sid = SidKey::new(&[7; 32]).mint(Owner { node: 1, shard: 2 }, &mut StdRng::seed_from_u64(9));
    let unknown = Polling { sid, wire: Revision::V4.into() };
    let foreign = Polling { wire: Revision::V3.into(), ..open };
    for (polling, refusal) in [(unknown, UNKNOWN), (foreign, BAD)] {
        assert_eq!(broker.poll(polling), Err(refusal));
        assert_eq!(broker.push(polling, "40"), Err(refusal));
        assert_eq!(broker.shard.check_upgrade(&polling.sid, polling.wire), Err(refusal));
        assert_eq!(broker.probe(polling).map(|_| ()), Err(refusal));
    }
    assert!(broker.poll(open).is_ok());
}

#[test]
fn many_sessions_are_found_by_their_sids_as_others_come_and_go() {
    let mut broker = Broker::dev();
    let mut sessions: Vec<Polling> = (0..200).map(|_| broker.open_polling(V4)).collect();
    for round in 0..200 {
        let gone = sessions.swap_remove((round * 7919) % sessions.len());
        broker.push(gone, "1").unwrap();
        assert_eq!(broker.push(gone, "3"), Err(UNKNOWN));
        sessions.push(broker.open_polling(V4));
    }
    for session in sessions {
        assert!(broker.push(session, "3").is_ok());
    }
}

#[test]
fn a_poll_on_a_websocket_session_is_a_bad_request() {
    let mut broker = Broker::dev();
    let socket = broker.open(Opening { ..V3 });
    let open = broker.received(socket).remove(0);
    let (sid, _) = SidKey::new(&[7; 32]).verify(&crate::harness::sid_in(&open)).unwrap();
    let polling = Polling { sid, wire: Revision::V3.into() };
    assert_eq!(broker.poll(polling), Err(BAD));
    assert_eq!(broker.probe(polling).map(|_| ()), Err(Refusal::Busy));
}
