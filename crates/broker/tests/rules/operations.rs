//! What back ends and other nodes do with sockets.

use std::net::{IpAddr, Ipv4Addr};

use adapter::{Action, Extent, Operation, Outcome, RoomKinds, Targets};
use broker::{HandshakeRecord, LimitsConfig, Opening, ShardConfig};
use socketio::{NamespaceName, RoomName, SocketId};

use crate::harness::{Broker, Socket, V3, V4, config, sid_in};

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
fn rooms_of_sockets_are_listed_when_asked_for() {
    let mut broker = Broker::dev();
    broker.connect_in("a");
    let (_, id) = broker.connect();
    let (guest, _) = broker.connect();
    broker.send(guest, &format!(r#"42["join","{id}"]"#));
    let outcome = operate(&mut broker, &[], &[], Action::ListRooms(RoomKinds::All));
    assert_eq!((outcome.matched, outcome.rooms.len()), (3, 4));
    assert_eq!(outcome.rooms[&RoomName::new(&id)], 2, "its owner and a guest");
    assert_eq!(outcome.rooms[&RoomName::new("a")], 1);
}

#[test]
fn sockets_are_identified_within_the_targets() {
    let mut broker = Broker::dev();
    broker.connect_in("r");
    let (_, id) = broker.connect();
    let outcome = operate(&mut broker, &[], &["r"], Action::Identify);
    assert_eq!((outcome.matched, outcome.ids), (1, vec![SocketId::new(id)]));
    assert_eq!(operate(&mut broker, &[], &[], Action::Identify).ids.len(), 2);
}

#[test]
fn details_tell_rooms_handshake_and_what_each_socket_authenticated_with() {
    let headers = [("Origin", "https://a.example".as_bytes())].into_iter();
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let request = HandshakeRecord::new("/socket.io/?EIO=4&a=b", headers, address, true, 1_795_226_126_768);
    let mut broker = Broker::dev();
    let socket = broker.open(Opening { handshake: Some(request), ..V4 });
    broker.send(socket, r#"40{"token": "t"}"#);
    broker.send(socket, "40/chat,");
    broker.send(socket, r#"42["join","r"]"#);
    let id = sid_in(&broker.received(socket)[1]);
    let sockets = operate(&mut broker, &["r"], &[], Action::Fetch).sockets;
    let [details] = &sockets[..] else { panic!("{sockets:?}") };
    assert_eq!(details.id.as_str(), id);
    assert_eq!(details.rooms, names(&[&id, "r"]));
    assert_eq!(details.data, "{}");
    let handshake = &details.handshake;
    assert_eq!(handshake.headers, r#"{"origin":"https://a.example"}"#);
    assert_eq!(handshake.query, r#"{"EIO":"4","a":"b"}"#);
    assert_eq!(handshake.auth, r#"{"token": "t"}"#);
    assert_eq!((handshake.address.as_str(), handshake.xdomain, handshake.secure), ("192.0.2.1", true, true));

    let chat = Operation {
        namespace: NamespaceName::new("/chat"),
        targets: Targets::default(),
        action: Action::Fetch,
    };
    let sockets = broker.shard.operate(&chat, broker.now).sockets;
    assert_eq!(sockets[0].handshake.auth, "{}", "auth belongs to the socket, the rest to the connection");
    assert_eq!(sockets[0].handshake.url, "/socket.io/?EIO=4&a=b");
}

#[test]
fn on_revision_3_the_query_of_the_namespace_is_what_it_authenticated_with() {
    let mut broker = Broker::dev();
    let socket = broker.open(V3);
    broker.send(socket, "40/chat?token=x&a=1");
    for (namespace, auth) in [("/", "{}"), ("/chat", r#"{"token":"x","a":"1"}"#)] {
        let operation = Operation {
            namespace: NamespaceName::new(namespace),
            targets: Targets::default(),
            action: Action::Fetch,
        };
        assert_eq!(broker.shard.operate(&operation, broker.now).sockets[0].handshake.auth, auth);
    }
}

#[test]
fn what_is_kept_of_a_client_is_limited() {
    let limits = LimitsConfig { auth_bytes: 9, handshake_bytes: 25, ..LimitsConfig::default() };
    let mut broker = Broker::new(ShardConfig { limits, ..config() });
    let headers = [("A", b"1".as_slice()), ("B", b"22")].into_iter();
    let request = HandshakeRecord::new("/x", headers, IpAddr::V4(Ipv4Addr::LOCALHOST), false, 0);
    for (auth, kept) in [(r#"{"a":"x"}"#, r#"{"a":"x"}"#), (r#"{"a":"xy"}"#, "{}")] {
        let socket = broker.open(Opening { handshake: Some(request.clone()), ..V4 });
        broker.send(socket, &format!("40{auth}"));
        let id = sid_in(&broker.received(socket)[1]);
        let details = operate(&mut broker, &[&id], &[], Action::Fetch).sockets.remove(0);
        assert_eq!(details.handshake.auth, kept);
        assert_eq!(details.handshake.headers, r#"{"a":"1"}"#);
    }
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
