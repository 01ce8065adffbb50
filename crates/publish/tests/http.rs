//! The rpcs as HTTP with JSON, against a dispatch that keeps what it is asked.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;
#[path = "support/http.rs"]
mod support_http;

use std::num::NonZeroU32;

use publish::{CallEnd, CallEvent, Coverage, PublishConfig};
use serde_json::json;
use support::{Recorder, Running};
use support_http::{post, send};

async fn running(recorder: &Recorder) -> Running {
    Running::start(recorder.clone(), PublishConfig::default()).await
}

#[tokio::test]
async fn a_publish_is_the_same_as_over_grpc() {
    let recorder = Recorder::new();
    let server = running(&recorder).await;
    let body = r#"{"message":{"namespace":"/a","rooms":["r"],"event":"n","args":[1.0, {"b":2}]}}"#;
    let answer = post(server.address, "/v1/publish", &[], body).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{}", answer.body);
    assert_eq!(answer.json()["messageId"].as_str().unwrap().len(), publish::MESSAGE_ID_CHARS);
    assert_eq!(recorder.events(), [r#"["n",1.0, {"b":2}]"#]);
    let (broadcast, _) = recorder.taken().remove(0);
    assert_eq!((broadcast.namespace.as_str(), broadcast.targets.rooms[0].as_str()), ("/a", "r"));
}

#[tokio::test]
async fn every_path_of_the_openapi_document_answers_and_no_other() {
    let recorder = Recorder::new();
    let server = running(&recorder).await;
    let document = send(server.address, "GET", "/v1/openapi.json", &[], "").await;
    assert_eq!((document.status, document.header("content-type")), (200, "application/json"));
    let document = document.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 10);
    for (path, operations) in paths {
        assert!(!operations["post"]["description"].as_str().unwrap().is_empty(), "{path}");
        let answer = post(server.address, path, &[], r#"{"zzz":1}"#).await;
        assert_eq!((answer.status, &answer.json()["field"]), (400, &json!("zzz")), "{path}: {}", answer.body);
        let answer = send(server.address, "GET", path, &[], "").await;
        assert_eq!(answer.status, 405, "{path}");
    }
    let answer = post(server.address, "/v1/publis", &[], "{}").await;
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("NOT_FOUND")));
}

#[tokio::test]
async fn what_the_openapi_document_requires_is_what_a_request_needs() {
    let nobody = Coverage { nodes_asked: 0, nodes_answered: 0, nodes_missing: Vec::new() };
    let server = running(&Recorder::calling(vec![CallEvent::End(CallEnd::All, nobody)])).await;
    let document = send(server.address, "GET", "/v1/openapi.json", &[], "").await.json();
    let mut refused = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let body = &operations["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let schema = document.pointer(body.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
        let required = schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let required: serde_json::Map<_, _> = required.map(|name| (name.to_owned(), example(name))).collect();
        let whole = serde_json::Value::Object(required.clone()).to_string();
        let answer = post(server.address, path, &[], whole.clone()).await;
        assert_ne!(answer.status, 400, "{path} with {whole}: {}", answer.body);
        for name in required.keys() {
            let mut rest = required.clone();
            rest.remove(name);
            let answer = post(server.address, path, &[], json!(rest).to_string()).await;
            assert_eq!(
                (answer.status, &answer.json()["field"]),
                (400, &json!(name)),
                "{path}: {}",
                answer.body
            );
            refused += 1;
        }
    }
    assert!(refused >= 10, "{refused}");
}

/// A value for a required field, by its name.
fn example(name: &str) -> serde_json::Value {
    match name {
        "message" => json!({ "event": "e" }),
        "messages" => json!([{ "event": "e" }]),
        "targets" => json!({}),
        "rooms" => json!(["r"]),
        _ => json!("e"),
    }
}

#[tokio::test]
async fn every_reference_of_the_openapi_document_exists() {
    fn references(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(entries) => {
                found.extend(entries.get("$ref").map(|to| to.as_str().unwrap().to_owned()));
                entries.values().for_each(|value| references(value, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let server = running(&Recorder::new()).await;
    let document = send(server.address, "GET", "/v1/openapi.json", &[], "").await.json();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for to in found {
        let target = document.pointer(to.strip_prefix('#').unwrap());
        assert!(target.is_some_and(serde_json::Value::is_object), "{to}");
    }
    let message = &document["components"]["schemas"]["Message"];
    assert_eq!(message["properties"]["args"]["type"], "array");
    assert_eq!(message["properties"]["attachments"]["items"]["contentEncoding"], "base64");
}

#[tokio::test]
async fn operations_go_through_and_are_told_with_their_numbers() {
    let recorder = Recorder::new();
    let server = running(&recorder).await;
    let body = r#"{"targets":{"rooms":["r"]},"rooms":["new"],"report":"REPORT_REACH"}"#;
    let joined = post(server.address, "/v1/rooms/join", &[], body).await.json();
    assert_eq!((&joined["socketsMatched"], &joined["coverage"]["partial"]), (&json!("3"), &json!(true)));
    let count = post(server.address, "/v1/sockets/count", &[], r#"{"targets":{}}"#).await.json();
    assert_eq!(count["sockets"], "3");
    let rooms = post(server.address, "/v1/rooms/list", &[], r#"{"page_size":1}"#).await.json();
    assert_eq!((&rooms["rooms"][0]["name"], &rooms["nextPageToken"]), (&json!("a"), &json!("a")));
}

#[tokio::test]
async fn errors_have_the_code_the_field_and_the_status_of_their_kind() {
    let server = running(&Recorder::new()).await;
    let check = async |path: &str, body: &str, status: u16, code: &str, field: serde_json::Value| {
        let answer = post(server.address, path, &[], body.to_owned()).await;
        let told = answer.json();
        assert_eq!(
            (answer.status, &told["code"], &told["field"]),
            (status, &json!(code), &field),
            "{body}: {told}"
        );
        assert!(!answer.body.contains("secret"), "{told}");
    };
    let invalid = "INVALID_ARGUMENT";
    check("/v1/publish", "{}", 400, invalid, json!("message")).await;
    check("/v1/publish", r#"{"message":{"event":""}}"#, 400, invalid, json!("message.event")).await;
    check("/v1/publish", r#"{"message":{"event":"e","args":[secret]}}"#, 400, invalid, json!(null)).await;
    check(
        "/v1/publish",
        r#"{"message":{"event":"e","arguments":"[secret]"}}"#,
        400,
        invalid,
        json!("message.arguments"),
    )
    .await;
    check(
        "/v1/publish/batch",
        r#"{"messages":[{"event":"e"},{"event":"connect"}]}"#,
        400,
        invalid,
        json!("messages[1].event"),
    )
    .await;
    check("/v1/sockets/count", r#"{"targets":{},"timeoutMs":60001}"#, 400, invalid, json!("timeout_ms"))
        .await;

    let away = Running::start(Recorder::unavailable_from(0), PublishConfig::default()).await;
    let answer = post(away.address, "/v1/publish", &[], r#"{"message":{"event":"e"}}"#).await;
    assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("UNAVAILABLE")));
}

#[tokio::test]
async fn a_request_has_its_limit_of_bytes_and_one_more_is_refused() {
    let limit = |value| NonZeroU32::new(value).unwrap();
    let config = PublishConfig {
        message_bytes_max: limit(100),
        request_bytes_max: limit(100),
        ..PublishConfig::default()
    };
    let server = Running::start(Recorder::new(), config).await;
    let body = |bytes: usize| {
        let empty = r#"{"message":{"event":"e","args":[""]}}"#;
        empty.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - empty.len())))
    };
    assert_eq!(post(server.address, "/v1/publish", &[], body(100)).await.status, 200);
    let answer = post(server.address, "/v1/publish", &[], body(101)).await;
    assert_eq!((answer.status, &answer.json()["code"]), (413, &json!("OUT_OF_RANGE")));
}

#[tokio::test]
async fn requests_that_a_page_in_a_browser_can_make_are_refused() {
    let recorder = Recorder::new();
    let server = running(&recorder).await;
    let body = r#"{"message":{"event":"e"}}"#;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
        let answer =
            send(server.address, "POST", "/v1/publish", &[("content-type", content_type)], body).await;
        assert_eq!(answer.status, 400, "{content_type}");
        assert!(answer.body.contains("content-type: application/json"), "{}", answer.body);
    }
    for origin in ["https://evil.test", "null"] {
        let answer = post(server.address, "/v1/publish", &[("origin", origin)], body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("PERMISSION_DENIED")), "{origin}");
    }
    let preflight =
        send(server.address, "OPTIONS", "/v1/publish", &[("origin", "https://evil.test")], "").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (405, ""));
    assert_eq!(recorder.events(), [""; 0]);
    let utf8 = [("content-type", "Application/JSON; charset=utf-8")];
    assert_eq!(send(server.address, "POST", "/v1/publish", &utf8, body).await.status, 200);
}
