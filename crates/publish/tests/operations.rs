//! The calls that act on sockets, against a dispatch that keeps what it is asked.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use adapter::{Action, Extent, Operation, Targets};
use publish::PublishConfig;
use roomcast_proto::v1;
use socketio::{NamespaceName, RoomName};
use support::{Recorder, Running, within};
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

/// The ids of each page, and where the next one begins.
async fn pages(request: v1::FetchSocketsRequest) -> Vec<(Vec<String>, String)> {
    let recorder = Recorder::new();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let mut responses = server.client.fetch_sockets(request).await.unwrap().into_inner();
    let mut pages = Vec::new();
    while let Some(page) = within(responses.message()).await.unwrap() {
        let ids = page.sockets.into_iter().map(|socket| socket.id).collect();
        pages.push((ids, page.next_page_token));
    }
    pages
}

#[tokio::test]
async fn sockets_come_in_pages_ordered_by_id_and_can_be_gone_on_with() {
    let all = v1::FetchSocketsRequest { targets: targets(), page_size: 2, ..Default::default() };
    let page = |ids: &[&str], next: &str| (ids.iter().map(ToString::to_string).collect(), next.to_owned());
    assert_eq!(pages(all.clone()).await, [page(&["s1", "s2"], "s2"), page(&["s3"], "")]);
    let first = v1::FetchSocketsRequest { sockets_max: 1, ..all.clone() };
    assert_eq!(pages(first).await, [page(&["s1"], "s1")]);
    let rest = v1::FetchSocketsRequest { page_token: "s1".into(), ..all.clone() };
    assert_eq!(pages(rest).await, [page(&["s2", "s3"], "")]);
    let behind = v1::FetchSocketsRequest { page_token: "s3".into(), ..all };
    assert_eq!(pages(behind).await, [page(&[], "")]);
}

#[tokio::test]
async fn details_of_a_page_are_asked_for_by_id_and_told_with_the_coverage() {
    let recorder = Recorder::new();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let request = v1::FetchSocketsRequest { targets: targets(), ..Default::default() };
    let mut responses = server.client.fetch_sockets(request).await.unwrap().into_inner();
    let page = within(responses.message()).await.unwrap().unwrap();
    assert!(page.coverage.unwrap().partial);
    let handshake = page.sockets[0].handshake.as_ref().unwrap();
    let headers: Vec<_> = handshake.headers.iter().map(|header| (&*header.name, &*header.value)).collect();
    assert_eq!(headers, [("host", "h"), ("set-cookie", "a"), ("set-cookie", "b")]);
    assert_eq!((handshake.issued_ms, &*handshake.auth), (5, "{}"));
    let ids = Targets { rooms: ["s1", "s2", "s3"].map(RoomName::new).to_vec(), except: Vec::new() };
    let fetch = Operation { targets: ids, ..operation(Action::Fetch) };
    assert_eq!(*recorder.operated.lock().unwrap(), [operation(Action::Identify), fetch]);
}

#[tokio::test]
async fn events_for_servers_are_passed_on_and_answers_only_awaited_when_asked_for() {
    let recorder = Recorder::new();
    let mut server = Running::start(recorder.clone(), PublishConfig::default()).await;
    let request =
        v1::ServerSideEmitRequest { event: "e".into(), arguments: "[1, 2]".into(), ..Default::default() };
    let told = server.client.server_side_emit(request.clone()).await.unwrap().into_inner();
    assert_eq!(told, v1::ServerSideEmitResponse::default());
    let asked = v1::ServerSideEmitRequest { answers: true, ..request.clone() };
    let answered = server.client.server_side_emit(asked).await.unwrap().into_inner();
    assert_eq!(answered.answers, [v1::ServerAnswer { node: "n".into(), value: "[1]".into() }]);
    assert!(answered.coverage.unwrap().partial);
    assert_eq!(recorder.events(), [r#"["e",1, 2]"#, r#"["e",1, 2]"#]);
    for (event, arguments, text) in [
        ("", "[]", "event: "),
        ("connection", "[]", "event: "),
        ("e", "{}", "arguments: "),
        ("e", &*format!("[\"{}\"]", "x".repeat(1_000_000)), "arguments: has event"),
    ] {
        let request =
            v1::ServerSideEmitRequest { event: event.into(), arguments: arguments.into(), ..request.clone() };
        let status = server.client.server_side_emit(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(text), "{:?} is not {text}", status.message());
    }
}
