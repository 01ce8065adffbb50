//! TLS of the port, and client certificates as credentials.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use std::path::{Path, PathBuf};

use publish::{Access, AuthConfig, PublishConfig, ServerTlsConfig, serve_with};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use roomcast_proto::v1;
use roomcast_proto::v1::publisher_client::PublisherClient;
use support::{Recorder, numbered, within};
use tokio::net::TcpListener;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Status};

/// An authority that signs certificates for anyone.
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

    /// Certificate and key, PEM, with these names.
    fn sign(&self, dns: &str, common: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![dns.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

const ENTRIES: &str = r#"
[[keys]]
name = "by-name"
certificate = "DNS:orders.test"
namespaces = ["/"]
rooms = ["*"]
operations = ["publish"]

[[keys]]
name = "by-subject"
certificate = "CN:billing"
"#;

#[tokio::test]
async fn a_client_certificate_is_who_its_names_say_and_no_other_authority_signs_one() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (cert, key) = authority.sign("localhost", "server");
    let tls = ServerTlsConfig {
        cert_file: write(directory, "cert.pem", &cert),
        key_file: write(directory, "key.pem", &key),
        client_ca_file: Some(write(directory, "ca.pem", &authority.pem)),
    };
    let auth = AuthConfig { keys_file: Some(write(directory, "keys.toml", ENTRIES)), jwt: None };
    let access = Access::read(&auth, Some(&tls)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server =
        serve_with(listener, Recorder::new(), PublishConfig::default(), access, std::future::pending());
    tokio::spawn(server);

    let publish = async |identity: Option<(String, String)>| -> Result<(), Status> {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&authority.pem))
            .domain_name("localhost");
        if let Some((cert, key)) = identity {
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        let channel =
            Channel::from_shared(format!("https://127.0.0.1:{port}")).unwrap().tls_config(tls).unwrap();
        let mut client = PublisherClient::new(channel.connect_lazy());
        let request = v1::PublishRequest { message: Some(numbered(1)), ..v1::PublishRequest::default() };
        within(client.publish(request)).await.map(drop)
    };
    publish(Some(authority.sign("orders.test", "any"))).await.unwrap();
    // Known, without rights.
    let status = publish(Some(authority.sign("other.test", "billing"))).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().starts_with("identity by-subject may not publish"), "{status:?}");
    let status = publish(Some(authority.sign("other.test", "any"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let status = publish(None).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    // Its handshake fails.
    let status = publish(Some(stranger.sign("orders.test", "any"))).await.unwrap_err();
    assert_ne!(status.code(), Code::Ok);
    assert!(!matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied), "{status:?}");
}
