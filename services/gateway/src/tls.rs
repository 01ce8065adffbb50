//! TLS of the client port, with certificates that are read again when their files change.

use std::{
    io,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{config::TlsConfig, tasks::TaskSocket};

/// How often the files are looked at.
const RELOAD_PAUSE: Duration = Duration::from_secs(2);

/// Accepts TLS connections. Connections keep the certificate that they began with.
#[derive(Clone)]
pub(crate) struct Tls {
    files: TlsConfig,
    // Guards the configuration against its reload; read once per connection, for a reference count.
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

/// The certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("{file} is no PEM file with what it should hold: {source}")]
    Pem { file: String, source: rustls::pki_types::pem::Error },
    #[error("client.tls.cert_file and client.tls.key_file do not go together: {0}")]
    Pair(#[from] rustls::Error),
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// [`TlsError`], with the file or the pair that is at fault.
    pub(crate) fn read(files: &TlsConfig) -> Result<Self, TlsError> {
        let config = server_config(files)?;
        Ok(Self { files: files.clone(), current: Arc::new(RwLock::new(Arc::new(config))) })
    }

    /// Does the TLS handshake.
    ///
    /// # Errors
    /// When the client's part of it fails.
    pub(crate) async fn accept(&self, stream: TaskSocket) -> io::Result<TlsStream<TaskSocket>> {
        let config = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        TlsAcceptor::from(config).accept(stream).await
    }

    /// Reads the files again whenever one of them has changed, for ever. Files that cannot be used are
    /// reported, and the certificate in use stays.
    pub(crate) async fn follow_changes(self) {
        let mut known = self.modified();
        loop {
            tokio::time::sleep(RELOAD_PAUSE).await;
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

    fn modified(&self) -> [Option<SystemTime>; 2] {
        let of = |file: &Path| file.metadata().and_then(|metadata| metadata.modified()).ok();
        [of(&self.files.cert_file), of(&self.files.key_file)]
    }
}

fn server_config(files: &TlsConfig) -> Result<ServerConfig, TlsError> {
    let pem = |file: &Path| {
        let file = file.display().to_string();
        move |source| TlsError::Pem { file, source }
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.cert_file)
        .and_then(Iterator::collect)
        .map_err(pem(&files.cert_file))?;
    let key = PrivateKeyDer::from_pem_file(&files.key_file).map_err(pem(&files.key_file))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
