//! What an operator may set of authentication and TLS.

use std::num::NonZeroU32;
use std::path::PathBuf;

use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};

/// Who may call. Empty: nobody is asked, and whoever reaches the port may do everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Identities with their credentials and rights, TOML or YAML by its extension; read again when it changes.
    pub keys_file: Option<PathBuf>,
    /// JSON Web Tokens. Default: none are taken.
    pub jwt: Option<JwtConfig>,
}

impl AuthConfig {
    /// Whether callers are asked who they are.
    pub fn is_configured(&self) -> bool {
        self.keys_file.is_some() || self.jwt.is_some()
    }
}

/// Which tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// Algorithms that a token may be signed with: a token's own word is never enough.
    pub algorithms: Vec<Algorithm>,
    /// The keys as a JWK set. This or `jwks_url`.
    pub jwks_file: Option<PathBuf>,
    /// Where the keys are served, `https://…` or, on loopback, `http://…`.
    pub jwks_url: Option<String>,
    /// Pause between two readings of the keys, in s. Default 300.
    #[serde(default = "refresh_default")]
    pub jwks_refresh_s: NonZeroU32,
    /// A token must name this in `aud`.
    pub audience: String,
    /// A token must name this in `iss`.
    pub issuer: String,
    /// How far clocks may differ, in s. Default 30.
    #[serde(default = "leeway_default")]
    pub leeway_s: u32,
    /// The claim with the name of the identity. Default `sub`.
    #[serde(default = "identity_default")]
    pub identity_claim: String,
    /// The claim with the rights. A token without it has the rights of the entry of `keys_file` whose `subject` is
    /// the identity. Default `roomcast`.
    #[serde(default = "rights_default")]
    pub rights_claim: String,
}

fn refresh_default() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(299)
}

fn leeway_default() -> u32 {
    30
}

fn identity_default() -> String {
    "sub".into()
}

fn rights_default() -> String {
    "roomcast".into()
}

/// TLS of the port, with certificates that are read again when their files change.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTlsConfig {
    /// Certificate chain, PEM, the own one first.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
    /// Authorities whose client certificates are taken, PEM. Default: clients are not asked for one.
    pub client_ca_file: Option<PathBuf>,
}
