//! TLS, credentials, and endpoints that are wrong.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Gateway, PATIENCE, binary, client};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use roomcast_client::{BuildError, Client, Error, Message, Retries};

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// An authority, PEM, and certificates with keys that it signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, dns: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![dns.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, dns);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A new key, and its entry, which may publish and nothing else.
fn generate_key(name: &str) -> (String, String) {
    let output = Command::new(binary()).args(["generate-key", name]).env_clear().output().unwrap();
    let entry = String::from_utf8(output.stdout).unwrap();
    let entry: Vec<_> = entry.lines().take(3).collect();
    let rights = "namespaces = [\"/\"]\nrooms = [\"open:*\"]\noperations = [\"publish\"]";
    let key = String::from_utf8(output.stderr).unwrap();
    (key.trim().to_owned(), format!("{}\n{rights}\n", entry.join("\n")))
}

#[tokio::test]
async fn a_key_opens_what_its_entry_grants_and_the_error_says_what_is_missing() {
    let (key, entry) = generate_key("orders");
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "keys.toml", &entry);
    let gateway = Gateway::start(&[&format!("grpc.auth.keys_file={file}")]);

    let granted = client(&gateway).bearer(&format!("{key}\n")).build().unwrap();
    granted.to("open:1").emit("news", &()).await.unwrap();
    let sent = granted.stream().send(Message::raw("news", "[]").to("open:2")).await.unwrap();
    sent.await.unwrap();
    let refused = granted.to("closed").emit("news", &()).await;
    assert!(matches!(&refused, Err(Error::PermissionDenied(text)) if text.contains("rooms")), "{refused:?}");
    let refused = granted.to("open:1").join(["open:2"]).await;
    assert!(matches!(refused, Err(Error::PermissionDenied(_))), "{refused:?}");

    let unknown = client(&gateway).bearer("rc_wrong").build().unwrap().to("open:1").emit("news", &()).await;
    assert!(matches!(unknown, Err(Error::Unauthenticated(_))), "{unknown:?}");
    let nobody = client(&gateway).build().unwrap();
    let sent = nobody.stream().send(Message::raw("news", "[]").to("open:1")).await.unwrap();
    let sent = sent.await;
    assert!(matches!(sent, Err(Error::Unauthenticated(_))), "{sent:?}");
    assert!(!format!("{granted:?}").contains(&key));
}

#[tokio::test]
async fn tokens_are_asked_for_before_every_call() {
    let (key, entry) = generate_key("orders");
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "keys.toml", &entry);
    let gateway = Gateway::start(&[&format!("grpc.auth.keys_file={file}")]);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let provider = move || {
        let nth = count.fetch_add(1, Ordering::Relaxed);
        let key = key.clone();
        async move { if nth < 2 { Ok(key) } else { Err("the vault is closed") } }
    };
    let client = client(&gateway).bearer_from(provider).build().unwrap();
    for _ in 0..2 {
        client.to("open:1").emit("news", &()).await.unwrap();
    }
    let refused = client.to("open:1").emit("news", &()).await.unwrap_err();
    assert_eq!(refused.to_string(), "no token: the vault is closed");
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn tls_trusts_the_given_authority_only_and_shows_the_client_certificate() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let entry = "[[keys]]\nname = \"orders\"\ncertificate = \"DNS:orders.test\"\nnamespaces = [\"/\"]\n\
                 rooms = [\"*\"]\noperations = [\"publish\"]\n";
    let (cert, key) = authority.sign("localhost");
    let file = |name, text| write(directory.path(), name, text);
    let gateway = Gateway::start(&[
        &format!("grpc.tls.cert_file={}", file("cert.pem", &cert)),
        &format!("grpc.tls.key_file={}", file("key.pem", &key)),
        &format!("grpc.tls.client_ca_file={}", file("ca.pem", &authority.pem)),
        &format!("grpc.auth.keys_file={}", file("keys.toml", entry)),
    ]);
    let secure = || {
        let builder = Client::builder(format!("https://{}", gateway.grpc)).tls_server_name("localhost");
        builder.deadline(Duration::from_secs(5)).without_retries()
    };
    let (cert, key) = authority.sign("orders.test");
    let known = secure().tls_ca(&authority.pem).tls_identity(&cert, &key).build().unwrap();
    known.to("lobby").emit("news", &()).await.unwrap();
    let nobody = secure().tls_ca(&authority.pem).build().unwrap().emit("news", &()).await;
    assert!(matches!(nobody, Err(Error::Unauthenticated(_))), "{nobody:?}");
    let untrusting = secure().tls_ca(&stranger.pem).build().unwrap().emit("news", &()).await;
    assert!(
        matches!(&untrusting, Err(Error::Unavailable(text)) if text.contains("invalid peer certificate")),
        "{untrusting:?}"
    );
    let other_name = secure().tls_ca(&authority.pem).tls_server_name("example.test").build().unwrap();
    let other_name = other_name.emit("news", &()).await;
    assert!(
        matches!(&other_name, Err(Error::Unavailable(text)) if text.contains("not valid for name")),
        "{other_name:?}"
    );
}

#[tokio::test]
async fn an_endpoint_that_nobody_listens_at_is_named_with_the_reason() {
    // Bound and not listening: no other process takes the port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap());
    let client = Client::builder(&endpoint).deadline(PATIENCE).without_retries().build().unwrap();
    let error = client.emit("news", &()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Unavailable(_)) && text.contains("refused"), "{text}");
    assert!(text.starts_with(&endpoint), "{text}");

    let retries = Retries { retries_max: 2, pause_first: Duration::from_millis(1), ..Retries::default() };
    let client = Client::builder(&endpoint).deadline(PATIENCE).retries(retries).build().unwrap();
    let text = client.emit("news", &()).await.unwrap_err().to_string();
    assert!(text.ends_with("(tried 3 times)"), "{text}");
}

#[tokio::test]
async fn what_is_no_endpoint_is_said_before_anything_is_connected() {
    let check = |endpoint: &str, expected: &str| {
        let error = Client::builder(endpoint).build().unwrap_err();
        assert!(error.to_string().contains(expected) && error.to_string().contains(endpoint), "{error}");
    };
    check("", "is no URL");
    check("localhost:50051", "begins neither with");
    check("redis://localhost:50051", "begins neither with");
    check("http://localhost:50051/v1/publish", "has a path");
    let unfit = Client::builder("http://localhost").bearer("two\nlines").build();
    assert!(matches!(unfit, Err(BuildError::Key)), "{unfit:?}");
    let unused = Client::builder("http://localhost").tls_ca("").build();
    assert!(matches!(unused, Err(BuildError::Tls(_))), "{unused:?}");
    let broken = Client::builder("https://localhost").tls_identity("no", "certificate").build();
    assert!(matches!(broken, Err(BuildError::Tls(_))), "{broken:?}");
}

#[test]
fn a_client_outside_of_a_runtime_is_an_error_and_no_panic() {
    assert!(matches!(Client::builder("http://localhost").build(), Err(BuildError::NoRuntime)));
}
