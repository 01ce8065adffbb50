//! Each call, against the real gateway and clients of Socket.IO.

use std::time::Duration;

use crate::support::{Gateway, Packet, Socket, client, until};
use roomcast_client::{Binary, CallEnd, Error, Message, Quorum};

#[tokio::test]
async fn emit_reaches_the_rooms_but_those_excepted_with_its_arguments() {
    let gateway = Gateway::start(&[]);
    let client = client(&gateway).build().unwrap();
    let mut one = Socket::connect(gateway.client, "one").await;
    let mut other = Socket::connect(gateway.client, "other").await;

    let published = client.to(&one.id).with_reach().emit("news", &("hello", 1, [true])).await.unwrap();
    assert_eq!(published.reach.unwrap().sockets_written, 1);
    client.except(&one.id).emit_raw("raw", r#"[ 1.50, {"b":1,"a":2}]"#).await.unwrap();
    client.emit("all", &()).await.unwrap();
    client.of("/elsewhere").emit("nobody", &()).await.unwrap();
    client.publish(Message::new("last", &vec![1, 2]).unwrap().volatile()).await.unwrap();

    assert_eq!(one.event().await, r#"["news","hello",1,[true]]"#);
    assert_eq!(other.event().await, r#"["raw", 1.50, {"b":1,"a":2}]"#);
    for socket in [&mut one, &mut other] {
        assert_eq!(socket.event().await, r#"["all"]"#);
        assert_eq!(socket.event().await, r#"["last",[1,2]]"#);
    }
}

#[tokio::test]
async fn binary_arrives_as_attachments_in_its_places() {
    let gateway = Gateway::start(&[]);
    let client = client(&gateway).build().unwrap();
    let mut socket = Socket::connect(gateway.client, "one").await;
    let parts = (Binary::from(vec![1, 2]), "between", [Binary::from(vec![3])]);
    client.emit("picture", &parts).await.unwrap();
    let Some(Packet::Text(text)) = socket.next().await else { panic!("no text") };
    let expected = concat!(
        r#"452-["picture",{"_placeholder":true,"num":0},"between","#,
        r#"[{"_placeholder":true,"num":1}]]"#
    );
    assert_eq!(text, expected);
    assert_eq!(socket.next().await, Some(Packet::Binary(vec![1, 2])));
    assert_eq!(socket.next().await, Some(Packet::Binary(vec![3])));
}

#[tokio::test]
async fn a_batch_arrives_in_order_and_one_fault_refuses_it_all() {
    let gateway = Gateway::start(&[]);
    let client = client(&gateway).build().unwrap();
    let mut socket = Socket::connect(gateway.client, "one").await;
    let message = |n: u64| Message::new("n", &n).unwrap();
    let faulty = [message(0), message(0).to("")];
    match client.publish_batch(faulty).await {
        Err(Error::InvalidArgument { field, .. }) => {
            assert_eq!(field.as_deref(), Some("messages[1].rooms[0]"));
        }
        other => panic!("{other:?}"),
    }
    let published = client.publish_batch((1..=100).map(message)).await.unwrap();
    assert_eq!(published.len(), 100);
    assert_eq!(socket.numbers("n", 100).await, (1..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn call_collects_what_clients_answer_and_says_how_it_ended() {
    let gateway = Gateway::start(&[]);
    let client = client(&gateway).build().unwrap();
    let one = Socket::connect(gateway.client, "one").await;
    let other = Socket::connect(gateway.client, "other").await;

    let mut answers = client.all().call("who", &("are you?",)).await.unwrap();
    let mut found: Vec<_> = answers.all().await.unwrap();
    found.sort_by_key(|answer| answer.arguments.clone());
    let names: Vec<(String,)> = found.iter().map(|answer| answer.read().unwrap()).collect();
    assert_eq!(names, [("one".to_owned(),), ("other".to_owned(),)]);
    assert_eq!([&found[0].socket_id, &found[1].socket_id], [&one.id, &other.id]);
    assert!(matches!(found[0].read::<u32>(), Err(Error::Arguments(_))));
    let summary = answers.summary().unwrap();
    assert_eq!((summary.end(), summary.sockets_asked), (CallEnd::All, 2));

    let mut quorum = client.all().quorum(Quorum::Answers(1)).call("who", &()).await.unwrap();
    quorum.all().await.unwrap();
    assert_eq!(quorum.summary().unwrap().end(), CallEnd::Quorum);
}

#[tokio::test]
async fn sockets_join_leave_are_counted_listed_and_disconnected() {
    let gateway = Gateway::start(&[]);
    let client = client(&gateway).build().unwrap();
    let mut one = Socket::connect(gateway.client, "one").await;
    let other = Socket::connect(gateway.client, "other").await;

    let joined = client.to(&one.id).with_reach().join(["red", "blue"]).await.unwrap();
    assert_eq!(joined.sockets_matched, 1);
    client.to(&other.id).with_reach().join(["red"]).await.unwrap();
    assert_eq!(client.to("red").count().await.unwrap().sockets, 2);
    let mut rooms = client.rooms().page_size(1).list();
    let names: Vec<_> =
        rooms.all().await.unwrap().into_iter().map(|room| (room.name, room.sockets)).collect();
    assert_eq!(names, [("blue".to_owned(), Some(1)), ("red".to_owned(), Some(2))]);
    assert!(!rooms.coverage().unwrap().partial);
    assert_eq!(client.rooms().prefix("r").list().all().await.unwrap().len(), 1);

    let mut sockets = client.to("red").page_size(1).fetch_sockets();
    let found = sockets.all().await.unwrap();
    let mut ids = [one.id.clone(), other.id.clone()];
    ids.sort();
    assert_eq!(found.iter().map(|socket| &*socket.id).collect::<Vec<_>>(), ids);
    assert!(found.iter().all(|socket| socket.rooms.contains(&"red".to_owned())));
    assert!(!sockets.coverage().unwrap().partial);
    assert_eq!(client.all().sockets_max(1).fetch_sockets().all().await.unwrap().len(), 1);

    let left = client.to("red").with_reach().leave(["red"]).await.unwrap();
    assert_eq!(left.sockets_matched, 2);
    assert_eq!(client.to("red").count().await.unwrap().sockets, 0);
    client.to("blue").disconnect().await.unwrap();
    assert_eq!(one.next().await, Some(Packet::Text("41".into())));
    client.to(&other.id).close().await.unwrap();
    until(async || client.all().count().await.unwrap().sockets == 0).await;
}

#[tokio::test]
async fn servers_are_told_and_asked() {
    let gateway = Gateway::start(&[]);
    let client = client(&gateway).build().unwrap();
    client.server_side_emit("reload", &("prices",)).await.unwrap();
    // Nobody but this gateway, which answers no events.
    let targets = client.all().timeout(Duration::from_millis(100));
    let answers = targets.server_side_emit_with_ack("reload", &()).await.unwrap();
    assert!(answers.answers.is_empty(), "{answers:?}");
    let binary = client.server_side_emit("reload", &Binary::from(vec![1])).await;
    assert!(matches!(binary, Err(Error::InvalidArgument { .. })), "{binary:?}");
}
