//! Joins that have to wait for subscriptions.

use adapter::{Action, Operation, Subscription, Subscriptions, Targets, Ticket};
use broker::{Flow, NamespaceConfig, Output, ShardConfig};
use engineio::{CloseReason, PACKETS_PER_BODY_MAX};
use socketio::{NamespaceName, RoomName};
use std::collections::HashSet;

use crate::harness::{Broker, Socket, V3, V4, config, polling_closed, sid_in};

fn confirmed() -> ShardConfig {
    ShardConfig { subscriptions: Subscriptions::Confirmed, ..config() }
}

/// What of its outputs concerns subscriptions, and the tickets that wait.
fn asked(broker: &mut Broker) -> (Vec<String>, Vec<Ticket>) {
    let (mut asked, mut tickets) = (Vec::new(), Vec::new());
    for output in broker.outputs() {
        match output {
            Output::Subscribe(subscription, ticket) => {
                asked.push(format!("+{}", name(&subscription)));
                tickets.extend(ticket);
            }
            Output::Unsubscribe(subscription) => asked.push(format!("-{}", name(&subscription))),
            Output::Resume(_) => asked.push("resume".to_owned()),
            _ => {}
        }
    }
    (asked, tickets)
}

fn name(subscription: &Subscription) -> String {
    let room = subscription.room.as_ref().map(|room| format!(" {room}")).unwrap_or_default();
    format!("{}{room}", subscription.namespace)
}

fn confirm(broker: &mut Broker, tickets: &[Ticket]) {
    for ticket in tickets {
        broker.shard.handle_confirmed(*ticket, broker.now);
    }
    broker.turn();
}

/// Confirms all that is asked for until nothing is; returns what was asked.
fn confirm_all(broker: &mut Broker) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let (asked, tickets) = asked(broker);
        all.extend(asked);
        if tickets.is_empty() {
            return all;
        }
        confirm(broker, &tickets);
    }
}

fn connect(broker: &mut Broker) -> (Socket, String) {
    let socket = broker.open(V4);
    broker.send(socket, "40");
    confirm_all(broker);
    let id = sid_in(broker.received(socket).last().unwrap());
    (socket, id)
}

#[test]
fn connect_is_answered_once_all_its_subscriptions_are_in_force() {
    let join = vec!["lobby".into()];
    let namespaces = vec![NamespaceConfig { join, ..NamespaceConfig::dev() }];
    let mut broker = Broker::new(ShardConfig { namespaces, ..confirmed() });
    let socket = broker.open(V4);
    broker.received(socket);
    assert_eq!(broker.send(socket, "40"), Flow::Hold);
    let (names, tickets) = asked(&mut broker);
    assert_eq!((names.len(), tickets.len()), (3, 3));
    assert_eq!((&*names[0], &*names[2]), ("+/", "+/ lobby"));
    confirm(&mut broker, &tickets[..2]);
    assert_eq!(broker.received(socket), [""; 0]);
    confirm(&mut broker, &tickets[2..]);
    let answer = broker.received(socket).remove(0);
    assert_eq!(names[1], format!("+/ {}", sid_in(&answer)));
    assert_eq!(asked(&mut broker).0, ["resume"]);
}

#[test]
fn a_join_is_acknowledged_once_it_is_in_force_and_a_further_member_waits_too() {
    let mut broker = Broker::new(confirmed());
    let ((first, _), (second, _)) = (connect(&mut broker), connect(&mut broker));
    for socket in [first, second] {
        assert_eq!(broker.send(socket, r#"421["join","r"]"#), Flow::Hold);
    }
    let (names, tickets) = asked(&mut broker);
    assert_eq!(names, ["+/ r", "+/ r"]);
    confirm(&mut broker, &tickets[..1]);
    assert_eq!(broker.received(first), [r#"431[{"status":"ok"}]"#]);
    assert_eq!(broker.received(second), [""; 0]);
    confirm(&mut broker, &tickets[1..]);
    assert_eq!(broker.received(second), [r#"431[{"status":"ok"}]"#]);
    // Who is in already has nothing to wait for.
    assert_eq!(broker.send(first, r#"422["join","r"]"#), Flow::Continue);
    assert_eq!(broker.received(first), [r#"432[{"status":"ok"}]"#]);
}

#[test]
fn packets_behind_a_waiting_one_are_handled_in_order_afterwards() {
    let mut broker = Broker::new(confirmed());
    let socket = broker.open(V4);
    broker.received(socket);
    for packet in ["40", r#"421["join","r"]"#, r#"422["x"]"#, "40/a,", r#"42/a,3["x"]"#] {
        assert_eq!(broker.send(socket, packet), Flow::Hold, "{packet}");
    }
    assert_eq!(broker.received(socket), [""; 0]);
    confirm_all(&mut broker);
    let received = broker.received(socket);
    assert_eq!(received[1..3], [r#"431[{"status":"ok"}]"#, r#"432[{"status":"ok"}]"#]);
    assert!(received[0].starts_with("40{") && received[3].starts_with("40/a,{"), "{received:?}");
    assert_eq!(received[4..], [r#"43/a,3[{"status":"ok"}]"#]);
}

#[test]
fn reading_goes_on_only_once_nothing_waits_any_more() {
    let mut broker = Broker::new(confirmed());
    let socket = broker.open(V4);
    broker.send(socket, "40");
    broker.send(socket, r#"42["join","r"]"#);
    let asked = confirm_all(&mut broker);
    assert_eq!(asked.iter().filter(|it| *it == "resume").count(), 1);
    assert_eq!(asked[3..], ["resume"]);
}

#[test]
fn the_packets_of_one_push_are_handled_in_order_too() {
    let mut broker = Broker::new(confirmed());
    let polling = broker.open_polling(V4);
    let body = "40\x1e421[\"join\",\"r\"]\x1e41\x1e422[\"late\"]\x1e40/a,";
    assert_eq!(broker.push(polling, body), Ok(()));
    let poll = broker.poll(polling).unwrap();
    assert_eq!(broker.answer(poll), None);
    let (_, tickets) = asked(&mut broker);
    confirm(&mut broker, &tickets);
    assert!(broker.answer(poll).unwrap().starts_with("40{"));
    confirm_all(&mut broker);
    let poll = broker.poll(polling).unwrap();
    let answer = broker.answer(poll).unwrap();
    let packets: Vec<&str> = answer.split('\x1e').collect();
    assert_eq!(packets[0], r#"431[{"status":"ok"}]"#);
    assert!(packets.len() == 2 && packets[1].starts_with("40/a,{"), "{answer}");
}

#[test]
fn heartbeats_pass_while_packets_wait() {
    let mut broker = Broker::new(confirmed());
    let socket = broker.open(V3);
    broker.received(socket);
    broker.send(socket, "2");
    assert_eq!(broker.received(socket), ["3"]);
}

#[test]
fn more_than_a_message_of_waiting_packets_is_an_offence() {
    let mut config = confirmed();
    config.engine.max_payload_bytes = 100;
    let mut broker = Broker::new(config);
    let socket = broker.open(V4);
    broker.send(socket, "40");
    broker.received(socket);
    // The digit of the Engine.IO packet is not kept.
    let packet = format!("4{}", "2".repeat(50));
    assert_eq!(broker.send(socket, &packet), Flow::Hold);
    assert_eq!(broker.send(socket, &packet), Flow::Hold);
    assert_eq!(broker.send(socket, "42"), Flow::Closed);
    assert_eq!(broker.received(socket), ["CLOSE"]);
    broker.assert_empty();
}

#[test]
fn a_crowd_of_empty_waiting_packets_is_an_offence() {
    let mut broker = Broker::new(confirmed());
    let polling = broker.open_polling(V4);
    broker.push(polling, "40").unwrap();
    let body = ["4"; PACKETS_PER_BODY_MAX].join("\x1e");
    broker.push(polling, &body).unwrap();
    assert!(!broker.happenings().contains(&polling_closed(CloseReason::ForcedClose)));
    broker.push(polling, "4").unwrap();
    assert!(broker.happenings().contains(&polling_closed(CloseReason::ForcedClose)));
}

#[test]
fn a_probe_is_read_on_while_packets_of_polling_wait() {
    let mut broker = Broker::new(confirmed());
    let polling = broker.open_polling(V4);
    broker.push(polling, "40").unwrap();
    let probe = broker.probe(polling).unwrap();
    // Nothing would resume a probe.
    assert_eq!(broker.send(probe, "2probe"), Flow::Continue);
    assert_eq!(broker.received(probe), ["3probe"]);
    // From here on it is the transport, and waits.
    assert_eq!(broker.send(probe, "5"), Flow::Hold);
    assert_eq!(confirm_all(&mut broker).last().map(String::as_str), Some("resume"));
    assert!(broker.received(probe)[0].starts_with("40{"));
}

#[test]
fn a_message_on_a_probe_is_no_less_an_offence_while_packets_wait() {
    let mut broker = Broker::new(confirmed());
    let polling = broker.open_polling(V4);
    broker.push(polling, "40").unwrap();
    let probe = broker.probe(polling).unwrap();
    assert_eq!(broker.send(probe, r#"421["join","r"]"#), Flow::Closed);
    assert!(broker.is_closed(probe));
}

#[test]
fn a_client_that_goes_while_it_waits_leaves_no_subscription_behind() {
    let mut broker = Broker::new(confirmed());
    let socket = broker.open(V4);
    broker.send(socket, "40");
    broker.send(socket, r#"42["join","r"]"#);
    let (_, tickets) = asked(&mut broker);
    broker.shard.handle_link_closed(socket.key, socket.link, CloseReason::TransportClose);
    broker.turn();
    let (names, _) = asked(&mut broker);
    assert_eq!(names.len(), 2, "{names:?}");
    // Tickets of one that has gone do nothing, not even to its successor in the same place.
    let next = broker.open(V4);
    broker.received(next);
    broker.send(next, "40");
    asked(&mut broker);
    confirm(&mut broker, &tickets);
    assert_eq!(broker.received(next), [""; 0]);
}

#[test]
fn every_subscription_is_given_back() {
    let mut broker = Broker::new(confirmed());
    let mut wanted = HashSet::new();
    let mut note = |asked: Vec<String>| {
        for change in asked {
            match change.split_at(1) {
                ("+", name) => drop(wanted.insert(name.to_owned())),
                ("-", name) => assert!(wanted.remove(name), "given back twice: {name}"),
                _ => {}
            }
        }
        wanted.len()
    };
    let sockets: Vec<Socket> = (0..3).map(|_| broker.open(V4)).collect();
    for socket in &sockets {
        for packet in ["40", "40/a,", r#"42["join","r"]"#, r#"42/a,["join","r"]"#] {
            broker.send(*socket, packet);
            note(confirm_all(&mut broker));
        }
    }
    // Two namespaces, each with one room, and six own rooms.
    assert_eq!(note(vec![]), 10);
    for socket in &sockets {
        broker.send(*socket, r#"42["leave","r"]"#);
    }
    assert_eq!(note(confirm_all(&mut broker)), 9);
    broker.send(sockets[0], "41/a,");
    assert_eq!(note(confirm_all(&mut broker)), 8);
    for socket in &sockets {
        broker.shard.handle_link_closed(socket.key, socket.link, CloseReason::TransportClose);
    }
    broker.turn();
    assert_eq!(note(confirm_all(&mut broker)), 0);
}

#[test]
fn a_room_named_like_a_socket_shares_its_subscription_with_the_socket() {
    let mut broker = Broker::new(confirmed());
    let ((owner, id), (guest, _)) = (connect(&mut broker), connect(&mut broker));
    broker.send(guest, &format!(r#"42["join","{id}"]"#));
    assert_eq!(confirm_all(&mut broker), [format!("+/ {id}"), "resume".into()]);
    // The guest goes: the owner still needs it.
    broker.send(guest, &format!(r#"42["leave","{id}"]"#));
    assert_eq!(confirm_all(&mut broker), [""; 0]);
    broker.send(guest, &format!(r#"42["join","{id}"]"#));
    confirm_all(&mut broker);
    // The owner goes: the guest still needs it.
    broker.send(owner, "41");
    assert_eq!(confirm_all(&mut broker), [""; 0]);
    broker.send(guest, &format!(r#"42["leave","{id}"]"#));
    assert_eq!(confirm_all(&mut broker), [format!("-/ {id}")]);
}

#[test]
fn a_socket_that_left_its_own_room_gives_its_subscription_back_once() {
    let mut broker = Broker::new(confirmed());
    let (socket, id) = connect(&mut broker);
    broker.send(socket, &format!(r#"42["leave","{id}"]"#));
    assert_eq!(confirm_all(&mut broker), [format!("-/ {id}")]);
    broker.send(socket, "41");
    assert_eq!(confirm_all(&mut broker), ["-/"]);
}

#[test]
fn where_nothing_is_confirmed_nothing_is_asked_for() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.send(socket, r#"42["join","r"]"#);
    broker.send(socket, "41");
    assert_eq!(asked(&mut broker), (vec![], vec![]));
}

#[test]
fn connections_that_wait_for_a_join_by_a_back_end_are_named_until_it_is_in_force() {
    let mut broker = Broker::new(confirmed());
    let ((first, _), _) = (connect(&mut broker), connect(&mut broker));
    let join = |broker: &mut Broker| {
        let action = Action::Join(vec![RoomName::new("r")]);
        let (namespace, targets) = (NamespaceName::main(), Targets::default());
        let outcome = broker.shard.operate(&Operation { namespace, targets, action }, broker.now);
        assert_eq!(outcome.matched, 2);
        let awaiting = broker.shard.take_awaiting();
        broker.turn();
        awaiting
    };
    let awaiting = join(&mut broker);
    assert_eq!(awaiting.len(), 2);
    let (_, tickets) = asked(&mut broker);
    confirm(&mut broker, &tickets[..1]);
    assert_eq!(awaiting.iter().filter(|key| broker.shard.is_awaiting(**key)).count(), 1);
    confirm(&mut broker, &tickets[1..]);
    assert!(!awaiting.iter().any(|key| broker.shard.is_awaiting(*key)));
    // Who is in already has nothing to wait for.
    assert_eq!(join(&mut broker), []);
    assert_eq!(broker.send(first, r#"422["join","r"]"#), Flow::Continue);
}
