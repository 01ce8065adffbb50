//! What browsers are told about other origins, against what the reference server told them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::harness::{Gateway, Request, Response, Vectors, WEBSOCKET, field, shape};

/// The `cors` option of the capture, and the keys that mean the same here.
const VARIANTS: &[(&str, &[&str])] = &[
    ("no cors option", &[]),
    (SINGLE_ORIGIN, &[r#"client.cors.origins=["https://app.example"]"#]),
    ("cors:{origin:\"*\"}", &[r#"client.cors.origins=["*"]"#]),
    (
        "cors:{origin:[\"https://app.example\",\"https://b.example\"],credentials:true}",
        &[
            r#"client.cors.origins=["https://app.example","https://b.example"]"#,
            "client.cors.credentials=true",
        ],
    ),
    (
        "cors:{origin:/\\.example$/,allowedHeaders:[\"x-token\"],methods:[\"GET\",\"POST\"],credentials:true}",
        &[
            r#"client.cors.origins=["*.example"]"#,
            r#"client.cors.headers=["x-token"]"#,
            r#"client.cors.methods=["GET","POST"]"#,
            "client.cors.credentials=true",
        ],
    ),
];

/// The reference names a single origin whatever the request's is; here one origin is a list of one, which
/// is named only to itself.
const SINGLE_ORIGIN: &str = "cors:{origin:\"https://app.example\"}";

/// What has no equivalent here.
const NOT_OFFERED: &[(&str, &str)] = &[(
    "cors:{origin:true,credentials:true}",
    "credentials for every origin would hand each visitor's session to every page; `*` with credentials is a fault",
)];

/// Status, CORS headers and body of an answer, as far as they compare. `Vary` is a set.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    status: u64,
    headers: BTreeMap<String, String>,
    vary: BTreeSet<String>,
    body: String,
}

fn told(status: u64, header: impl Fn(&str) -> Option<String>, body: &str) -> Told {
    const NAMES: [&str; 5] = [
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "access-control-allow-methods",
        "access-control-allow-headers",
        "access-control-max-age",
    ];
    let headers = NAMES.iter().filter_map(|name| Some((name.to_string(), header(name)?))).collect();
    let vary = header("vary").unwrap_or_default();
    let vary = vary.split(", ").filter(|name| !name.is_empty()).map(str::to_ascii_lowercase).collect();
    Told { status, headers, vary, body: shape(body) }
}

fn told_here(answer: &Response) -> Told {
    let body = if answer.status == 101 { String::new() } else { answer.text() };
    told(answer.status.into(), |name| answer.header(name), &body)
}

/// What a captured answer told; those to upgrades are bare headers, or have no body.
fn told_there(expected: &Value) -> Told {
    let headers = expected.get("headers").unwrap_or(expected).as_object().unwrap();
    let header = |name: &str| {
        let found = headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str().unwrap().to_owned())
    };
    let status = expected.get("status").map_or(101, |status| status.as_u64().unwrap());
    told(status, header, expected["body"].as_str().unwrap_or_default())
}

/// The request behind an entry of the capture.
fn request(entry: &str) -> Request {
    const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling";
    // Without b64 it is answered in the binary form here, for clients 1.3.
    const HANDSHAKE_3: &str = "/socket.io/?EIO=3&transport=polling&b64=1";
    let app = |request: Request| request.header("Origin", "https://app.example");
    let evil = |request: Request| request.header("Origin", "https://evil.test");
    let preflight = |target, headers: &str| {
        app(Request::new("OPTIONS", target))
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", headers)
    };
    match entry {
        "preflight_app_example" => preflight(HANDSHAKE, "content-type,x-token"),
        "eio3_preflight" => preflight(HANDSHAKE_3, "content-type"),
        "get_app_example" => app(Request::get(HANDSHAKE)),
        "get_evil_test" => evil(Request::get(HANDSHAKE)),
        "get_without_origin" => Request::get(HANDSHAKE),
        "error_answer_app_example" => app(Request::get(&format!("{HANDSHAKE}&sid=nope"))),
        "eio3_get_app_example" => app(Request::get(HANDSHAKE_3)),
        "websocket_upgrade_headers_app_example" => app(Request::upgrade(WEBSOCKET)),
        "websocket_from_evil_test" => evil(Request::upgrade(WEBSOCKET)),
        other => panic!("{other} is not known"),
    }
}

#[test]
fn every_variant_is_compared_or_listed_with_a_reason() {
    for case in Vectors::read("cors.json").list("cases") {
        let options = field(case, "options");
        let known = VARIANTS.iter().any(|(other, _)| *other == options)
            || NOT_OFFERED.iter().any(|(other, _)| *other == options);
        assert!(known, "{options} is neither compared nor listed");
    }
}

#[test]
fn browsers_are_told_what_the_reference_server_told_them() {
    let vectors = Vectors::read("cors.json");
    for (options, keys) in VARIANTS {
        // The reference refuses no origin by itself, and EIO 3 was on in the capture.
        let always = ["client.refuse_foreign_origins=false", "engine.allow_eio3=true"];
        let gateway = Gateway::start(&[], &[&always, *keys].concat());
        let case = vectors.list("cases").iter().find(|case| case["options"] == *options).unwrap();
        for (entry, expected) in case.as_object().unwrap().iter().filter(|(key, _)| *key != "options") {
            let mut expected = told_there(expected);
            if *options == SINGLE_ORIGIN && (entry.contains("evil") || entry.contains("without")) {
                expected.headers.remove("access-control-allow-origin");
            }
            let mut found = told_here(&gateway.http().send(&request(entry)));
            if entry == "eio3_get_app_example" {
                // The answer of `/` may be in the first payload already; here no namespace is open.
                found.body = found.body.split_inclusive('}').next().unwrap_or_default().into();
            }
            assert_eq!(found, expected, "{options}: {entry}");
        }
    }
}

#[test]
fn refused_origins_are_told_nothing_but_that_answers_vary() {
    let gateway = Gateway::dev(&[r#"client.cors.origins=["https://app.example"]"#]);
    let answer = gateway.http().send(&request("get_evil_test"));
    answer.assert_error(4, "Forbidden");
    assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
    assert_eq!(answer.header("Vary").as_deref(), Some("Origin"));
    let answer = gateway.http().send(&request("websocket_from_evil_test"));
    assert_eq!((answer.status, answer.text().as_str()), (400, "Forbidden"));
    // Whoever sends no origin is no browser.
    assert_eq!(gateway.http().send(&request("get_without_origin")).status, 200);
}

#[test]
fn credentials_for_every_origin_are_a_fault_of_the_configuration() {
    let mut command = crate::harness::command(&["check-config"]);
    command.args(["--set", r#"client.cors.origins=["*"]"#, "--set", "client.cors.credentials=true"]);
    let ended = crate::harness::run(command);
    assert_eq!(ended.code(), Some(2));
    assert!(ended.stderr.contains("client.cors.credentials"), "{}", ended.stderr);
}
