//! The publish API of the real process: keys from the command line to a socket, and what the operator is told.

use serde_json::json;

use crate::harness::{Gateway, Http, Request, Response, command, run};

/// A new key, and its entry with these rights in place of those printed.
fn generate(name: &str, rights: &str) -> (String, String) {
    let ended = run(command(&["generate-key", name]));
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let entry: Vec<_> = ended.stdout.lines().take(3).collect();
    (ended.stderr.trim().to_owned(), format!("{}\n{rights}\n", entry.join("\n")))
}

fn post(gateway: &Gateway, path: &str, key: &str, body: &str) -> Response {
    let request = Request::post(path, body)
        .header("Content-Type", "application/json")
        .header("Authorization", &format!("Bearer {key}"));
    Http::connect(gateway.grpc).send(&request.close())
}

#[test]
fn a_generated_key_publishes_what_its_entry_allows_and_a_refusal_is_logged_and_counted() {
    let rights = "namespaces = [\"/\"]\nrooms = [\"order:*\"]\noperations = [\"publish\"]";
    let (key, entry) = generate("orders", rights);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.toml");
    std::fs::write(&file, entry).unwrap();
    let keys_file = format!("grpc.auth.keys_file={}", file.display());
    let gateway = Gateway::dev(&[&keys_file]);
    let mut client = gateway.joined();
    client.join_room("order:7");

    let body = |room: &str| {
        format!(
            r#"{{"message":{{"rooms":["{room}"],"event":"news","args":["hi"]}},"report":"REPORT_REACH"}}"#
        )
    };
    let answer = post(&gateway, "/v1/publish", &key, &body("order:7"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(answer["reach"]["socketsWritten"], "1", "{answer}");
    assert_eq!(client.text(), r#"42["news","hi"]"#);

    let refused = post(&gateway, "/v1/publish", &key, &body("secret"));
    assert_eq!(refused.status, 403);
    let refused: serde_json::Value = serde_json::from_str(&refused.text()).unwrap();
    assert_eq!(
        refused,
        json!({"code": "PERMISSION_DENIED",
               "message": "identity orders may not publish here: no pattern of its rooms fits message.rooms[0]"})
    );
    let line = gateway.log_line(|line| line["kind"] == "publish_refused");
    assert_eq!((&line["identity"], &line["cause"]), (&json!("orders"), &json!("room")));
    assert_eq!(post(&gateway, "/v1/publish", "rc_wrong", &body("order:7")).status, 401);
    let refusals = |cause| gateway.metric("roomcast_publish_refused_total", &[("cause", cause)]);
    assert!((refusals("room") - 1.0).abs() < 0.5 && (refusals("unauthenticated") - 1.0).abs() < 0.5);
    gateway.expect_metric("roomcast_publish_calls_total", &[("code", "UNAUTHENTICATED")], 1.0);
    for secret in [&key, "rc_wrong", "secret", "news"] {
        assert!(!gateway.log_text().contains(secret), "{secret} in\n{}", gateway.log_text());
    }
}

#[test]
fn a_guarded_port_may_be_reached_from_elsewhere_and_an_unguarded_one_may_not() {
    let (_, entry) = generate("a", "");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.yaml");
    std::fs::write(&file, "keys: []").unwrap();
    let keys_file = format!("grpc.auth.keys_file={}", file.display());
    let check = |keys: &[&str]| {
        let keys: Vec<_> = keys.iter().flat_map(|key| ["--set", key]).collect();
        run(command(&[&["check-config", "--set", "grpc.listen=0.0.0.0:0"], &keys[..]].concat())).code()
    };
    assert_eq!(check(&[]), Some(2));
    assert_eq!(check(&[&keys_file]), Some(0));
    assert_eq!(check(&["grpc.insecure=true"]), Some(0));
    // TOML in a file called YAML.
    std::fs::write(&file, entry).unwrap();
    assert_eq!(check(&[&keys_file]), Some(2));
}
