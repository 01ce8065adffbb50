//! Which rooms clients may join and leave.

use broker::{LimitsConfig, NamespaceConfig, RoomRule, ShardConfig};

use crate::harness::{Broker, bare, config};

const OK: &str = r#"431[{"status":"ok"}]"#;

fn error(message: &str) -> String {
    format!(r#"431[{{"status":"error","message":"{message}"}}]"#)
}

fn rule(event: &str, room: &str) -> Option<RoomRule> {
    Some(RoomRule { event: event.into(), rooms: vec![room.into()] })
}

#[test]
fn every_socket_joins_the_configured_rooms_on_connecting() {
    let join = vec!["lobby".into(), "news".into()];
    let mut broker = Broker::with_namespaces(vec![NamespaceConfig { join, ..bare("/") }]);
    let (socket, _) = broker.connect();
    assert_eq!(broker.publish(&["lobby", "news"], r#"["x"]"#).written, 1);
    assert_eq!(broker.received(socket), [r#"42["x"]"#]);
}

#[test]
fn a_socket_is_in_the_room_of_its_own_id() {
    let mut broker = Broker::dev();
    let (socket, id) = broker.connect();
    let (other, _) = broker.connect();
    assert_eq!(broker.publish(&[&id], r#"["x"]"#).written, 1);
    assert_eq!(broker.received(socket), [r#"42["x"]"#]);
    assert_eq!(broker.received(other), [""; 0]);
}

#[test]
fn joins_and_leaves_follow_their_rules() {
    let namespace = NamespaceConfig {
        may_join: rule("enter", "chat:*"),
        may_leave: rule("exit", "chat:*"),
        join: vec!["fixed".into()],
        ..bare("/")
    };
    let limits = LimitsConfig { rooms_per_socket: 3, room_name_bytes: 8, ..LimitsConfig::default() };
    let mut broker = Broker::new(ShardConfig { namespaces: vec![namespace], limits, ..config() });
    let (socket, _) = broker.connect();
    for (packet, answer) in [
        (r#"421["enter","chat:a"]"#, OK.to_owned()),
        (r#"421["enter","chat:a"]"#, OK.to_owned()),
        (r#"421["enter","secret"]"#, error("room not allowed")),
        (r#"421["enter","chat:"]"#, OK.to_owned()),
        (r#"421["enter","chat:b"]"#, error("too many rooms")),
        (r#"421["enter","chat:a"]"#, OK.to_owned()),
        (r#"421["enter","chat:abcd"]"#, error("room not allowed")),
        (r#"421["enter",""]"#, error("room not allowed")),
        (r#"421["enter",7]"#, error("the first argument must be a room")),
        (r#"421["enter"]"#, error("the first argument must be a room")),
        (r#"421["exit","chat:"]"#, OK.to_owned()),
        (r#"421["exit","chat:"]"#, OK.to_owned()),
        (r#"421["exit","fixed"]"#, error("room not allowed")),
        (r#"421["join","chat:a"]"#, error("event not allowed")),
        (r#"421["enter","chat:\u0062c"]"#, OK.to_owned()),
    ] {
        broker.send(socket, packet);
        assert_eq!(broker.received(socket), [answer], "{packet}");
    }
    for (room, members) in
        [("chat:a", 1), ("chat:", 0), ("chat:b", 0), ("chat:bc", 1), ("fixed", 1), ("secret", 0)]
    {
        assert_eq!(broker.publish(&[room], r#"["x"]"#).matched, members, "{room}");
    }
    assert_eq!(broker.shard.take_counters().events_refused, 8);
}

#[test]
fn without_an_ack_id_a_join_is_done_and_not_answered() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.send(socket, r#"42["join","r"]"#);
    assert_eq!(broker.received(socket), [""; 0]);
    assert_eq!(broker.publish(&["r"], r#"["x"]"#).written, 1);
}

#[test]
fn rooms_are_of_their_namespace() {
    let mut broker = Broker::dev();
    let (socket, _) = broker.connect();
    broker.send(socket, "40/a,");
    broker.send(socket, r#"42/a,["join","r"]"#);
    broker.received(socket);
    assert_eq!(broker.publish(&["r"], r#"["x"]"#).matched, 0);
    assert_eq!(broker.publish(&[], r#"["x"]"#).matched, 1);
}

#[test]
fn a_room_ends_with_its_last_member() {
    let mut broker = Broker::dev();
    let (first, second) = (broker.connect_in("r"), broker.connect_in("r"));
    assert_eq!(broker.shard.room_count(), 1);
    broker.send(first, r#"42["leave","r"]"#);
    assert_eq!(broker.shard.room_count(), 1);
    broker.send(second, "41");
    assert_eq!(broker.shard.room_count(), 0);
}
