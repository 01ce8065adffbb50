//! Tokens whose keys come from a URL: keys that are changed there are good soon after, and those taken out are not.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use publish::{Access, AuthConfig, PublishConfig};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use roomcast_proto::v1;
use serde_json::json;
use support::{Recorder, Running, numbered, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::{Code, Request, Status};

/// How long a key may take to be known; its URL is read at most every five seconds.
const ROTATION: Duration = Duration::from_secs(30);

/// Who signs, with a key of its own name.
struct Issuer {
    kid: &'static str,
    key: Ed25519KeyPair,
}

impl Issuer {
    fn new(kid: &'static str) -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { kid, key: Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap() }
    }

    fn jwk(&self) -> serde_json::Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": x})
    }

    fn token(&self) -> String {
        let text = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({"sub": "orders", "aud": "roomcast", "iss": "https://id.test", "exp": now + 600,
            "roomcast": {"namespaces": ["/"], "rooms": ["*"], "operations": ["publish"]}});
        let message = format!("{}.{}", text(json!({"alg": "EdDSA", "kid": self.kid})), text(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }
}

/// A web server with the keys of the day, and how often it was asked.
struct Keys {
    address: SocketAddr,
    body: Arc<Mutex<String>>,
    asked: watch::Receiver<usize>,
}

impl Keys {
    async fn serve(issuers: &[&Issuer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let body = Arc::new(Mutex::new(set(issuers)));
        let (count, asked) = watch::channel(0);
        let served = body.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let bytes = stream.read(&mut request).await.unwrap();
                assert!(request[..bytes].starts_with(b"GET /keys.json HTTP/1.1\r\n"));
                let body = served.lock().unwrap().clone();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
                count.send_modify(|count| *count += 1);
            }
        });
        Self { address, body, asked }
    }

    fn rotate(&self, issuers: &[&Issuer]) {
        *self.body.lock().unwrap() = set(issuers);
    }
}

fn set(issuers: &[&Issuer]) -> String {
    let keys: Vec<_> = issuers.iter().map(|issuer| issuer.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

async fn publish(server: &Running, token: &str) -> Result<(), Status> {
    let mut request =
        Request::new(v1::PublishRequest { message: Some(numbered(1)), ..v1::PublishRequest::default() });
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    server.client.clone().publish(request).await.map(drop)
}

/// Tries again and again until the issuer's key is known.
async fn accepted(server: &Running, issuer: &Issuer) {
    while publish(server, &issuer.token()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn keys_of_a_url_are_taken_and_changed_ones_too_as_soon_as_a_token_names_them() {
    let (old, new, stranger) = (Issuer::new("2025"), Issuer::new("2026"), Issuer::new("2026"));
    let mut keys = Keys::serve(&[&old]).await;
    let jwt = format!(
        "algorithms = [\"EdDSA\"]\njwks_url = \"http://{}/keys.json\"\njwks_refresh_s = 3600\naudience = \"roomcast\"\n\
         issuer = \"https://id.test\"",
        keys.address
    );
    let auth = AuthConfig { keys_file: None, jwt: Some(toml::from_str(&jwt).unwrap()) };
    assert_eq!(auth.faults(), []);
    let access = Access::read(&auth, None).unwrap();
    let server = Running::start_with(Recorder::new(), PublishConfig::default(), access).await;
    within(keys.asked.wait_for(|asked| *asked == 1)).await.unwrap();
    within(accepted(&server, &old)).await;
    assert_eq!(publish(&server, &new.token()).await.unwrap_err().code(), Code::Unauthenticated);

    keys.rotate(&[&new]);
    tokio::time::timeout(ROTATION, accepted(&server, &new)).await.expect("the new key is not known");
    for token in [old.token(), stranger.token()] {
        assert_eq!(publish(&server, &token).await.unwrap_err().code(), Code::Unauthenticated);
    }
    assert!(*keys.asked.borrow() <= 3, "strangers cannot have the keys read at will");
}
