//! TLS of the port, with files that are read again when they change, and client certificates.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;

use crate::auth::ServerTlsConfig;

/// How often the files are looked at.
const RELOAD_PAUSE: Duration = Duration::from_secs(2);

/// How long a handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// Handshakes at once; more connections wait in the system's queue.
const HANDSHAKES_MAX: usize = 256;

/// Pause after a connection could not be accepted, most often for want of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that are through their handshake and not yet taken by the server.
const READY_MAX: usize = 16;

/// Accepts TLS connections. Connections keep the certificate that they began with.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    files: ServerTlsConfig,
    // Guards the configuration against its reload; read once per connection, for a reference count.
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

/// The certificate, its key or the authorities cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFault {
    /// A file is missing or is something else.
    #[error("{file} is no PEM file with what it should hold: {source}")]
    Pem {
        /// Which.
        file: String,
        /// Why.
        source: pem::Error,
    },
    /// The certificate and the key are not a pair.
    #[error("tls.cert_file and tls.key_file do not go together: {0}")]
    Pair(#[from] rustls::Error),
    /// The file of authorities holds none that can be used.
    #[error("tls.client_ca_file holds no authority that can be used: {0}")]
    Authorities(String),
}

impl Tls {
    /// Reads the files.
    pub(crate) fn read(files: &ServerTlsConfig) -> Result<Self, TlsFault> {
        let config = server_config(files)?;
        Ok(Self { files: files.clone(), current: Arc::new(RwLock::new(Arc::new(config))) })
    }

    /// The connections of `listener`, each once its handshake is done. One that is slow or fails holds up no other.
    pub(crate) fn incoming(&self, listener: TcpListener) -> ReceiverStream<io::Result<TlsStream<TcpStream>>> {
        let (ready, incoming) = mpsc::channel(READY_MAX);
        tokio::spawn(self.clone().accept(listener, ready));
        ReceiverStream::new(incoming)
    }

    async fn accept(self, listener: TcpListener, ready: mpsc::Sender<io::Result<TlsStream<TcpStream>>>) {
        let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        loop {
            let accepted = tokio::select! {
                () = ready.closed() => return,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    telemetry::emit(&telemetry::AcceptFailed { port: "grpc", error: error.to_string() });
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // The semaphore is never closed.
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let config = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
            let ready = ready.clone();
            tokio::spawn(async move {
                // Answers are small and callers wait for them; without it they are only later.
                stream.set_nodelay(true).ok();
                let handshake = timeout(HANDSHAKE_PATIENCE, TlsAcceptor::from(config).accept(stream)).await;
                drop(place);
                let failed = match handshake {
                    // An error means that the server stops.
                    Ok(Ok(stream)) => return ready.send(Ok(stream)).await.unwrap_or_default(),
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => format!("no handshake within {HANDSHAKE_PATIENCE:?}"),
                };
                telemetry::emit(&telemetry::TlsFailed { error: failed });
            });
        }
    }

    /// Reads the files again whenever one of them has changed, for ever. Files that cannot be used are reported,
    /// and those in use stay.
    pub(crate) async fn follow_changes(&self) {
        let mut known = self.modified();
        loop {
            sleep(RELOAD_PAUSE).await;
            let modified = self.modified();
            if modified == known {
                continue;
            }
            match server_config(&self.files) {
                Ok(config) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                    known = modified;
                    telemetry::emit(&telemetry::CertificateReloaded {});
                }
                // Files are often replaced one after the other: the next look may find a pair.
                Err(error) => telemetry::emit(&telemetry::CertificateRefused { error: error.to_string() }),
            }
        }
    }

    fn modified(&self) -> [Option<SystemTime>; 3] {
        let of = |file: &Path| file.metadata().and_then(|metadata| metadata.modified()).ok();
        let ServerTlsConfig { cert_file, key_file, client_ca_file } = &self.files;
        [of(cert_file), of(key_file), client_ca_file.as_deref().and_then(of)]
    }
}

fn server_config(files: &ServerTlsConfig) -> Result<ServerConfig, TlsFault> {
    let key =
        PrivateKeyDer::from_pem_file(&files.key_file).map_err(|source| pem_fault(&files.key_file, source))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match &files.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(file)? {
                roots.add(authority)?;
            }
            // Not every client needs one: keys and tokens are looked at call by call.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| TlsFault::Authorities(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(certificates(&files.cert_file)?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|source| pem_fault(file, source))
}

fn pem_fault(file: &Path, source: pem::Error) -> TlsFault {
    TlsFault::Pem { file: file.display().to_string(), source }
}
