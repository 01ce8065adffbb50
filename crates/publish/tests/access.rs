//! Who may call, what, how often: over gRPC and over HTTP with JSON, against a real server.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;
#[path = "support/http.rs"]
mod support_http;

use std::path::PathBuf;

use publish::{Access, AuthConfig, PublishConfig, hash_line, new_key};
use roomcast_proto::v1;
use serde_json::json;
use support::{Recorder, Running, becomes, numbered, within};
use support_http::{post, send};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

/// A server whose identities the test has written, and the file they are in.
struct Server {
    running: Running,
    recorder: Recorder,
    file: PathBuf,
    _directory: tempfile::TempDir,
}

fn key(number: u8) -> String {
    new_key([number; 32])
}

/// An entry called `name` with the key of this number.
fn entry(name: &str, number: u8, rights: &str) -> String {
    format!("[[keys]]\nname = \"{name}\"\n{}\n{rights}\n", hash_line(&key(number)).unwrap())
}

const ALL: &str = r#"namespaces = ["*"]
rooms = ["*"]
operations = ["publish", "call", "join", "leave", "disconnect", "fetch", "count", "list_rooms", "server_side_emit"]"#;

const ORDERS: &str = r#"namespaces = ["/"]
rooms = ["order:*"]
operations = ["publish", "join", "list_rooms", "disconnect"]"#;

impl Server {
    async fn start(recorder: Recorder, entries: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keys.toml");
        std::fs::write(&file, entries).unwrap();
        let auth = AuthConfig { keys_file: Some(file.clone()), jwt: None };
        assert_eq!(auth.faults(), []);
        let access = Access::read(&auth, None).unwrap();
        let running = Running::start_with(recorder.clone(), PublishConfig::default(), access).await;
        Self { running, recorder, file, _directory: directory }
    }

    async fn publish(&self, credential: &str, message: v1::Message) -> Result<(), Status> {
        let request = v1::PublishRequest { message: Some(message), ..v1::PublishRequest::default() };
        let mut client = self.running.client.clone();
        within(client.publish(with(credential, request))).await.map(drop)
    }
}

fn with<T>(credential: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !credential.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {credential}").parse().unwrap());
    }
    request
}

fn to(rooms: &[&str]) -> v1::Message {
    v1::Message { rooms: rooms.iter().map(ToString::to_string).collect(), ..numbered(1) }
}

#[tokio::test]
async fn without_good_credentials_nothing_is_published() {
    let password =
        "[[keys]]\nname = \"ops\"\n".to_owned() + &hash_line("correct horse").unwrap() + "\n" + ALL;
    let server = Server::start(Recorder::new(), &(entry("a", 1, ALL) + &password)).await;
    let body = r#"{"message":{"event":"e"}}"#;
    for credential in
        ["", "x", "rc_x", "a:x", "ops:", "ops:correct", "nobody:correct horse", "a.b.c", &key(2)]
    {
        let status = server.publish(credential, to(&[])).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{credential}");
        assert!(credential.is_empty() || !status.message().contains(credential), "{status:?}");
        let header = format!("bearer {credential}");
        let headers = if credential.is_empty() { vec![] } else { vec![("authorization", header.as_str())] };
        let answer = post(server.running.address, "/v1/publish", &headers, body).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{credential}");
        assert_eq!(answer.json()["code"], "UNAUTHENTICATED");
    }
    assert_eq!(server.recorder.events(), [""; 0]);
    for credential in [&key(1), "ops:correct horse", "ops:correct horse"] {
        server.publish(credential, to(&[])).await.unwrap();
        let header = format!("Bearer {credential}");
        let headers = [("authorization", header.as_str())];
        assert_eq!(post(server.running.address, "/v1/publish", &headers, body).await.status, 200);
    }
    assert_eq!(server.recorder.events().len(), 6);
    // Health, reflection and the document say nothing that the proto does not.
    assert_eq!(send(server.running.address, "GET", "/v1/openapi.json", &[], "").await.status, 200);
    let mut health = tonic_health::pb::health_client::HealthClient::new(server.running.channel.clone());
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_refusal_names_the_right_that_is_missing_and_nothing_is_done() {
    let server = Server::start(Recorder::new(), &entry("orders", 1, ORDERS)).await;
    let check = |status: Status, told: &str| {
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(status.message(), told);
    };
    let publish = async |message| server.publish(&key(1), message).await;
    publish(to(&["order:1", "order:2"])).await.unwrap();
    check(
        publish(to(&["order:1", "user:1"])).await.unwrap_err(),
        "identity orders may not publish here: no pattern of its rooms fits message.rooms[1]",
    );
    check(
        publish(to(&[])).await.unwrap_err(),
        "identity orders may not publish in a whole namespace, which an empty message.rooms means: its rooms do not hold *",
    );
    check(
        publish(v1::Message { namespace: "secret".into(), ..to(&["order:1"]) }).await.unwrap_err(),
        "identity orders may not publish here: no pattern of its namespaces fits message.namespace",
    );
    let mut client = server.running.client.clone();
    let batch =
        v1::PublishBatchRequest { messages: vec![to(&["order:1"]), to(&["x"])], ..Default::default() };
    check(
        client.publish_batch(with(&key(1), batch)).await.unwrap_err(),
        "identity orders may not publish here: no pattern of its rooms fits messages[1].rooms[0]",
    );
    let targets = || Some(v1::Targets { rooms: vec!["order:1".into()], ..v1::Targets::default() });
    let join = v1::JoinRoomsRequest { targets: targets(), rooms: vec!["user:1".into()], report: 0 };
    check(
        client.join_rooms(with(&key(1), join)).await.unwrap_err(),
        "identity orders may not join here: no pattern of its rooms fits rooms[0]",
    );
    let count = v1::CountSocketsRequest { targets: targets(), timeout_ms: 0 };
    check(
        client.count_sockets(with(&key(1), count)).await.unwrap_err(),
        "identity orders may not count: its operations do not list it",
    );
    let emit = v1::ServerSideEmitRequest { event: "e".into(), ..Default::default() };
    check(
        client.server_side_emit(with(&key(1), emit)).await.unwrap_err(),
        "identity orders may not server_side_emit: its operations do not list it",
    );
    let fetch = v1::FetchSocketsRequest { targets: targets(), ..Default::default() };
    check(
        client.fetch_sockets(with(&key(1), fetch)).await.unwrap_err(),
        "identity orders may not fetch: its operations do not list it",
    );
    let close = v1::DisconnectSocketsRequest { targets: targets(), close: true, report: 0 };
    check(
        client.disconnect_sockets(with(&key(1), close)).await.unwrap_err(),
        "identity orders may not disconnect here: no pattern of its namespaces fits close",
    );
    let list = |prefix: &str| v1::ListRoomsRequest { prefix: prefix.into(), ..Default::default() };
    check(
        client.list_rooms(with(&key(1), list("ord"))).await.unwrap_err(),
        "identity orders may not list_rooms here: no pattern of its rooms fits prefix",
    );
    client.list_rooms(with(&key(1), list("order:"))).await.unwrap();
    assert_eq!((server.recorder.events().len(), server.recorder.operated.lock().unwrap().len()), (1, 1));
    // Over HTTP it is the same guard.
    let header = format!("Bearer {}", key(1));
    let body = r#"{"message":{"event":"e","rooms":["user:1"]}}"#;
    let answer = post(server.running.address, "/v1/publish", &[("authorization", &header)], body).await;
    assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("PERMISSION_DENIED")));
}

#[tokio::test]
async fn messages_of_a_stream_are_checked_one_by_one() {
    let server = Server::start(Recorder::new(), &entry("orders", 1, ORDERS)).await;
    let rooms = ["order:1", "user:1", "order:2"];
    let request = |(sequence, room): (usize, &&str)| v1::PublishStreamRequest {
        sequence: sequence as u64,
        message: Some(to(&[room])),
        ..Default::default()
    };
    let requests: Vec<_> = rooms.iter().enumerate().map(request).collect();
    let mut client = server.running.client.clone();
    let stream = client.publish_stream(with(&key(1), tokio_stream::iter(requests))).await.unwrap();
    let mut answers = stream.into_inner();
    let mut codes = Vec::new();
    while let Some(answer) = within(answers.message()).await.unwrap() {
        codes.push(match answer.outcome.unwrap() {
            v1::publish_stream_response::Outcome::Published(_) => 0,
            v1::publish_stream_response::Outcome::Error(error) => error.code,
        });
    }
    assert_eq!(codes, [0, 7, 0]);
    assert_eq!(server.recorder.events().len(), 2);
}

#[tokio::test]
async fn a_rate_is_held_at_its_burst_and_one_more_is_told_when_to_come_again() {
    let rate = format!("{ALL}\nrate = {{ messages_per_second = 1, burst = 3 }}");
    let server = Server::start(Recorder::new(), &(entry("a", 1, &rate) + &entry("b", 2, ALL))).await;
    let mut client = server.running.client.clone();
    let batch = |count: u64| v1::PublishBatchRequest {
        messages: (0..count).map(numbered).collect(),
        ..v1::PublishBatchRequest::default()
    };
    let over = client.publish_batch(with(&key(1), batch(4))).await.unwrap_err();
    assert_eq!(over.code(), Code::ResourceExhausted);
    assert_eq!(over.message(), "identity a may publish 3 messages at once and this call has 4");
    client.publish_batch(with(&key(1), batch(3))).await.unwrap();
    let status = loop {
        // A slow machine may have let a second pass.
        if let Err(status) = server.publish(&key(1), to(&[])).await {
            break status;
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted);
    let hint = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(hint.as_millis() <= 1000, "{hint:?}");
    let header = format!("Bearer {}", key(1));
    let answer = loop {
        let body = r#"{"message":{"event":"e"}}"#;
        let answer = post(server.running.address, "/v1/publish", &[("authorization", &header)], body).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((answer.status, answer.header("retry-after")), (429, "1"), "{}", answer.body);
    assert!(
        answer.json()["retryAfterMs"].as_u64().is_some_and(|ms| (1..=1000).contains(&ms)),
        "{}",
        answer.body
    );
    // The rate of one is not that of another.
    server.publish(&key(2), to(&[])).await.unwrap();
}

#[tokio::test]
async fn calls_in_flight_are_held_at_their_limit_and_one_more_is_refused() {
    let rights = format!("{ALL}\ncalls_in_flight_max = 2");
    let server = Server::start(Recorder::blocked(), &entry("a", 1, &rights)).await;
    let publish = || {
        let mut client = server.running.client.clone();
        let request = v1::PublishRequest { message: Some(to(&[])), ..v1::PublishRequest::default() };
        tokio::spawn(async move { client.publish(with(&key(1), request)).await.map(drop) })
    };
    let open = [publish(), publish()];
    becomes(&server.recorder.waiting, 2).await;
    let status = within(publish()).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "identity a has 2 calls open, as many as it may");
    server.recorder.allow(3);
    for call in open {
        within(call).await.unwrap().unwrap();
    }
    within(publish()).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_entry_that_is_taken_out_ends_its_streams_and_a_faulty_file_changes_nothing() {
    let both = entry("a", 1, ALL) + &entry("b", 2, ALL);
    let server = Server::start(Recorder::new(), &both).await;
    let (requests, sent) = tokio::sync::mpsc::channel(8);
    let mut client = server.running.client.clone();
    let stream = tokio_stream::wrappers::ReceiverStream::new(sent);
    let mut answers = client.publish_stream(with(&key(1), stream)).await.unwrap().into_inner();
    let request = || v1::PublishStreamRequest { message: Some(to(&[])), ..Default::default() };
    requests.send(request()).await.unwrap();
    within(answers.message()).await.unwrap().unwrap();

    std::fs::write(&server.file, "[[keys]]\nname = \"a\"\n").unwrap();
    // Looked at every other second: whatever is in force, the keys in use stay.
    server.publish(&key(1), to(&[])).await.unwrap();
    std::fs::write(&server.file, entry("b", 2, ALL)).unwrap();
    let refused = async {
        while server.publish(&key(1), to(&[])).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within(refused).await;
    server.publish(&key(2), to(&[])).await.unwrap();
    requests.send(request()).await.unwrap();
    let status = within(answers.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
}
