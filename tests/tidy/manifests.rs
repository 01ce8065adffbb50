//! Who depends on whom.

use toml::{Table, Value};

use crate::{assert_none, file, files};

/// Which packages of ours a package of ours may know, `roomcast-` left out. An arrow points one way.
const KNOWS: [(&str, &[&str]); 13] = [
    ("admission", &[]),
    ("engineio", &[]),
    ("websocket", &[]),
    ("socketio", &[]),
    ("proto", &[]),
    ("client", &["proto"]),
    ("rooms", &["socketio"]),
    ("adapter", &["socketio"]),
    ("cluster", &["adapter", "socketio"]),
    ("redis-link", &[]),
    ("broker", &["adapter", "admission", "engineio", "rooms", "socketio", "websocket"]),
    // For the labels of closes and faults.
    ("telemetry", &["engineio"]),
    ("publish", &["adapter", "proto", "socketio", "telemetry"]),
];

/// Packages that know every one: they wire, measure and test.
const SEES_ALL: [&str; 4] = ["services/", "benches/", "tests/", "xtask/"];

/// Packages that take bytes and time, and do nothing themselves.
pub(crate) const NO_IO: [&str; 8] =
    ["adapter", "admission", "broker", "cluster", "engineio", "rooms", "socketio", "websocket"];

/// Crates that do IO, know a clock or report, with all whose name begins so and with a hyphen.
const IO: [&str; 12] = [
    "async-std",
    "hyper",
    "metrics",
    "mio",
    "polling",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "tokio",
    "tonic",
    "tracing",
];

/// Redis clients, and the one package that may name them.
const REDIS: [&str; 2] = ["fred", "redis"];
const REDIS_LINK: &str = "roomcast-redis-link";

/// One dependency of a manifest.
struct Dependency {
    /// `dependencies`, `dev-dependencies` or `build-dependencies`.
    kind: String,
    /// As the manifest calls it.
    alias: String,
    /// Whether it is taken from the table of the workspace.
    from_workspace: bool,
    /// The package that the alias stands for.
    package: String,
}

/// The rules that a manifest breaks; `path` is from the root of the repository, `workspace` the root manifest.
fn faults(path: &str, manifest: &Table, workspace: &Table) -> Vec<String> {
    let name = manifest["package"]["name"].as_str().unwrap();
    let short = name.strip_prefix("roomcast-").unwrap_or(name);
    let knows = KNOWS.iter().find(|(package, _)| *package == short).map(|(_, known)| *known);
    let sees_all = SEES_ALL.iter().any(|folder| path.starts_with(folder));
    let mut faults = Vec::new();
    if knows.is_none() && !sees_all {
        faults.push("who it may know is not in KNOWS of tests/tidy/manifests.rs".to_owned());
    }
    for Dependency { kind, alias, from_workspace, package } in dependencies(manifest, workspace) {
        if !from_workspace {
            faults.push(format!("{alias} of {kind} is not `{alias}.workspace = true`"));
        }
        if let (Some(ours), Some(known)) = (package.strip_prefix("roomcast-"), knows)
            && !known.contains(&ours)
        {
            faults.push(format!("must not know {package}; it may know {known:?}"));
        }
        if NO_IO.contains(&short) && kind != "dev-dependencies" && does_io(&package) {
            faults.push(format!("does no IO and reports nothing, but depends on {package}"));
        }
        if REDIS.contains(&package.as_str()) && name != REDIS_LINK {
            faults.push(format!("depends on {package}; only {REDIS_LINK} talks to Redis"));
        }
    }
    faults.into_iter().map(|fault| format!("{path}: {fault}")).collect()
}

fn does_io(package: &str) -> bool {
    let is_or_extends = |rest: &str| rest.is_empty() || rest.starts_with('-');
    IO.iter().any(|io| package.strip_prefix(io).is_some_and(is_or_extends))
}

/// Every dependency of every kind, those for one platform too.
fn dependencies(manifest: &Table, workspace: &Table) -> Vec<Dependency> {
    let platforms = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = platforms.filter_map(Value::as_table).chain([manifest]);
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let mut found = Vec::new();
    for (table, kind) in tables.flat_map(|table| kinds.map(|kind| (table, kind))) {
        for (alias, value) in table.get(kind).and_then(Value::as_table).into_iter().flatten() {
            let from_workspace = value.get("workspace").is_some();
            let definition = match from_workspace {
                true => &workspace["workspace"]["dependencies"][alias],
                false => value,
            };
            let package = definition.get("package").and_then(Value::as_str).unwrap_or(alias);
            found.push(Dependency {
                kind: kind.to_owned(),
                alias: alias.clone(),
                from_workspace,
                package: package.to_owned(),
            });
        }
    }
    found
}

#[test]
fn dependencies_point_one_way_and_the_core_does_no_io() {
    let workspace: Table = file("Cargo.toml").parse().unwrap();
    let manifests = files("Cargo.toml");
    assert!(manifests.len() > KNOWS.len(), "the manifests are not where they were");
    let faults: Vec<_> =
        manifests.iter().flat_map(|(path, text)| faults(path, &text.parse().unwrap(), &workspace)).collect();
    assert_none(&faults);
}

#[test]
fn every_package_without_io_exists() {
    for package in NO_IO.iter().chain(KNOWS.iter().map(|(package, _)| package)) {
        file(&format!("crates/{package}/Cargo.toml"));
    }
}

#[test]
fn each_rule_is_able_to_fail() {
    let workspace = r#"
        [workspace.dependencies]
        bytes = "1"
        broker = { package = "roomcast-broker", path = "crates/broker" }
        engineio = { package = "roomcast-engineio", path = "crates/engineio" }
        socketio = { package = "roomcast-socketio", path = "crates/socketio" }
        fred = "10"
        cache = { package = "redis", version = "1" }
        tokio = "1"
        tokio-stream = "0.1"
        tracing = "0.1"
    "#;
    let check = |package: &str, dependencies: &str, expected: &str| {
        let folder = if package == "gateway" { "services" } else { "crates" };
        let manifest = format!("[package]\nname = \"roomcast-{package}\"\n{dependencies}");
        let path = format!("{folder}/{package}/Cargo.toml");
        let found = faults(&path, &manifest.parse().unwrap(), &workspace.parse().unwrap()).join("\n");
        assert_eq!(found.is_empty(), expected.is_empty(), "{manifest}: {found}");
        assert!(found.contains(expected), "{manifest}: {found}");
    };
    check("rooms", "[dependencies]\nbytes.workspace = true\nsocketio.workspace = true", "");
    check("rooms", "[dependencies]\nengineio.workspace = true", "must not know roomcast-engineio");
    check("socketio", "[dev-dependencies]\nbroker.workspace = true", "must not know roomcast-broker");
    check("telemetry", "[target.'cfg(unix)'.dependencies]\nbroker.workspace = true", "must not know");
    check("gateway", "[dependencies]\nbroker.workspace = true\ntokio.workspace = true", "");
    check("unheard-of", "", "not in KNOWS");
    check("engineio", "[dependencies]\ntokio = { workspace = true, features = [\"rt\"] }", "does no IO");
    check("broker", "[dependencies]\ntokio-stream.workspace = true", "does no IO");
    check("broker", "[build-dependencies]\ntracing.workspace = true", "does no IO");
    check("broker", "[dev-dependencies]\ntokio.workspace = true", "");
    check("publish", "[dependencies]\nfred.workspace = true", "only roomcast-redis-link");
    check("gateway", "[dev-dependencies]\ncache.workspace = true", "only roomcast-redis-link");
    check("publish", "[dependencies]\nbytes = \"1\"", "bytes.workspace = true");
}
