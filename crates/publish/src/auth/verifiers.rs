//! Signatures of tokens, checked by ring: the one cryptographic library of this workspace.
//!
//! `jsonwebtoken` brings two of its own. One is denied in `deny.toml`, the other holds `rsa`, whose open advisory
//! (RUSTSEC-2023-0071) an audit would report.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error as SignatureError, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::{hmac, signature};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_: &Algorithm, _: &EncodingKey| -> Result<Box<dyn JwtSigner>> {
        Err(ErrorKind::UnsupportedAlgorithm.into())
    },
    verifier_factory: verifier,
    // Used only to make JWKs out of keys.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes ring the library that tokens are checked with, for the whole process.
pub(crate) fn install() {
    // An error means that it is so already.
    PROVIDER.install_default().ok();
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key: key.clone() }))
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), SignatureError> {
        self.check(message, signature).ok_or_else(SignatureError::new)
    }
}

impl RingVerifier {
    /// `None` if the signature is not that of the message.
    fn check(&self, message: &[u8], signature: &[u8]) -> Option<()> {
        let hmac = |algorithm| match self.key.kind() {
            DecodingKeyKind::SecretOrDer(secret) => {
                hmac::verify(&hmac::Key::new(algorithm, secret), message, signature).ok()
            }
            DecodingKeyKind::RsaModulusExponent { .. } => None,
        };
        let public = |algorithm: &'static dyn signature::VerificationAlgorithm| match self.key.kind() {
            DecodingKeyKind::SecretOrDer(key) => {
                signature::UnparsedPublicKey::new(algorithm, key).verify(message, signature).ok()
            }
            DecodingKeyKind::RsaModulusExponent { .. } => None,
        };
        let rsa = |parameters: &'static signature::RsaParameters| match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                signature::RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).ok()
            }
            DecodingKeyKind::SecretOrDer(key) => {
                signature::UnparsedPublicKey::new(parameters, key).verify(message, signature).ok()
            }
        };
        match self.algorithm {
            Algorithm::HS256 => hmac(hmac::HMAC_SHA256),
            Algorithm::HS384 => hmac(hmac::HMAC_SHA384),
            Algorithm::HS512 => hmac(hmac::HMAC_SHA512),
            Algorithm::ES256 => public(&signature::ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => public(&signature::ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => public(&signature::ED25519),
            Algorithm::RS256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
            _ => None,
        }
    }
}
