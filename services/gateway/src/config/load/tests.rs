//! The layers, their faults, and the page that lists every key.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;

/// A directory with `gateway.toml`, which holds `text`.
struct Files(tempfile::TempDir);

impl Files {
    fn new(text: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write("gateway.toml", text);
        files
    }

    fn write(&self, name: &str, text: &str) -> Cli {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        cli(Some(path), &[])
    }

    fn load(&self, variables: &[(&str, &str)], flags: &[&str]) -> Result<GatewayConfig, Vec<String>> {
        let config = Some(self.0.path().join("gateway.toml"));
        self.told(load_with(&cli(config, flags), environment(variables)))
    }

    /// Faults as printed, with paths below the directory.
    fn told(&self, loaded: Result<GatewayConfig, Vec<ConfigFault>>) -> Result<GatewayConfig, Vec<String>> {
        let directory = format!("{}/", self.0.path().display());
        loaded
            .map_err(|faults| faults.iter().map(|fault| fault.to_string().replace(&directory, "")).collect())
    }
}

/// A command line with this file and these assignments.
fn cli(config: Option<PathBuf>, flags: &[&str]) -> Cli {
    let set = flags.iter().map(ToString::to_string).collect();
    Cli { arguments: Arguments { config, set, ..Arguments::default() }, ..Cli::default() }
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

/// Faults of a configuration that is only this TOML text.
fn faults(text: &str) -> Vec<String> {
    Files::new(text).load(&[], &[]).err().unwrap_or_default()
}

#[test]
fn the_default_is_valid_and_opens_nothing() {
    let config = load_with(&Cli::default(), []).unwrap();
    assert_eq!(config, GatewayConfig::default());
    assert!(config.namespaces.is_empty());
}

#[test]
fn flags_go_before_environment_before_file_before_defaults() {
    let files = Files::new(
        "[engine]\nping_interval_ms = 1\nping_timeout_ms = 2\nupgrade_timeout_ms = 3\n[log]\nformat = \"json\"",
    );
    let variables =
        [("ROOMCAST__ENGINE__PING_TIMEOUT_MS", "20"), ("ROOMCAST__ENGINE__UPGRADE_TIMEOUT_MS", "30")];
    let config = files.load(&variables, &["engine.upgrade_timeout_ms=300"]).unwrap();
    assert_eq!(config.engine.ping_interval_ms, 1);
    assert_eq!(config.engine.ping_timeout_ms, 20);
    assert_eq!(config.engine.upgrade_timeout_ms, 300);
    assert_eq!(config.engine.max_payload_bytes, 1_000_000);
    assert_eq!(config.log.format, telemetry::LogFormat::Json);
}

#[test]
fn yaml_says_the_same_as_toml() {
    let files =
        Files::new("[client]\nlisten = \"127.0.0.1:1\"\n[[namespaces]]\nname = \"/chat\"\nauth = \"deny\"");
    let yaml = "client:\n  listen: 127.0.0.1:1\nlog:\nnamespaces:\n  - name: /chat\n    auth: deny\n";
    let from_yaml = load_with(&files.write("gateway.yaml", yaml), []).unwrap();
    assert_eq!(from_yaml, files.load(&[], &[]).unwrap());
}

#[test]
fn variables_become_what_the_type_wants() {
    let files = Files::new("[client]\nbundle_dir = \"/nowhere\"");
    let variables = [
        ("ROOMCAST__CLIENT__BUNDLE_DIR", ""),
        ("ROOMCAST__CLIENT__CORS__ORIGINS", "https://a.test, *.b.test"),
        ("ROOMCAST__CLIENT__LISTEN", "[::1]:3000"),
        ("ROOMCAST__CLIENT__SHARDS", "2"),
        ("ROOMCAST__ENGINE__ALLOW_EIO3", "true"),
        ("ROOMCAST__ENGINE__TRANSPORTS", "websocket"),
        ("ROOMCAST__NAMESPACES", r#"[{"name": "/a", "refusal_data": {"Code": [1, null]}}]"#),
        ("ROOMCASTING", "not ours"),
    ];
    let config = files.load(&variables, &[]).unwrap();
    assert_eq!(config.client.bundle_dir, None);
    assert_eq!(config.client.cors.origins, ["https://a.test", "*.b.test"]);
    assert_eq!(config.client.listen.to_string(), "[::1]:3000");
    assert_eq!(config.client.shards.map(std::num::NonZero::get), Some(2));
    assert!(config.engine.allow_eio3);
    assert_eq!(config.engine.transports, [engineio::Transport::WebSocket]);
    assert_eq!(config.namespaces[0].refusal_data, Some(json!({"Code": [1, null]})));
}

#[test]
fn every_fault_is_reported_at_once_and_where_it_comes_from() {
    let files = Files::new(
        r#"
        colour = "red"
        [client]
        listn = "127.0.0.1:3000"
        path = "socket.io"
        shards = 0
        [client.cors]
        origins = ["https://good.test", "https://bad.test/", 7]
        [client.tls]
        key_file = "/nowhere/key.pem"
        [engine]
        ping_interval_ms = "fast"
        ping_timeout_ms = 0
        transports = ["polling", "websockets"]
        [adapter]
        kind = "redis-streams"
        [[namespaces]]
        auth = { tokens = ["open sesame"] }
        [[namespaces]]
        name = "/"
        events = [{ event = "a", action = "relay" }, { event = "connect", action = "refuse" }]
        "#,
    );
    let variables = [
        ("ROOMCAST__OPS__LISTEN", "localhost:9000"),
        ("ROOMCAST__GRPC__LISTEN", "0.0.0.0:3000"),
        ("ROOMCAST__LIMITS__ROOM_NAME_BYTES", "70000"),
        ("ROOMCAST__LOG__LEVEL", "debug"),
        ("ROOMCAST__", "x"),
    ];
    let flags = ["log.format=xml", "client.http_compression"];
    let told = files.load(&variables, &flags).unwrap_err();
    let expected = [
        "ROOMCAST__: not a key; allowed: ROOMCAST__SECTION__KEY, see docs/configuration.md",
        "--set client.http_compression: not an assignment; allowed: --set section.key=value",
        "gateway.toml: adapter.kind = \"redis-streams\": not in this version; allowed: memory, redis, redis-sharded",
        "gateway.toml: client.cors.origins[2] = 7: allowed: text",
        "gateway.toml: client.listn: unknown key, did you mean listen? allowed: listen, path, parser, trusted_proxies, proxy_protocol, shards, http_compression, websocket_compression, websocket_compression_min_bytes, refuse_foreign_origins, bundle_dir, bundle_generation, demo_page, cors, tls",
        "gateway.toml: client.shards = 0: allowed: an integer from 1 to 255",
        "gateway.toml: client.tls: cert_file is missing",
        "gateway.toml: colour: unknown key; allowed: client, engine, limits, adapter, redis, cluster, grpc, ops, log, node, shutdown, namespaces",
        "gateway.toml: engine.ping_interval_ms = \"fast\": allowed: an integer from 1 to 3600000",
        "gateway.toml: engine.transports[1] = \"websockets\": unknown word; allowed: polling, websocket",
        "ROOMCAST__LIMITS__ROOM_NAME_BYTES: limits.room_name_bytes = \"70000\": allowed: an integer from 1 to 65535",
        "--set log.format: log.format = \"xml\": unknown word; allowed: text, json",
        "ROOMCAST__LOG__LEVEL: log.level: unknown key; allowed: format, filter",
        "gateway.toml: namespaces[0]: name is missing",
        "gateway.toml: namespaces[1].events[0].action = \"relay\": unknown word; allowed: relay-to-room, relay-to-rooms, relay-to-all, refuse, acknowledge",
        "ROOMCAST__OPS__LISTEN: ops.listen = \"localhost:9000\": allowed: an IP address and a port, such as 127.0.0.1:3000 or [::1]:3000",
        "gateway.toml: engine.ping_timeout_ms = 0: allowed: an integer from 1 to 3600000",
        "ROOMCAST__GRPC__LISTEN: grpc.listen = \"0.0.0.0:3000\": not a loopback address, and the publish API has no authentication configured; listen on 127.0.0.1, configure grpc.auth, or set grpc.insecure = true (ROOMCAST__GRPC__INSECURE=true) to open it to whoever reaches it",
        "ROOMCAST__GRPC__LISTEN: grpc.listen = \"0.0.0.0:3000\": allowed: a port that client.listen, 0.0.0.0:3000, does not use",
        "gateway.toml: client.path = \"socket.io\": allowed: a path other than / that begins with /, such as /socket.io",
        "gateway.toml: client.cors.origins[1] = \"https://bad.test/\": allowed: *, scheme://host[:port] without a path, scheme://*.host or *.host",
        "gateway.toml: namespaces[1].events[1].event = \"connect\": allowed: an event that clients may emit; this one is reserved by Socket.IO",
    ];
    assert_eq!(told.join("\n"), expected.join("\n"));
}

#[test]
fn rules_between_keys_are_checked() {
    let rows = [
        (
            "[client]\nlisten = \"127.0.0.1:9000\"",
            "default: ops.listen = \"127.0.0.1:9000\": allowed: a port that client.listen, 127.0.0.1:9000, does not use",
        ),
        (
            "[client.cors]\ncredentials = true\norigins = [\"*\"]",
            "gateway.toml: client.cors.credentials = true: allowed: false while client.cors.origins has *, because browsers refuse the pair; name the origins",
        ),
        (
            "[client]\nbundle_dir = \"/nowhere\"",
            "gateway.toml: client.bundle_dir = \"/nowhere\": /nowhere: No such file or directory (os error 2); allowed: a directory that can be read",
        ),
        (
            "[engine]\ntransports = []",
            "gateway.toml: engine.transports = a list: allowed: a list of polling, websocket or both",
        ),
        (
            "[limits]\noutbox_bytes = 1000",
            "gateway.toml: limits.outbox_bytes = 1000: allowed: at least engine.max_payload_bytes, 1000000",
        ),
        (
            "[grpc.limits]\nattachments_max = 11",
            "gateway.toml: grpc.limits.attachments_max = 11: allowed: at most 10: clients close their connection on more",
        ),
        (
            "[grpc]\nlisten = \"0.0.0.0:1\"\nauth.jwt = { algorithms = [\"ES256\"], jwks_url = \"https://a.test\", audience = \"a\", issuer = \"i\" }",
            "",
        ),
        (
            "[grpc.auth]\nkeys_file = \"/nowhere.toml\"",
            "gateway.toml: grpc.auth.keys_file = \"/nowhere.toml\": No such file or directory (os error 2); allowed: a file that can be read",
        ),
        (
            "[grpc.auth.jwt]\nalgorithms = []\naudience = \"\"\nissuer = \"i\"\njwks_url = \"http://id.test/\"",
            "gateway.toml: grpc.auth.jwt.algorithms = a list: allowed: one algorithm or more, such as ES256\n\
             gateway.toml: grpc.auth.jwt.jwks_url = \"http://id.test/\": allowed: https://host/path, or http:// on a loopback address\n\
             gateway.toml: grpc.auth.jwt.audience = \"\": allowed: a text that is not empty; tokens meant for others would be taken",
        ),
        (
            "[log]\nfilter = \"a=loud\"",
            "gateway.toml: log.filter = \"a=loud\": allowed: off, error, warn, info, debug, trace, also as target=level, comma separated",
        ),
        (
            "[node]\nsecret_file = \"/nowhere\"",
            "gateway.toml: node.secret_file = \"/nowhere\": No such file or directory (os error 2); allowed: a file that can be read",
        ),
        (
            "[cluster]\npeers = [\"1=127.0.0.1:1\", \"1=127.0.0.1:2\", \"two\"]\nlisten = \"127.0.0.1:3000\"",
            "gateway.toml: cluster.peers[2] = \"two\": allowed: a node.id, = and the IP address and port of its cluster port, such as 2=10.0.0.2:7420\n\
             gateway.toml: cluster.listen = \"127.0.0.1:3000\": allowed: a port that client.listen, 0.0.0.0:3000, does not use\n\
             default: node.secret_file = null: is to be set: gateways of one cluster accept each other's session ids and sign what they forward with this key; allowed: one file for all of them, written by openssl rand -hex 32 (to try it on one machine: cluster.insecure = true, or --dev)\n\
             gateway.toml: cluster.peers[1] = \"1=127.0.0.1:2\": allowed: a node.id other than that of cluster.peers[0]",
        ),
        (
            "[cluster]\npeers = [\"2=127.0.0.1:1\"]\ninsecure = true",
            "default: node.id = null: is to be set: cluster.peers of the other gateways names this one by it; allowed: an integer from 0 to 65535 that no other gateway has",
        ),
        ("[node]\nid = 1\n[cluster]\npeers = [\"2=127.0.0.1:1\"]\ninsecure = true", ""),
        (
            "[shutdown]\ndrain_ms = 40000",
            "gateway.toml: shutdown.drain_ms = 40000: allowed: at most shutdown.deadline_ms, 30000",
        ),
        ("[ops]\nlisten = \"0.0.0.0:9000\"\nenabled = false", ""),
        ("[ops]\nlisten = \"0.0.0.0:9000\"\ninsecure = true", ""),
        ("[client]\nlisten = \"127.0.0.1:0\"\n[ops]\nlisten = \"127.0.0.1:0\"", ""),
    ];
    for (text, expected) in rows {
        assert_eq!(faults(text).join("\n"), expected, "{text}");
    }
}

#[test]
fn namespaces_are_checked_item_by_item() {
    let rows = [
        (
            "name = \"chat\"",
            "namespaces[0].name = \"chat\": allowed: / and what follows, such as /chat, or a pattern with *",
        ),
        (
            "name = \"/a\"\n[[namespaces]]\nname = \"/a\"",
            "namespaces[1].name = \"/a\": never reached: namespaces[0] decides for the same name",
        ),
        (
            "name = \"/a\"\nauth = { tokens = [] }",
            "namespaces[0].auth.tokens = a list: nobody could connect; allowed: one token hash or more, or auth = \"deny\"",
        ),
        (
            "name = \"/a\"\nauth = { tokens = [\"plain\"] }",
            "namespaces[0].auth.tokens[0] = <redacted>: allowed: the SHA-256 of a token, 64 hex digits",
        ),
        (
            "name = \"/a\"\nauth = \"tokens\"",
            "namespaces[0].auth = \"tokens\": tokens needs a value: write { tokens = … }",
        ),
        (
            "name = \"/a\"\nauth = \"jwt\"",
            "namespaces[0].auth = \"jwt\": unknown word; allowed: none, deny, tokens",
        ),
        (
            "name = \"/a\"\nmay_join = { event = \"\", rooms = [] }",
            "namespaces[0].may_join.event = \"\": allowed: an event name that is not empty\ngateway.toml: namespaces[0].may_join.rooms = a list: no room could be named; allowed: one pattern or more, * for every room",
        ),
        (
            "name = \"/a\"\njoin = [\"\"]",
            "namespaces[0].join[0] = \"\": allowed: a room name that is not empty",
        ),
        (
            "name = \"/a\"\nmay_join = { event = \"e\", rooms = [\"*\"] }\nmay_leave = { event = \"e\", rooms = [\"*\"] }",
            "namespaces[0].may_leave.event = \"e\": allowed: an event other than namespaces[0].may_join.event",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(
            faults(&format!("[[namespaces]]\n{text}")).join("\n"),
            format!("gateway.toml: {expected}"),
            "{text}"
        );
    }
}

#[test]
fn credentials_do_not_appear_in_faults() {
    let told = faults(
        "[[namespaces]]\nname = 1\nauth = { tokens = [\"hunter2\", 3] }\n[redis]\npassword = \"hunter2\"",
    );
    assert!(told.iter().any(|fault| fault.contains("<redacted>")), "{told:?}");
    let broken = faults("[redis]\npassword = \"hunter2");
    for fault in told.iter().chain(&broken) {
        assert!(!fault.contains("hunter2"), "{fault}");
    }
    assert!(broken[0].starts_with("gateway.toml: not TOML: TOML parse error at line 2"), "{broken:?}");
}

#[test]
fn files_that_cannot_be_used_are_faults_beside_the_others() {
    let files = Files::new("");
    let json = files.write("gateway.json", "{}").arguments.config;
    assert_eq!(
        files.told(load_with(&cli(json, &["log.format=xml"]), [])).unwrap_err(),
        [
            "gateway.json: unknown format; allowed: a name that ends in .toml, .yaml or .yml",
            "--set log.format: log.format = \"xml\": unknown word; allowed: text, json",
        ]
    );
    let absent = Some(files.0.path().join("absent.toml"));
    assert_eq!(
        files.told(load_with(&cli(absent, &[]), [])).unwrap_err(),
        ["absent.toml: cannot be read: No such file or directory (os error 2)"]
    );
}

#[test]
fn dev_opens_everything_unless_told_otherwise() {
    let dev = Cli { dev: true, ..Cli::default() };
    let config = load_with(&dev, []).unwrap();
    assert_eq!(config.namespaces, [NamespaceConfig::dev()]);
    assert_eq!(config.client.cors.origins, ["*"]);
    assert!(config.engine.allow_eio3 && config.client.demo_page && config.cluster.insecure);
    assert_eq!(config.client.listen.to_string(), "127.0.0.1:3000");

    let files = Files::new("[engine]\nallow_eio3 = false\n[[namespaces]]\nname = \"/only\"");
    let dev = Cli { dev: true, ..cli(Some(files.0.path().join("gateway.toml")), &[]) };
    let config = load_with(&dev, environment(&[("ROOMCAST__CLIENT__LISTEN", "127.0.0.1:4000")])).unwrap();
    assert_eq!(config.namespaces.len(), 1);
    assert_eq!(config.namespaces[0].name, "/only");
    assert!(!config.engine.allow_eio3);
    assert_eq!(config.client.listen.to_string(), "127.0.0.1:4000");
}

#[test]
fn what_is_printed_loads_again_to_the_same() {
    let hash = "0".repeat(64);
    let mut full = load_with(&Cli { dev: true, ..Cli::default() }, []).unwrap();
    full.client.cors.origins = vec!["*.example.com".into()];
    full.client.cors.max_age_s = Some(5);
    full.client.shards = std::num::NonZeroU8::new(3);
    full.node.id = Some(7);
    full.cluster.advertise = Some("10.0.0.7:7420".parse().unwrap());
    full.cluster.peers =
        vec![crate::config::cluster::StaticPeer { node: 8, address: "[::1]:7420".parse().unwrap() }];
    full.namespaces.push(NamespaceConfig {
        name: "/vault".into(),
        auth: broker::AuthConfig::Tokens(vec![hash]),
        refusal_data: Some(json!({"why": ["no", 1, 1.5, true]})),
        join: vec!["lobby".into()],
        ..NamespaceConfig::dev()
    });
    for config in [GatewayConfig::default(), full] {
        let text = config.to_toml().unwrap();
        assert_eq!(Files::new(&text).load(&[], &[]), Ok(config), "{text}");
    }
}

const PAGE: &str = include_str!("../../../../../docs/configuration.md");

/// The rows of the page's main table: key, default, variable.
fn rows_of_the_page() -> Vec<(String, String, String)> {
    rows_of("Keys\n")
}

/// The rows of the table in the section whose heading begins so.
fn rows_of(heading: &str) -> Vec<(String, String, String)> {
    let table = PAGE.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> =
            row.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`']).to_owned()).collect();
        let [key, _, default, variable, _] = <[String; 5]>::try_from(cells).unwrap();
        (key, default, variable)
    })
    .collect()
}

/// `table` as dotted keys with their values in TOML.
fn flatten(prefix: &str, table: &toml::Table, flat: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        match value {
            toml::Value::Table(inner) => flatten(&format!("{key}."), inner, flat),
            value => drop(flat.insert(key, value.to_string())),
        }
    }
}

#[test]
fn the_page_lists_every_key_with_its_default() {
    let mut defaults = BTreeMap::new();
    flatten("", &toml::from_str(&GatewayConfig::default().to_toml().unwrap()).unwrap(), &mut defaults);
    let rows = rows_of_the_page();
    let listed: BTreeMap<_, _> =
        rows.iter().filter(|row| row.1 != "unset").map(|row| (row.0.clone(), row.1.clone())).collect();
    assert_eq!(listed, defaults);
    for (key, _, variable) in &rows {
        assert_eq!(*variable, format!("ROOMCAST__{}", key.to_uppercase().replace('.', "__")));
    }
}

#[test]
fn the_page_lists_exactly_the_keys_that_exist() {
    let rows = rows_of_the_page();
    let listed = |section: &str| {
        let inner = rows.iter().filter_map(|row| row.0.strip_prefix(section));
        inner
            .filter_map(|rest| rest.split('.').next())
            .map(String::from)
            .collect::<std::collections::BTreeSet<_>>()
    };
    let sections = [
        "",
        "client.",
        "client.cors.",
        "client.tls.",
        "engine.",
        "limits.",
        "adapter.",
        "cluster.",
        "grpc.",
        "grpc.auth.",
        "grpc.auth.jwt.",
        "grpc.tls.",
        "grpc.limits.",
        "ops.",
        "log.",
        "node.",
        "shutdown.",
    ];
    for section in sections {
        // The answer to an unknown key lists the known ones.
        let fault =
            load_with(&cli(None, &[&format!("{section}zzzzzzzzzzzzzzzz=1")]), []).unwrap_err().remove(0);
        let (_, known) = fault.problem.split_once("allowed: ").unwrap();
        assert_eq!(listed(section), known.split(", ").map(String::from).collect(), "{section}");
    }
}

/// What a publisher makes of these flags alone.
fn publisher(flags: &[&str]) -> Result<PublisherConfig, Vec<String>> {
    let loaded = load_layers::<PublisherConfig>(None, &cli(None, flags).arguments, []);
    loaded.map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

#[test]
fn a_publisher_has_to_be_told_which_adapter_the_gateways_have() {
    let told = publisher(&[]).unwrap_err();
    assert_eq!(
        told,
        [
            "default: adapter.kind = \"memory\": a publisher has no clients and reaches the gateways by Redis; allowed: redis, redis-sharded, whichever the gateways have (ROOMCAST__ADAPTER__KIND, and ROOMCAST__REDIS__URL for where Redis is)"
        ]
    );
    let config = publisher(&["adapter.kind=redis"]).unwrap();
    assert_eq!(config.grpc.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(config.ops.listen.to_string(), "127.0.0.1:9000");
}

#[test]
fn what_a_publisher_prints_loads_again_to_the_same() {
    let config =
        publisher(&["adapter.kind=redis-sharded", "node.name=p", "grpc.auth.jwt={\"algorithms\":[\"ES256\"],\"jwks_url\":\"https://a.test\",\"audience\":\"a\",\"issuer\":\"i\"}"])
            .unwrap();
    let files = Files::new(&config.to_toml().unwrap());
    let path = files.0.path().join("gateway.toml");
    let again = load_layers::<PublisherConfig>(None, &cli(Some(path), &[]).arguments, []);
    assert_eq!(again, Ok(config));
}

#[test]
fn rules_between_keys_of_a_publisher_are_checked() {
    let rows = [
        (
            "client.listen=127.0.0.1:3000",
            "--set client.listen: client: unknown key; allowed: adapter, redis, grpc, ops, log, node, shutdown",
        ),
        (
            "grpc.enabled=false",
            "--set grpc.enabled: grpc.enabled = \"false\": allowed: true; a publisher serves nothing else",
        ),
        (
            "grpc.listen=127.0.0.1:9000",
            "default: ops.listen = \"127.0.0.1:9000\": allowed: a port that grpc.listen, 127.0.0.1:9000, does not use",
        ),
        (
            "ops.listen=0.0.0.0:9000",
            "--set ops.listen: ops.listen = \"0.0.0.0:9000\": not a loopback address, and the operations port has no authentication configured; listen on 127.0.0.1, or set ops.insecure = true (ROOMCAST__OPS__INSECURE=true) to open it to whoever reaches it",
        ),
        (
            "shutdown.deadline_ms=0",
            "--set shutdown.deadline_ms: shutdown.deadline_ms = \"0\": allowed: an integer from 1 to 3600000",
        ),
        (
            "log.filter=,=",
            "--set log.filter: log.filter = \",=\": allowed: off, error, warn, info, debug, trace, also as target=level, comma separated",
        ),
    ];
    for (flag, expected) in rows {
        let told = publisher(&["adapter.kind=redis", flag]).unwrap_err();
        assert_eq!(told.join("\n"), expected, "{flag}");
    }
}

#[test]
fn the_page_lists_every_key_of_a_publisher_with_its_default() {
    let mut defaults = BTreeMap::new();
    let toml = PublisherConfig::default().to_toml().unwrap();
    flatten("", &toml::from_str(&toml).unwrap(), &mut defaults);
    let own = rows_of("Keys of the publisher");
    let names: Vec<&str> = own.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(names, ["adapter.kind", "node.name", "shutdown.deadline_ms"]);
    let shared = rows_of_the_page();
    for (key, value) in &defaults {
        let row = own.iter().chain(&shared).find(|row| row.0 == *key);
        assert_eq!(row.map(|row| &row.1), Some(value), "{key}");
    }
    for (key, _, variable) in &own {
        assert_eq!(*variable, format!("ROOMCAST__{}", key.to_uppercase().replace('.', "__")));
    }
}
