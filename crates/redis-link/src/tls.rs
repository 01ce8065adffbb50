//! TLS towards Redis, from files that are read at every connect.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use crate::{LinkFault, LinkTlsConfig};

/// What connects with the certificates of `config`.
///
/// # Errors
/// [`LinkFault::File`] with the key whose file cannot be used.
pub(crate) fn connector(config: &LinkTlsConfig) -> Result<TlsConnector, LinkFault> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| file_fault("redis.tls", Path::new(""), error))?;
    let builder = if config.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(roots(config)?)
    };
    let client = match (&config.cert_file, &config.key_file) {
        (Some(cert), Some(key)) => {
            let chain = certificates("redis.tls.cert_file", cert)?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| file_fault("redis.tls.key_file", key, error))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|error| file_fault("redis.tls.cert_file", cert, error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(client)))
}

fn roots(config: &LinkTlsConfig) -> Result<RootCertStore, LinkFault> {
    const KEY: &str = "redis.tls.ca_file";
    let mut roots = RootCertStore::empty();
    if let Some(file) = &config.ca_file {
        for certificate in certificates(KEY, file)? {
            roots.add(certificate).map_err(|error| file_fault(KEY, file, error))?;
        }
    } else {
        // Some systems carry certificates that are not understood; the others are enough.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let problem = "the system trusts no certificates; name those that signed Redis' own";
            return Err(file_fault(KEY, Path::new("(not set)"), problem));
        }
    }
    Ok(roots)
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, LinkFault> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(file_fault(key, file, "no certificate in it; allowed: a PEM file"))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(file_fault(key, file, error)),
    }
}

fn file_fault(key: &'static str, path: &Path, problem: impl ToString) -> LinkFault {
    LinkFault::File { key, path: path.to_owned(), problem: problem.to_string() }
}

/// For `insecure_skip_verify`: takes every certificate, but checks that its owner signed the handshake.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
