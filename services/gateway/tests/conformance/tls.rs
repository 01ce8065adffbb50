//! TLS on the port of the clients, and certificates that are replaced while it is open.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Gateway, Http, Request, WEBSOCKET, WebSocket, connect, message};

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A certificate for `localhost` that signs itself, and its key.
struct Identity {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key_pem: String,
}

impl Identity {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    /// A client that trusts this certificate and no other.
    fn client(&self, gateway: &Gateway) -> TlsStream {
        self.client_over(connect(gateway.client))
    }

    /// The same on a connection that something was sent on before.
    fn client_over(&self, stream: TcpStream) -> TlsStream {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(session, stream)
    }

    fn http(&self, gateway: &Gateway) -> Http<TlsStream> {
        Http::over(self.client(gateway))
    }

    /// Whether the gateway shows this certificate to new connections.
    fn is_shown(&self, gateway: &Gateway) -> bool {
        let mut stream = self.client(gateway);
        // The handshake happens with the first bytes.
        stream.write_all(b"\r\n").is_ok() && stream.flush().is_ok()
    }
}

/// The two files that the gateway reads.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new(identity: &Identity) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.replace(identity);
        files
    }

    fn cert(&self) -> PathBuf {
        self.directory.path().join("tls.crt")
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("tls.key")
    }

    fn replace(&self, identity: &Identity) {
        fs::write(self.key(), &identity.key_pem).unwrap();
        fs::write(self.cert(), &identity.certificate_pem).unwrap();
    }

    fn keys(&self) -> [String; 2] {
        let key = |name, path: PathBuf| format!("client.tls.{name}_file={}", path.display());
        [key("cert", self.cert()), key("key", self.key())]
    }

    fn gateway(&self, others: &[&str]) -> Gateway {
        let keys = self.keys();
        Gateway::dev(&[&[keys[0].as_str(), keys[1].as_str()], others].concat())
    }
}

fn open(identity: &Identity, gateway: &Gateway, target: &str) -> WebSocket<TlsStream> {
    WebSocket::open(identity.client(gateway), target)
}

#[test]
fn both_transports_and_the_upgrade_work_over_tls() {
    let identity = Identity::new();
    let files = Files::new(&identity);
    let gateway = files.gateway(&["client.shards=2"]);
    let mut publisher = gateway.publisher();

    let mut websocket = open(&identity, &gateway, WEBSOCKET);
    assert!(websocket.text().starts_with("0{"));
    websocket.join("/");

    let mut http = identity.http(&gateway);
    let answer = http.send(&Request::get("/socket.io/?EIO=4&transport=polling"));
    let open_packet: Value = serde_json::from_str(answer.text().strip_prefix('0').unwrap()).unwrap();
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={}", open_packet["sid"].as_str().unwrap());
    assert_eq!(http.send(&Request::post(&target, "40")).text(), "ok");
    assert!(http.send(&Request::get(&target)).text().starts_with("40{"));
    http.write(&Request::get(&target).bytes());

    // Large enough for several records.
    let payload = "x".repeat(100_000);
    publisher.publish(message(&[], "n", &format!("[\"{payload}\"]")));
    let event = format!("42[\"n\",\"{payload}\"]");
    assert!(http.answer().text() == event && websocket.text() == event);

    // The upgrade arrives on a connection of its own, perhaps at another shard.
    for _ in 0..8 {
        let answer =
            identity.http(&gateway).send(&Request::get("/socket.io/?EIO=4&transport=polling").close());
        let open_packet: Value = serde_json::from_str(&answer.text()[1..]).unwrap();
        let target = format!("{WEBSOCKET}&sid={}", open_packet["sid"].as_str().unwrap());
        let mut upgraded = open(&identity, &gateway, &target);
        upgraded.send("2probe");
        assert_eq!(upgraded.text(), "3probe");
        upgraded.send("5");
        upgraded.join("/");
        upgraded.assert_alive();
        let echoed = format!("[\"{}\"]", "y".repeat(200_000));
        assert_eq!(upgraded.ask(1, &echoed), "[{\"status\":\"ok\"}]");
    }
    gateway.expect_metric("roomcast_upgrades_total", &[], 8.0);
}

#[test]
fn replaced_certificates_are_shown_to_new_connections_and_old_ones_live_on() {
    let (old, new) = (Identity::new(), Identity::new());
    let files = Files::new(&old);
    let mut gateway = files.gateway(&[]);
    let mut websocket = open(&old, &gateway, WEBSOCKET);
    assert!(websocket.text().starts_with("0{"));
    websocket.join("/");
    assert!(!new.is_shown(&gateway));

    fs::write(files.cert(), "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n").unwrap();
    let line = gateway.log_line(|line| line["kind"] == "certificate_refused");
    assert!(line["error"].as_str().unwrap().contains("client.tls.cert_file"), "{line}");
    assert!(old.is_shown(&gateway), "the old certificate stays in use");

    files.replace(&new);
    gateway.log_line(|line| line["kind"] == "certificate_reloaded");
    assert!(new.is_shown(&gateway) && !old.is_shown(&gateway));
    websocket.assert_alive();
    assert_eq!(websocket.ask(0, "[\"join\",\"room\"]"), "[{\"status\":\"ok\"}]");
    let mut other = open(&new, &gateway, WEBSOCKET);
    assert!(other.text().starts_with("0{"));
    other.join("/");
    other.send("42[\"join\",\"room\"]");
    other.send("42[\"hello\"]");
    assert_eq!(websocket.text(), "42[\"hello\"]");
    gateway.assert_unharmed();
}

#[test]
fn a_certificate_without_its_key_keeps_the_gateway_from_starting() {
    let (one, two) = (Identity::new(), Identity::new());
    let files = Files::new(&one);
    fs::write(files.key(), &two.key_pem).unwrap();
    let mut command = crate::harness::command(&["--dev"]);
    for key in files.keys().iter().map(String::as_str).chain(["client.listen=127.0.0.1:0"]) {
        command.args(["--set", key]);
    }
    command.args(["--set", "grpc.enabled=false", "--set", "ops.enabled=false"]);
    let ended = crate::harness::run(command);
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("client.tls.key_file do not go together"), "{}", ended.stderr);
}

#[test]
fn connections_without_tls_are_told_nothing_and_harm_nobody() {
    let identity = Identity::new();
    let files = Files::new(&identity);
    let mut gateway = files.gateway(&["limits.request_timeout_ms=300"]);
    let mut plain = gateway.http();
    plain.write(&Request::get("/socket.io/?EIO=4&transport=polling").bytes());
    assert!(!plain.rest().starts_with(b"HTTP/"));
    gateway.log_line(|line| line["kind"] == "tls_failed");

    let since = Instant::now();
    assert_eq!(gateway.http().rest(), b"", "a handshake that does not begin ends in time");
    assert!(since.elapsed() >= Duration::from_millis(250));
    // A handshake that stops half-way.
    let mut half = gateway.http();
    half.write(&[0x16, 0x03, 0x01, 0x02, 0x00]);
    half.rest();

    let answer = identity.http(&gateway).send(&Request::get("/socket.io/?EIO=4&transport=polling"));
    assert_eq!(answer.status, 200);
    gateway.assert_unharmed();
}

#[test]
fn a_closed_websocket_says_goodbye_over_tls() {
    let identity = Identity::new();
    let gateway = Files::new(&identity).gateway(&[]);
    let mut websocket = open(&identity, &gateway, WEBSOCKET);
    assert!(websocket.text().starts_with("0{"));
    websocket.send_binary(b"x");
    assert_eq!(websocket.closed(), None, "a packet that may not come is answered by a close frame");
    gateway.expect_metric("roomcast_connections", &[], 0.0);
}

#[test]
fn a_proxy_header_goes_in_front_of_tls() {
    let identity = Identity::new();
    let files = Files::new(&identity);
    let limit = "limits.connections_per_address=2";
    let gateway = files.gateway(&["client.trusted_proxies=127.0.0.1", "client.proxy_protocol=v1", limit]);
    let behind = |header: &str| {
        let mut stream = connect(gateway.client);
        stream.write_all(header.as_bytes()).unwrap();
        stream
    };
    let open = |address: &str| {
        let stream = behind(&format!("PROXY TCP4 {address} 10.0.0.1 50000 443\r\n"));
        let mut websocket = WebSocket::open(identity.client_over(stream), WEBSOCKET);
        assert!(websocket.text().starts_with("0{"));
        websocket.join("/");
        websocket
    };
    let _held = [open("192.0.2.1"), open("192.0.2.1")];
    let addresses: Vec<_> =
        gateway.publisher().fetch("/").into_iter().map(|socket| socket.handshake.unwrap()).collect();
    assert!(addresses.iter().all(|handshake| handshake.address == "192.0.2.1" && handshake.secure));
    // The third is closed before it may speak; another address is not.
    let mut third = Http::over(behind("PROXY TCP4 192.0.2.1 10.0.0.1 50000 443\r\n"));
    assert_eq!(third.rest(), b"");
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "address_connections")], 1.0);
    drop(open("192.0.2.2"));
    // TLS without the header is no header.
    let mut bare = Http::over(connect(gateway.client));
    bare.write(b"\x16\x03\x01\x00\x10");
    assert_eq!(bare.rest(), b"");
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "proxy_header")], 1.0);
}

#[test]
fn a_tls_handshake_that_fails_or_does_not_end_is_closed_and_counted() {
    let identity = Identity::new();
    let files = Files::new(&identity);
    let gateway = files.gateway(&["limits.request_timeout_ms=300"]);
    let mut neighbour = open(&identity, &gateway, WEBSOCKET);
    assert!(neighbour.text().starts_with("0{"));
    let refused = |expected: f64| {
        gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "tls")], expected);
    };
    // Nothing, half of a record, and a record of which the handshake is only half.
    for (count, begun) in
        (1_u8..).zip([b"".as_slice(), b"\x16\x03", b"\x16\x03\x01\x00\x05\x01\x00\x01\x00\x03"])
    {
        let mut slow = Http::over(connect(gateway.client));
        slow.write(begun);
        slow.rest();
        refused(count.into());
    }
    for (count, noise) in
        (4_u8..).zip([b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0x16, 3, 1, 0xff, 0xff], &[0xff; 100]])
    {
        let mut noisy = Http::over(connect(gateway.client));
        noisy.write(noise);
        noisy.rest();
        refused(count.into());
    }
    gateway.log_line(|line| line["kind"] == "tls_failed");
    neighbour.assert_alive();
}
