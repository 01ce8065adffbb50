//! Broadcasts that ask for acknowledgements: who is asked, whose answers count, and when a call ends.

use std::time::Duration;

use adapter::{Broadcast, CallId, Delivery};
use broker::{LimitsConfig, Output, ShardConfig, TooManyCalls};
use bytes::Bytes;
use engineio::CloseReason;

use crate::harness::{Broker, Polling, V3, V4, config, publication};

const CALL: CallId = CallId(7);

fn question(rooms: &[&str], delivery: Delivery) -> Broadcast {
    publication(rooms, r#"["q",1]"#, delivery).broadcast
}

/// Asks the sockets of `rooms`, for ten seconds.
fn call(broker: &mut Broker, rooms: &[&str], call: CallId) -> Result<u32, TooManyCalls> {
    let deadline = broker.now + Duration::from_secs(10);
    let asked = broker.shard.call(&question(rooms, Delivery::Reliable), call, deadline);
    broker.turn();
    asked
}

/// What has become of calls since the last look, as text: `7 answer id json`, `7 lost id`, `7 end`.
fn heard(broker: &mut Broker) -> Vec<String> {
    let text = |output| match output {
        Output::CallAnswered { call, socket, answer } => {
            let json = String::from_utf8_lossy(&answer.json).into_owned();
            let parts: usize = answer.attachments.iter().map(Bytes::len).sum();
            Some(format!("{} answer {socket} {json} {parts}", call.0))
        }
        Output::CallLost { call, socket } => Some(format!("{} lost {socket}", call.0)),
        Output::CallEnded(call) => Some(format!("{} end", call.0)),
        _ => None,
    };
    broker.outputs().into_iter().filter_map(text).collect()
}

#[test]
fn everyone_asked_gets_one_number_and_the_last_answer_ends_the_call() {
    let mut broker = Broker::dev();
    let (first, id1) = broker.connect();
    let (second, id2) = broker.connect();
    assert_eq!(call(&mut broker, &[], CALL), Ok(2));
    for socket in [first, second] {
        assert_eq!(broker.received(socket), [r#"427["q",1]"#]);
    }
    broker.send(second, r#"437["yes",2]"#);
    assert_eq!(heard(&mut broker), [format!(r#"7 answer {id2} ["yes",2] 0"#)]);
    broker.send(first, "437[]");
    assert_eq!(heard(&mut broker), [format!("7 answer {id1} [] 0"), "7 end".into()]);
}

#[test]
fn only_the_first_answer_of_who_was_asked_counts() {
    let mut broker = Broker::dev();
    let asked = broker.connect_in("r");
    broker.connect_in("r");
    let (stranger, _) = broker.connect();
    assert_eq!(call(&mut broker, &["r"], CALL), Ok(2));
    broker.send(stranger, "437[]");
    broker.send(asked, "438[]");
    broker.send(asked, "43/chat,7[]");
    assert_eq!(heard(&mut broker), [""; 0], "not asked, another number, another namespace");
    broker.send(asked, "437[1]");
    assert_eq!(heard(&mut broker).len(), 1);
    broker.send(asked, "437[2]");
    assert_eq!(heard(&mut broker), [""; 0]);
    assert!(!broker.is_closed(stranger) && !broker.is_closed(asked));
}

#[test]
fn a_socket_of_the_same_client_in_another_namespace_cannot_answer_for_it() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.send(socket, "40/chat,");
    assert_eq!(call(&mut broker, &[], CALL), Ok(1));
    broker.send(socket, "43/chat,7[]");
    assert_eq!(heard(&mut broker), [""; 0]);
    broker.send(socket, "437[]");
    assert_eq!(heard(&mut broker).len(), 2);
}

#[test]
fn a_socket_that_leaves_is_lost_and_the_call_ends_without_it() {
    let mut broker = Broker::dev();
    let (first, id1) = broker.connect();
    let (second, id2) = broker.connect();
    assert_eq!(call(&mut broker, &[], CALL), Ok(2));
    broker.send(first, "41");
    assert_eq!(heard(&mut broker), [format!("7 lost {id1}")]);
    broker.send(first, "40");
    broker.send(first, "437[]");
    assert_eq!(heard(&mut broker), [""; 0], "the socket that came in its place was not asked");
    broker.shard.handle_link_closed(second.key, second.link, CloseReason::TransportClose);
    broker.turn();
    assert_eq!(heard(&mut broker), [format!("7 lost {id2}"), "7 end".into()]);
}

#[test]
fn the_deadline_ends_a_call_and_late_answers_are_ignored() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    assert_eq!(call(&mut broker, &[], CALL), Ok(1));
    broker.advance_ms(5000);
    assert_eq!(call(&mut broker, &[], CallId(8)), Ok(1));
    broker.advance_ms(4900);
    assert_eq!(heard(&mut broker), [""; 0]);
    broker.advance_ms(200);
    assert_eq!(heard(&mut broker), ["7 end"]);
    broker.send(socket, "437[]");
    assert_eq!(heard(&mut broker), [""; 0]);
    broker.advance_ms(5000);
    assert_eq!(heard(&mut broker), ["8 end"]);
}

#[test]
fn a_deadline_beyond_the_wheel_is_kept() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    let deadline = broker.now + Duration::from_secs(60);
    assert_eq!(broker.shard.call(&question(&[], Delivery::Reliable), CALL, deadline), Ok(1));
    for _ in 0..5 {
        broker.advance_ms(11_000);
        broker.send(socket, "3");
    }
    assert_eq!(heard(&mut broker), [""; 0]);
    broker.advance_ms(5_100);
    assert_eq!(heard(&mut broker), ["7 end"]);
}

#[test]
fn a_forgotten_call_is_not_heard_of_again() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    assert_eq!(call(&mut broker, &[], CALL), Ok(1));
    broker.shard.end_call(CALL);
    broker.send(socket, "437[]");
    broker.advance_ms(11_000);
    assert_eq!(heard(&mut broker), [""; 0]);
}

#[test]
fn who_asks_nobody_waits_for_nothing() {
    let mut broker = Broker::dev();
    assert_eq!(call(&mut broker, &[], CALL), Ok(0));
    broker.connect();
    assert_eq!(call(&mut broker, &["empty"], CALL), Ok(0));
    broker.advance_ms(11_000);
    assert_eq!(heard(&mut broker), [""; 0]);
}

#[test]
fn calls_are_limited_in_number_and_one_more_asks_nobody() {
    let limits = LimitsConfig { pending_calls_max: 1, ..LimitsConfig::default() };
    let mut broker = Broker::new(ShardConfig { limits, ..config() });
    let (socket, _) = broker.connect();
    assert_eq!(call(&mut broker, &[], CALL), Ok(1));
    assert_eq!(call(&mut broker, &[], CallId(8)), Err(TooManyCalls));
    assert_eq!(broker.received(socket), [r#"427["q",1]"#]);
    broker.send(socket, "437[]");
    assert_eq!(call(&mut broker, &[], CallId(9)), Ok(1));
}

#[test]
fn a_volatile_call_reaches_clients_that_are_not_ready() {
    let mut broker = Broker::dev();
    let polling: Polling = broker.connect_polling();
    let deadline = broker.now + Duration::from_secs(10);
    assert_eq!(broker.shard.call(&question(&[], Delivery::Volatile), CALL, deadline), Ok(1));
    broker.turn();
    let poll = broker.poll(polling).unwrap();
    assert_eq!(broker.answer(poll).unwrap(), r#"427["q",1]"#);
    assert_eq!(broker.push(polling, "437[true]"), Ok(()));
    assert_eq!(heard(&mut broker).len(), 2);
}

#[test]
fn answers_carry_their_binary_parts() {
    for opening in [V4, V3] {
        let mut broker = Broker::dev();
        let is_v4 = opening == V4;
        let socket = broker.open(opening);
        if is_v4 {
            broker.send(socket, "40");
        }
        broker.received(socket);
        assert_eq!(call(&mut broker, &[], CALL), Ok(1));
        assert_eq!(broker.received(socket), [r#"427["q",1]"#]);
        broker.send(socket, r#"461-7[{"_placeholder":true,"num":0}]"#);
        let part: &[u8] = if is_v4 { b"abc" } else { b"\x04abc" };
        broker.send_binary(socket, part);
        let heard = heard(&mut broker);
        assert!(heard[0].ends_with(r#"[{"_placeholder":true,"num":0}] 3"#), "{heard:?}");
        assert_eq!(heard[1], "7 end");
    }
}
