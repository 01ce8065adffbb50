//! The command line and the configuration, as an operator meets them.

use std::{
    fs::File,
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    time::Instant,
};

use crate::harness::{Ended, Gateway, Http, PATIENCE, Request, command, run};

fn gateway(args: &[&str]) -> Ended {
    run(command(args))
}

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().into()
}

const FAULTY: &str = r#"
[client]
listen = "nowhere"
pth = "/x"

[engine]
ping_interval_ms = 0
transports = []

[limits]
outbox_bytes = 10

[grpc]
listen = "0.0.0.0:50051"

[[namespaces]]
name = "chat"
auth = { tokens = ["short"] }
"#;

/// Keys that [`FAULTY`] has to be told of.
const FAULTS: [&str; 8] = [
    "client.listen",
    "client.pth",
    "engine.ping_interval_ms",
    "engine.transports",
    "limits.outbox_bytes",
    "grpc.listen",
    "namespaces[0].name",
    "namespaces[0].auth.tokens[0]",
];

#[test]
fn every_fault_is_told_at_once_and_ends_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "faulty.toml", FAULTY);
    for action in [&["check-config"][..], &["--check-config"], &["print-config"], &["--print-config"], &[]] {
        let ended = gateway(&[action, &["--config", &file]].concat());
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(2), ""), "{action:?}: {}", ended.stderr);
        let lines: Vec<_> = ended.stderr.lines().collect();
        for key in FAULTS {
            let told = lines.iter().filter(|line| line.starts_with(&format!("{file}: {key}"))).count();
            assert_eq!(told, 1, "{action:?}: {key} in\n{}", ended.stderr);
        }
        assert_eq!(lines.len(), FAULTS.len(), "{}", ended.stderr);
        assert!(!ended.stderr.contains("short"), "a token is shown: {}", ended.stderr);
    }
}

#[test]
fn faults_of_variables_flags_and_file_name_their_origin() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "faulty.yaml", "engine:\n  ping_timeout_ms: soon\n");
    let mut command = command(&["check-config", "--config", &file, "--set", "limits.connections=many"]);
    command.env("ROOMCAST__ENGINE__ALLOW_EIO3", "perhaps").env("ROOMCAST__CLIENT__PORT", "3000");
    let ended = run(command);
    assert_eq!(ended.code(), Some(2));
    for start in [
        format!("{file}: engine.ping_timeout_ms"),
        "--set limits.connections: limits.connections".into(),
        "ROOMCAST__ENGINE__ALLOW_EIO3: engine.allow_eio3".into(),
        "ROOMCAST__CLIENT__PORT: client.port".into(),
    ] {
        assert!(ended.stderr.lines().any(|line| line.starts_with(&start)), "{start} in\n{}", ended.stderr);
    }
}

#[test]
fn nothing_is_bound_while_the_configuration_is_checked_or_faulty() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("client.listen={}", taken.local_addr().unwrap());
    assert_eq!(gateway(&["check-config", "--set", &port]).code(), Some(0));
    assert_eq!(gateway(&["print-config", "--set", &port]).code(), Some(0));
    // The fault of the configuration is told, not that of the port.
    let ended = gateway(&["--set", &port, "--set", "engine.transports=[]"]);
    assert_eq!(ended.code(), Some(2));
    assert!(!ended.stderr.contains("cannot listen"), "{}", ended.stderr);
}

#[test]
fn a_printed_configuration_loads_again_to_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let keys = [
        "client.listen=127.0.0.1:3111",
        "engine.ping_interval_ms=123",
        r#"client.cors.origins=["https://a.example"]"#,
        "node.id=7",
    ];
    let sets: Vec<_> = keys.iter().flat_map(|key| ["--set", key]).collect();
    let first = gateway(&[&["print-config", "--dev"], &sets[..]].concat());
    assert_eq!(first.code(), Some(0), "{}", first.stderr);
    assert!(first.stdout.contains("ping_interval_ms = 123"), "{}", first.stdout);
    let file = write(directory.path(), "printed.toml", &first.stdout);
    let again = gateway(&["--print-config", "--config", &file]);
    assert_eq!(again.code(), Some(0), "{}", again.stderr);
    assert_eq!(again.stdout, first.stdout);
}

#[test]
fn flags_are_stronger_than_variables_and_those_than_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(
        directory.path(),
        "layers.toml",
        "[engine]\nping_interval_ms = 1\nping_timeout_ms = 1\nupgrade_timeout_ms = 1\n",
    );
    let mut command = command(&["print-config", "--config", &file, "--set", "engine.upgrade_timeout_ms=3"]);
    command.env("ROOMCAST__ENGINE__PING_TIMEOUT_MS", "2").env("ROOMCAST__ENGINE__UPGRADE_TIMEOUT_MS", "2");
    let printed = run(command).stdout;
    for line in ["ping_interval_ms = 1", "ping_timeout_ms = 2", "upgrade_timeout_ms = 3"] {
        assert!(printed.lines().any(|other| other == line), "{line} in\n{printed}");
    }
}

#[test]
fn a_port_in_use_is_told_with_its_key_and_ends_with_1() {
    for key in ["client.listen", "grpc.listen", "ops.listen"] {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let mut command = command(&["--dev"]);
        for other in ["client.listen", "grpc.listen", "ops.listen"] {
            let address = if key == other { address.to_string() } else { "127.0.0.1:0".into() };
            command.args(["--set", &format!("{other}={address}")]);
        }
        let ended = run(command);
        assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
        let text = format!("roomcast-gateway: cannot listen on {address} ({key}): ");
        assert!(ended.stderr.lines().any(|line| line.starts_with(&text)), "{text} in\n{}", ended.stderr);
    }
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_log_that_cannot_be_written_harms_nothing() {
    let ports = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let mut command = command(&["--dev"]);
    for (key, address) in ["client", "grpc", "ops"].iter().zip(&ports) {
        command.args(["--set", &format!("{key}.listen={address}")]);
    }
    let mut gateway = command.stderr(full()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let ready = || {
        let request = Request::get("/health/ready").close();
        TcpStream::connect(ports[2]).is_ok_and(|stream| Http::over(stream).send(&request).status == 200)
    };
    while !ready() {
        assert_eq!(gateway.try_wait().unwrap(), None);
        assert!(Instant::now() < deadline, "it is not ready");
    }
    let ended = Command::new("sh").args(["-c", &format!("kill -TERM {}", gateway.id())]).status().unwrap();
    assert!(ended.success());
    assert_eq!(gateway.wait().unwrap().code(), Some(0));
}

#[test]
fn an_output_that_cannot_be_written_ends_with_a_code_and_not_a_panic() {
    for action in ["check-config", "print-config"] {
        assert_eq!(
            command(&[action]).stdout(full()).stderr(full()).status().unwrap().code(),
            Some(1),
            "{action}"
        );
    }
    let faulty = command(&["check-config", "--set", "x=1"]).stderr(full()).status().unwrap();
    assert_eq!(faulty.code(), Some(2));
}

#[test]
fn two_gateways_do_not_share_a_port() {
    let first = Gateway::dev(&["client.shards=2"]);
    let mut command =
        command(&["--dev", "--set", "grpc.listen=127.0.0.1:0", "--set", "ops.listen=127.0.0.1:0"]);
    command.args(["--set", &format!("client.listen={}", first.client), "--set", "client.shards=2"]);
    let ended = run(command);
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("(client.listen)"), "{}", ended.stderr);
}

#[test]
fn without_configuration_nothing_is_open() {
    let gateway = Gateway::start(&[], &[]);
    let mut client = gateway.websocket();
    for (namespace, prefix) in [("/", ""), ("/chat", "/chat,"), ("/admin", "/admin,")] {
        client.send(&format!("40{prefix}"));
        assert_eq!(client.text(), format!("44{prefix}{{\"message\":\"Invalid namespace\"}}"), "{namespace}");
    }
    gateway.expect_metric("roomcast_connects_refused_total", &[("cause", "unknown_namespace")], 3.0);
    assert_eq!(gateway.get("/").status, 404);
    gateway.get("/socket.io/?EIO=3&transport=polling").assert_error(5, "Unsupported protocol version");
}

#[test]
fn guarded_ports_off_loopback_are_refused_with_what_to_set() {
    for (section, what) in [("grpc", "the publish API"), ("ops", "the operations port")] {
        let listen = format!("{section}.listen=0.0.0.0:0");
        let ended = gateway(&["--dev", "--set", &listen]);
        assert_eq!(ended.code(), Some(2), "{}", ended.stderr);
        for part in [
            format!("--set {section}.listen: {section}.listen = \"0.0.0.0:0\": not a loopback address"),
            format!("{what} has no authentication"),
            format!("{section}.insecure = true"),
            format!("ROOMCAST__{}__INSECURE=true", section.to_uppercase()),
        ] {
            assert!(ended.stderr.contains(&part), "{part} in\n{}", ended.stderr);
        }
        let insecure = format!("{section}.insecure=true");
        assert_eq!(gateway(&["check-config", "--set", &listen, "--set", &insecure]).code(), Some(0));
    }
}

#[test]
fn dev_opens_every_namespace_and_the_demo_page_on_loopback() {
    let gateway = Gateway::dev(&[]);
    let mut client = gateway.joined();
    client.join("/anything");
    let page = gateway.get("/");
    assert_eq!(
        (page.status, page.header("Content-Type").as_deref()),
        (200, Some("text/html; charset=utf-8"))
    );
    let printed = self::gateway(&["print-config", "--dev"]).stdout;
    assert!(printed.contains("listen = \"127.0.0.1:3000\""), "{printed}");
    assert!(!printed.contains("0.0.0.0"), "{printed}");
}

#[test]
fn wrong_arguments_and_missing_files_are_told() {
    let ended = gateway(&["--frobnicate"]);
    assert_eq!(ended.code(), Some(2));
    assert!(ended.stderr.contains("--frobnicate"), "{}", ended.stderr);
    let ended = gateway(&["check-config", "--config", "/nowhere/gateway.toml"]);
    assert_eq!(ended.code(), Some(2));
    assert!(ended.stderr.starts_with("/nowhere/gateway.toml: cannot be read"), "{}", ended.stderr);
    let help = gateway(&["--help"]);
    assert_eq!(help.code(), Some(0));
    for word in ["check-config", "print-config", "--dev", "--config", "--set"] {
        assert!(help.stdout.contains(word), "{word} in\n{}", help.stdout);
    }
}

#[test]
fn missing_certificates_are_faults_of_the_configuration() {
    let cert = "client.tls.cert_file=/nowhere/cert.pem";
    let ended = gateway(&["--dev", "--set", cert, "--set", "client.tls.key_file=/nowhere/key.pem"]);
    assert_eq!(ended.code(), Some(2), "{}", ended.stderr);
    for key in ["client.tls.cert_file", "client.tls.key_file"] {
        assert!(ended.stderr.contains(key), "{}", ended.stderr);
    }
}
