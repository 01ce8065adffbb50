//! The keys that tokens are checked with: read from a file or a URL, and read again.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::jwt::Tokens;

/// Pause after a reading before the next one, whatever asks for it.
const PAUSE: Duration = Duration::from_secs(5);

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A JWK set has a few keys of some hundred bytes.
const BYTES_MAX: usize = 1024 * 1024;

/// Reads the keys and takes them.
///
/// # Errors
/// In words: the file or the answer cannot be had or is no JWK set.
pub(crate) async fn load(tokens: &Tokens) -> Result<usize, String> {
    let config = tokens.config();
    let bytes = match (&config.jwks_file, &config.jwks_url) {
        (Some(file), _) => {
            tokio::fs::read(file).await.map_err(|error| format!("{}: {error}", file.display()))?
        }
        (None, Some(url)) => timeout(PATIENCE, fetch(url))
            .await
            .map_err(|_| format!("no answer within {PATIENCE:?}"))?
            .map_err(|error| error.to_string())?,
        (None, None) => return Err("neither jwks_file nor jwks_url is set".into()),
    };
    tokens.renew(&bytes)
}

/// Reads the keys for ever: at first, every `jwks_refresh_s`, and soon after a token has named an unknown one.
pub(crate) async fn keep(tokens: &Tokens) {
    let refresh = Duration::from_secs(u64::from(tokens.config().jwks_refresh_s.get())).max(PAUSE);
    loop {
        let pause = match load(tokens).await {
            Ok(keys) => {
                telemetry::emit(&telemetry::JwksLoaded { keys });
                refresh
            }
            Err(error) => {
                telemetry::emit(&telemetry::JwksRefused { error });
                PAUSE
            }
        };
        // Not at once: strangers may make up the names of keys.
        sleep(PAUSE).await;
        timeout(pause - PAUSE, tokens.unknown_key.notified()).await.ok();
    }
}

/// Whether keys may be fetched from `url`.
///
/// # Errors
/// In words: what is allowed.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    let allowed = || "allowed: https://host/path, or http:// on a loopback address".to_owned();
    let uri: Uri = url.parse().map_err(|_| allowed())?;
    let is_loopback = uri.host().is_some_and(is_loopback);
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => Ok(()),
        (Some("http"), Some(_)) if is_loopback => Ok(()),
        _ => Err(allowed()),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn fetch(url: &str) -> io::Result<Vec<u8>> {
    let uri: Uri = url.parse().map_err(io::Error::other)?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    if !is_tls {
        return get(stream, &uri).await;
    }
    let mut roots = RootCertStore::empty();
    // Those that cannot be read are other authorities than the one that is looked for, or the handshake tells.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    get(TlsConnector::from(Arc::new(config)).connect(name, stream).await?, &uri).await
}

async fn get(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, uri: &Uri) -> io::Result<Vec<u8>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(io::Error::other)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        if answer.status() != StatusCode::OK {
            return Err(io::Error::other(format!("the answer has status {}", answer.status())));
        }
        let body = Limited::new(answer.into_body(), BYTES_MAX).collect().await.map_err(io::Error::other)?;
        Ok(body.to_bytes().to_vec())
    };
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It may have ended behind the answer, which is here then; else that knows why there is none.
        _ = connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_the_same_machine() {
        for (url, allowed) in [
            ("https://id.example.com/jwks.json", true),
            ("http://127.0.0.1:8080/jwks", true),
            ("http://[::1]/jwks", true),
            ("http://localhost/jwks", true),
            ("http://id.example.com/jwks.json", false),
            ("file:///etc/jwks", false),
            ("id.example.com", false),
            ("", false),
        ] {
            assert_eq!(check_url(url).is_ok(), allowed, "{url}");
        }
    }
}
