//! Who calls: keys, passwords, tokens and certificates into an identity with its rights.

mod certificate;
mod config;
mod identity;
mod jwks;
mod jwt;
mod keys;
mod rate;
mod rights;
mod verifiers;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, header};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use telemetry::PublishRefusal;
use tokio::sync::Semaphore;
use tonic::Status;

pub use config::{AuthConfig, JwtConfig, ServerTlsConfig};
pub(crate) use identity::{Caller, InFlight};
pub use keys::{KeysFault, hash_line, new_key};
pub use rate::Rate;
pub use rights::{Operation, RightsConfig};

use crate::error::exhausted;
use jwt::Tokens;
use keys::Keys;

/// How often the file of identities is looked at.
const RELOAD_PAUSE: Duration = Duration::from_secs(2);

/// Calls that may wait while a password is checked. Each check takes its time on purpose, one after the other, so
/// that guessing neither fills the memory nor takes the processor from those who publish.
const PASSWORDS_WAITING_MAX: usize = 32;

/// When to come again if that many wait.
const PASSWORDS_RETRY: Duration = Duration::from_secs(1);

/// Knows the credentials of every identity.
#[derive(Clone, Debug)]
pub(crate) struct Authenticator(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    keys_file: Option<PathBuf>,
    // Guards the entries against their renewal; read once per call, for a reference count.
    keys: RwLock<Arc<Keys>>,
    tokens: Option<Tokens>,
    // Passwords that were right, by name: guards a small map, held for a look-up.
    passwords: Mutex<HashMap<String, [u8; 32]>>,
    /// Hashes of passwords are made with it, so that they are worth nothing elsewhere.
    pepper: [u8; 32],
    passwords_waiting: Semaphore,
    password_turn: Arc<Semaphore>,
}

/// What is wrong with a configuration of [`AuthConfig`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthFault {
    /// The key, from `auth` on: `keys_file`, `jwt.jwks_url`.
    pub key: &'static str,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

impl AuthConfig {
    /// Everything wrong with these values together and with the files they name.
    pub fn faults(&self) -> Vec<AuthFault> {
        let mut faults = Vec::new();
        let mut fault = |key, problem: String| faults.push(AuthFault { key, problem });
        if let Some(file) = &self.keys_file
            && let Err(error) = Keys::read(file, &Keys::default())
        {
            fault("keys_file", error.to_string());
        }
        let Some(jwt) = &self.jwt else { return faults };
        if jwt.algorithms.is_empty() {
            fault("jwt.algorithms", "allowed: one algorithm or more, such as ES256".into());
        }
        match (&jwt.jwks_file, &jwt.jwks_url) {
            (Some(file), None) => {
                let read =
                    std::fs::read(file).map_err(|error| format!("{error}; allowed: a file that can be read"));
                if let Err(problem) = read.and_then(|bytes| Tokens::new(jwt.clone()).renew(&bytes)) {
                    fault("jwt.jwks_file", problem);
                }
            }
            (None, Some(url)) => {
                if let Err(problem) = jwks::check_url(url) {
                    fault("jwt.jwks_url", problem);
                }
            }
            _ => fault("jwt", "allowed: one of jwks_file and jwks_url".into()),
        }
        for (key, text) in [("jwt.audience", &jwt.audience), ("jwt.issuer", &jwt.issuer)] {
            if text.is_empty() {
                fault(
                    key,
                    "allowed: a text that is not empty; tokens meant for others would be taken".into(),
                );
            }
        }
        faults
    }
}

impl Authenticator {
    /// Reads the entries; tokens are good only once [`Self::follow_changes`] has read their keys.
    pub(crate) fn read(config: &AuthConfig) -> Result<Self, KeysFault> {
        let keys = match &config.keys_file {
            Some(file) => Keys::read(file, &Keys::default())?,
            None => Keys::default(),
        };
        Ok(Self(Arc::new(Inner {
            keys_file: config.keys_file.clone(),
            keys: RwLock::new(Arc::new(keys)),
            tokens: config.jwt.clone().map(Tokens::new),
            passwords: Mutex::default(),
            pepper: rand::random(),
            passwords_waiting: Semaphore::new(PASSWORDS_WAITING_MAX),
            password_turn: Arc::new(Semaphore::new(1)),
        })))
    }

    /// Who sends these headers over a connection with these verified certificates. A header goes before a
    /// certificate.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without credentials or with wrong ones, in the same words for an unknown name and a wrong
    /// password; `RESOURCE_EXHAUSTED` while too many passwords are to be checked.
    pub(crate) async fn caller(
        &self,
        headers: &HeaderMap,
        certificates: Option<&[CertificateDer<'static>]>,
    ) -> Result<Caller, Status> {
        let caller = match headers.get(header::AUTHORIZATION) {
            Some(value) => match value.to_str().ok().and_then(bearer) {
                Some(credential) => self.of_credential(credential).await,
                None => {
                    Err(Status::unauthenticated("allowed: the header authorization: Bearer <key or token>"))
                }
            },
            None => self.of_certificates(certificates.unwrap_or_default()),
        };
        caller.inspect_err(|_| telemetry::publish_refused("", PublishRefusal::Unauthenticated))
    }

    async fn of_credential(&self, credential: &str) -> Result<Caller, Status> {
        let keys = self.keys();
        if let Some(identity) = keys.of_key(credential) {
            return Ok(Caller { identity, expires: None });
        }
        if let Some((name, password)) = credential.split_once(':') {
            return self.of_password(&keys, name, password).await;
        }
        match &self.0.tokens {
            Some(tokens) if credential.split('.').count() == 3 => {
                tokens.caller(credential, &keys).map_err(|fault| Status::unauthenticated(fault.to_string()))
            }
            _ => Err(wrong()),
        }
    }

    fn of_certificates(&self, certificates: &[CertificateDer<'static>]) -> Result<Caller, Status> {
        let Some(own) = certificates.first() else {
            let text = "no credentials: send the header authorization: Bearer <key or token>";
            return Err(Status::unauthenticated(text));
        };
        let identity = self.keys().of_certificate(&certificate::names(own));
        let unknown = || Status::unauthenticated("no entry has a name of this client certificate");
        Ok(Caller { identity: identity.ok_or_else(unknown)?, expires: None })
    }

    async fn of_password(&self, keys: &Keys, name: &str, password: &str) -> Result<Caller, Status> {
        let Some((hash, identity)) = keys.of_password(name) else { return Err(wrong()) };
        let inner = &self.0;
        let fast: [u8; 32] = Sha256::new()
            .chain_update(inner.pepper)
            .chain_update(&hash)
            .chain_update(password)
            .finalize()
            .into();
        let known = inner.passwords.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied();
        if known.is_some_and(|known| bool::from(known.ct_eq(&fast))) {
            return Ok(Caller { identity, expires: None });
        }
        let busy = || exhausted("too many passwords are being checked".into(), Some(PASSWORDS_RETRY));
        let _waiting = inner.passwords_waiting.try_acquire().map_err(|_| busy())?;
        let turn = inner.password_turn.clone().acquire_owned().await.map_err(|_| busy())?;
        let password = password.to_owned();
        let check = move || {
            // The turn ends with the check, also when the caller goes before.
            let _turn = turn;
            keys::is_password(&password, &hash)
        };
        if !tokio::task::spawn_blocking(check).await.unwrap_or(false) {
            return Err(wrong());
        }
        // At most as many as there are entries: only right ones get here.
        inner.passwords.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), fast);
        Ok(Caller { identity, expires: None })
    }

    fn keys(&self) -> Arc<Keys> {
        self.0.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads entries and keys again when they change, for ever.
    pub(crate) async fn follow_changes(&self) {
        let tokens = async {
            match &self.0.tokens {
                Some(tokens) => jwks::keep(tokens).await,
                None => std::future::pending().await,
            }
        };
        let entries = async {
            match &self.0.keys_file {
                Some(file) => self.follow_file(file).await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(tokens, entries);
    }

    async fn follow_file(&self, file: &Path) {
        // Read once more at the beginning: the file may have changed since it was read first.
        let mut known = None;
        loop {
            let modified = modified(file);
            if known != Some(modified) {
                match Keys::read(file, &self.keys()) {
                    Ok(keys) => {
                        if known.is_some() {
                            telemetry::emit(&telemetry::KeysReloaded { entries: keys.len() });
                        }
                        known = Some(modified);
                        self.replace(keys);
                    }
                    Err(error) => telemetry::emit(&telemetry::KeysRefused { error: error.to_string() }),
                }
            }
            tokio::time::sleep(RELOAD_PAUSE).await;
        }
    }

    fn replace(&self, keys: Keys) {
        let keys = Arc::new(keys);
        let mut current = self.0.keys.write().unwrap_or_else(PoisonError::into_inner);
        current.retire_all_but(&keys);
        *current = keys;
        self.0.passwords.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn wrong() -> Status {
    Status::unauthenticated("these credentials are not known here")
}

/// What follows `Bearer `, whose case does not matter. Source: RFC 9110, 11.1.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, credential) = value.split_once(' ')?;
    let credential = credential.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !credential.is_empty()).then_some(credential)
}

/// When the file changed last, and its length, for those who change it twice within one tick of the clock.
fn modified(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = file.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
