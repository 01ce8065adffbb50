//! What back ends and other nodes do with sockets.

use adapter::{Action, Extent, Operation, Outcome, RoomKinds, Targets};
use socketio::{NamespaceName, RoomName};

use crate::harness::{Broker, Socket, V4, sid_in};

fn names(rooms: &[&str]) -> Vec<RoomName> {
    rooms.iter().map(RoomName::new).collect()
}

fn operate(broker: &mut Broker, rooms: &[&str], except: &[&str], action: Action) -> Outcome {
    let targets = Targets { rooms: names(rooms), except: names(except) };
    let operation = Operation { namespace: NamespaceName::main(), targets, action };
    let outcome = broker.shard.operate(&operation, broker.now);
    broker.turn();
    outcome
}

#[test]
fn sockets_that_targets_name_join_and_leave_rooms() {
    let mut broker = Broker::dev();
    let (a, b) = (broker.connect_in("r"), broker.connect_in("r"));
    let (_, c) = broker.connect();
    assert_eq!(operate(&mut broker, &["r", &c], &[], Action::Join(names(&["x", "y"]))).matched, 3);
    assert_eq!(broker.publish(&["x"], r#"["x"]"#).written, 3);
    assert_eq!(operate(&mut broker, &["x"], &["r"], Action::Leave(names(&["x"]))).matched, 1);
    assert_eq!(broker.publish(&["x"], r#"["x"]"#).written, 2);
    assert_eq!(broker.publish(&["y"], r#"["y"]"#).written, 3);
    for socket in [a, b] {
        assert_eq!(broker.received(socket), [r#"42["x"]"#, r#"42["x"]"#, r#"42["y"]"#]);
    }
}

#[test]
fn disconnected_sockets_are_told_and_keep_their_connection() {
    let mut broker = Broker::dev();
    let (socket, id) = broker.connect();
    broker.send(socket, "40/chat,");
    broker.received(socket);
    assert_eq!(operate(&mut broker, &[&id], &[], Action::Disconnect(Extent::Namespace)).matched, 1);
    assert_eq!(broker.received(socket), ["41"]);
    assert!(!broker.is_closed(socket));
    assert_eq!(operate(&mut broker, &[], &[], Action::Count).matched, 0);
    broker.send(socket, r#"42/chat,1["join","r"]"#);
    assert_eq!(broker.received(socket), [r#"43/chat,1[{"status":"ok"}]"#]);
}

#[test]
fn a_closed_connection_is_told_in_each_namespace_first() {
    let mut broker = Broker::dev();
    let sockets: Vec<Socket> = (0..2).map(|_| broker.connect_in("r")).collect();
    broker.send(sockets[0], "40/chat,");
    let id = sid_in(&broker.received(sockets[0]).pop().unwrap());
    assert_eq!(id.len(), 20);
    assert_eq!(operate(&mut broker, &["r"], &[], Action::Disconnect(Extent::Connection)).matched, 2);
    assert_eq!(broker.received(sockets[0]), ["41", "41/chat,", "CLOSE"]);
    assert_eq!(broker.received(sockets[1]), ["41", "CLOSE"]);
    assert!(sockets.iter().all(|socket| broker.is_closed(*socket)));
    assert_eq!((broker.shard.connection_count(), broker.shard.socket_count()), (0, 0));
}

#[test]
fn rooms_are_listed_with_their_members_and_without_private_ones() {
    let mut broker = Broker::dev();
    broker.connect_in("b");
    broker.connect_in("b");
    broker.connect_in("a");
    let outcome = operate(&mut broker, &[], &[], Action::ListRooms(RoomKinds::Named));
    assert_eq!(outcome.matched, 3);
    assert_eq!(
        outcome.rooms.into_iter().collect::<Vec<_>>(),
        [(RoomName::new("a"), 1), (RoomName::new("b"), 2)]
    );
}

#[test]
fn a_namespace_without_sockets_matches_nothing() {
    let mut broker = Broker::dev();
    broker.open(V4);
    for action in [Action::Count, Action::ListRooms(RoomKinds::Named), Action::Disconnect(Extent::Connection)]
    {
        assert_eq!(operate(&mut broker, &[], &[], action), Outcome::default());
    }
}
