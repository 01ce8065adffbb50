//! The calls that act on sockets, against a dispatch that keeps what it is asked.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use adapter::{Action, Extent, Operation, Targets};
use publish::PublishConfig;
use roomcast_proto::v1;
use socketio::{NamespaceName, RoomName};
use support::{Recorder, Running};
use tonic::Code;

fn targets() -> Option<v1::Targets> {
    Some(v1::Targets { namespace: "chat".into(), rooms: vec!["r".into()], except: vec!["x".into()] })
}

fn operation(action: Action) -> Operation {
    let rooms = |name| vec![RoomName::new(name)];
    Operation {
        namespace: NamespaceName::new("/chat"),
        targets: Targets { rooms: rooms("r"), except: rooms("x") },
        action,
    }
}

#[tokio::test]
async fn each_call_asks_for_its_operation_and_tells_what_came_of_it() {
    let recorder = Recorder::new();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let (rooms, report) = (vec!["new".to_owned()], v1::Report::Reach.into());
    let joined =
        server.client.join_rooms(v1::JoinRoomsRequest { targets: targets(), rooms: rooms.clone(), report });
    let joined = joined.await.unwrap().into_inner();
    assert_eq!(joined.sockets_matched, 3);
    assert!(joined.coverage.unwrap().partial);
    let accepted = v1::LeaveRoomsRequest { targets: targets(), rooms, report: 0 };
    let left = server.client.leave_rooms(accepted).await.unwrap().into_inner();
    assert_eq!((left.sockets_matched, left.coverage), (0, None));
    let gone = v1::DisconnectSocketsRequest { targets: targets(), close: true, report };
    assert_eq!(server.client.disconnect_sockets(gone).await.unwrap().into_inner().sockets_matched, 3);
    let count = v1::CountSocketsRequest { targets: targets(), timeout_ms: 0 };
    assert_eq!(server.client.count_sockets(count).await.unwrap().into_inner().sockets, 3);
    let new = || vec![RoomName::new("new")];
    let expected =
        [Action::Join(new()), Action::Leave(new()), Action::Disconnect(Extent::Connection), Action::Count]
            .map(operation);
    assert_eq!(*recorder.operated.lock().unwrap(), expected);
}

#[tokio::test]
async fn rooms_are_listed_page_by_page() {
    let mut server = Running::start(Recorder::new(), PublishConfig::default()).await;
    let mut token = String::new();
    for (name, next) in [("a", "a"), ("b", "")] {
        let request =
            v1::ListRoomsRequest { page_size: 1, page_token: token, ..v1::ListRoomsRequest::default() };
        let page = server.client.list_rooms(request).await.unwrap().into_inner();
        assert_eq!(page.rooms.len(), 1);
        assert_eq!((page.rooms[0].name.as_str(), page.next_page_token.as_str()), (name, next));
        token = page.next_page_token;
    }
}

#[tokio::test]
async fn a_rule_broken_is_named_and_nothing_is_asked() {
    let recorder = Recorder::new();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let join =
        |targets, rooms: usize| v1::JoinRoomsRequest { targets, rooms: vec!["r".into(); rooms], report: 0 };
    for (request, text) in [
        (join(None, 1), "targets: is required"),
        (join(targets(), 0), "rooms: is required"),
        (join(targets(), 1001), "rooms: has 1001 entries, at most 1000"),
        (
            join(Some(v1::Targets { rooms: vec![String::new()], ..v1::Targets::default() }), 1),
            "targets.rooms[0]: ",
        ),
    ] {
        let status = server.client.join_rooms(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(text), "{:?} is not {text}", status.message());
    }
    let count = v1::CountSocketsRequest { targets: targets(), timeout_ms: 60_001 };
    let status = server.client.count_sockets(count).await.unwrap_err();
    assert_eq!(status.message(), "timeout_ms: is 60001 ms, at most 60000 are allowed");
    assert_eq!(*recorder.operated.lock().unwrap(), []);
}
