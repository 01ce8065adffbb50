//! What becomes of client events.

use broker::{Dialect, EventAction, EventRule, Framing, NamespaceConfig};
use bytes::Bytes;

use crate::harness::{Broker, V4, bare};

const OK: &str = r#"437[{"status":"ok"}]"#;

fn rule(action: EventAction) -> EventRule {
    EventRule { event: "x".into(), action, include_sender: false, acknowledge: true }
}

/// Sends the event `x` from a sender in `r` and `s`; says what comes back to the sender, and to others: in
/// `r`, in `s`, and in no room.
fn relayed(rule: EventRule, packet: &str) -> (Vec<String>, [usize; 3]) {
    let namespace = NamespaceConfig { name: "/".into(), events: vec![rule], ..NamespaceConfig::dev() };
    let mut broker = Broker::with_namespaces(vec![namespace]);
    let sender = broker.connect_in("r");
    broker.send(sender, r#"42["join","s"]"#);
    let others = [broker.connect_in("r"), broker.connect_in("s"), broker.connect().0];
    broker.send(sender, packet);
    (broker.received(sender), others.map(|other| broker.received(other).len()))
}

#[test]
fn each_action_reaches_its_recipients() {
    use EventAction::*;
    let with_sender = |action| EventRule { include_sender: true, ..rule(action) };
    let event = r#"42["x","r",1]"#;
    for (rule, sender, others) in [
        (rule(RelayToRoom), &[][..], [1, 0, 0]),
        (with_sender(RelayToRoom), &[event], [1, 0, 0]),
        (rule(RelayToRooms), &[], [1, 1, 0]),
        (with_sender(RelayToRooms), &[event], [1, 1, 0]),
        (rule(RelayToAll), &[], [1, 1, 1]),
        (with_sender(RelayToAll), &[event], [1, 1, 1]),
        (rule(Refuse), &[], [0, 0, 0]),
        (rule(Acknowledge), &[], [0, 0, 0]),
    ] {
        let (received, reached) = relayed(rule.clone(), event);
        assert_eq!(
            (&received[..], reached),
            (&sender.iter().map(ToString::to_string).collect::<Vec<_>>()[..], others),
            "{rule:?}"
        );
    }
}

#[test]
fn events_are_acknowledged_with_their_outcome() {
    use EventAction::*;
    let error = |message: &str| format!(r#"437[{{"status":"error","message":"{message}"}}]"#);
    for (action, packet, answer) in [
        (RelayToRoom, r#"427["x","r"]"#, OK.to_owned()),
        (RelayToRoom, r#"427["x","elsewhere"]"#, error("not in that room")),
        (RelayToRoom, r#"427["x",{"room":"r"}]"#, error("the first argument must be a room")),
        (RelayToRooms, r#"427["x"]"#, OK.to_owned()),
        (RelayToAll, r#"427["x"]"#, OK.to_owned()),
        (Acknowledge, r#"427["x"]"#, OK.to_owned()),
        (Refuse, r#"427["x"]"#, error("event not allowed")),
        (RelayToAll, r#"427["y"]"#, error("event not allowed")),
    ] {
        let (received, others) = relayed(rule(action), packet);
        assert_eq!(received, [&*answer], "{action:?} {packet}");
        let reached = others.iter().sum::<usize>() > 0;
        let relays = answer == OK && action != Acknowledge;
        assert_eq!(reached, relays, "{action:?} {packet}");
    }
}

#[test]
fn a_rule_may_leave_the_acknowledgement_out() {
    use EventAction::*;
    for action in [RelayToRooms, RelayToAll, Acknowledge, Refuse] {
        let silent = EventRule { acknowledge: false, ..rule(action) };
        assert_eq!(relayed(silent, r#"427["x"]"#).0, [""; 0], "{action:?}");
    }
}

#[test]
fn a_sender_without_rooms_reaches_nobody() {
    let mut broker = Broker::dev();
    let (sender, other) = (broker.connect().0, broker.connect().0);
    broker.send(sender, r#"427["x"]"#);
    assert_eq!((broker.received(sender), broker.received(other)), (vec![OK.to_owned()], vec![]));
    assert!(broker.published().is_empty());
}

#[test]
fn without_rules_every_event_is_refused() {
    let mut broker = Broker::with_namespaces(vec![bare("/")]);
    let (socket, _) = broker.connect();
    broker.send(socket, r#"427["x"]"#);
    let refused = r#"437[{"status":"error","message":"event not allowed"}]"#;
    assert_eq!(broker.received(socket), [refused]);
}

#[test]
fn the_json_of_an_event_is_relayed_byte_for_byte() {
    let mut broker = Broker::dev();
    let (sender, other) = (broker.connect_in("r"), broker.connect_in("r"));
    broker.send(sender, r#"42[ "x" ,1.0,{"b":1,"a":"é","b":2}]"#);
    assert_eq!(broker.received(other), [r#"42[ "x" ,1.0,{"b":1,"a":"é","b":2}]"#]);
}

#[test]
fn a_relayed_event_is_published_with_its_targets_and_without_the_sender() {
    let mut broker = Broker::dev();
    let (sender, id) = broker.connect();
    broker.send(sender, r#"42["join","r"]"#);
    broker.send(sender, r#"42["x",1]"#);
    let published = broker.published();
    let [publication] = &published[..] else { panic!("{published:?}") };
    let broadcast = &publication.broadcast;
    let names = |rooms: &[socketio::RoomName]| rooms.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&broadcast.targets.rooms), ["r"]);
    assert_eq!(names(&broadcast.targets.except), [id]);
    assert_eq!(broadcast.event.json, r#"["x",1]"#);
}

#[test]
fn binary_reaches_websocket_and_polling_clients_in_their_own_form() {
    let mut broker = Broker::dev();
    let (sender, other) = (broker.connect_in("r"), broker.connect_in("r"));
    let dialect = Dialect::Json(Framing { base64_only: true, ..Framing::V4 });
    let text_only = broker.open(broker::Opening { dialect, ..V4 });
    let polling = broker.connect_polling();
    broker.send(text_only, "40");
    broker.send(text_only, r#"42["join","r"]"#);
    broker.received(text_only);
    broker.push(polling, r#"42["join","r"]"#).unwrap();
    let poll = broker.poll(polling).unwrap();

    let head = r#"452-["x",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
    broker.send(sender, head);
    broker.send_binary(sender, &[1, 2, 3]);
    assert_eq!(broker.received(other), [""; 0]);
    broker.send_binary(sender, &[]);
    assert_eq!(broker.received(other), [head, "<010203>", "<>"]);
    assert_eq!(broker.received(text_only), [head, "bAQID", "b"]);
    assert_eq!(broker.answer(poll), Some(format!("{head}\x1ebAQID\x1eb")));
    assert_eq!(
        broker.published()[0].broadcast.event.attachments,
        [Bytes::from_static(&[1, 2, 3]), Bytes::new()]
    );
}

#[test]
fn binary_pushed_over_polling_is_relayed() {
    let mut broker = Broker::dev();
    let other = broker.connect_in("r");
    let polling = broker.connect_polling();
    let head = r#"451-["x",{"_placeholder":true,"num":0}]"#;
    broker.push(polling, &format!("42[\"join\",\"r\"]\x1e{head}\x1ebAQID")).unwrap();
    assert_eq!(broker.received(other), [head, "<010203>"]);
}

#[test]
fn a_foreign_broadcast_reaches_the_namespace_it_names_and_no_other() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.send(socket, "40/a,");
    broker.received(socket);
    assert_eq!(broker.publish(&[], r#"["x"]"#).written, 1);
    assert_eq!(broker.received(socket), [r#"42["x"]"#]);
}
