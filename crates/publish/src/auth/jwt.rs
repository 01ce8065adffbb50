//! JSON Web Tokens: which are good, and whom they name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::config::JwtConfig;
use super::identity::{Caller, Identity};
use super::keys::Keys;
use super::rights::RightsConfig;
use super::verifiers;

/// Identities that tokens with rights of their own have brought and that are remembered, so that their rates hold
/// from token to token. At that many, those without an open call are forgotten.
const IDENTITIES_MAX: usize = 10_000;

/// Keys that one signature is tried against, when a token does not say which is its.
const KEYS_TRIED_MAX: usize = 8;

/// Bytes of a shared secret below which guessing it is no fiction. Source: RFC 7518, 3.2.
const SECRET_BYTES_MIN: usize = 32;

/// Checks tokens against the keys read last.
#[derive(Debug)]
pub(crate) struct Tokens {
    config: JwtConfig,
    // Guards the keys against their renewal; read once per token, for a reference count.
    keys: RwLock<Arc<[Key]>>,
    // Guards the identities that tokens have brought; held for a look-up.
    identities: Mutex<HashMap<(String, String), Arc<Identity>>>,
    /// A token has named a key that is not known: the issuer may have a new one.
    pub(crate) unknown_key: Notify,
}

struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:?})", self.id)
    }
}

/// Why a token is not taken. Told to its sender, who can read the token anyway.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenFault {
    #[error("the token is refused: {0}")]
    Refused(#[from] jsonwebtoken::errors::Error),
    #[error("the token is signed with an algorithm that is not allowed here")]
    Algorithm,
    #[error("the token is signed with a key that is not known here")]
    Key,
    #[error("the token has critical headers that are not known here")]
    Critical,
    #[error("the token has no text in its claim {0}")]
    Identity(String),
    #[error("the token's claim {0} holds no rights that can be read")]
    Rights(String),
    #[error("the token has no claim {0}, and no entry has its identity as subject")]
    NoRights(String),
    #[error("too many identities have calls open")]
    TooManyIdentities,
}

impl Tokens {
    pub(crate) fn new(config: JwtConfig) -> Self {
        verifiers::install();
        Self {
            config,
            keys: RwLock::new(Arc::new([])),
            identities: Mutex::default(),
            unknown_key: Notify::new(),
        }
    }

    pub(crate) fn config(&self) -> &JwtConfig {
        &self.config
    }

    /// Takes the keys of a JWK set that can be used; gives back how many there are.
    ///
    /// # Errors
    /// In words: it is none.
    pub(crate) fn renew(&self, jwks: &[u8]) -> Result<usize, String> {
        let set: JwkSet = serde_json::from_slice(jwks)
            .map_err(|error| format!("no JWK set: line {}, column {}", error.line(), error.column()))?;
        let keys: Arc<[Key]> = set.keys.iter().filter_map(|jwk| self.usable(jwk)).collect();
        let count = keys.len();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(count)
    }

    fn usable(&self, jwk: &jsonwebtoken::jwk::Jwk) -> Option<Key> {
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let algorithm = match jwk.common.key_algorithm {
            Some(algorithm) => Some(algorithm.to_string().parse().ok()?),
            None => None,
        };
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let is_short = matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_))
            && key.try_get_as_bytes().is_ok_and(|secret| secret.len() < SECRET_BYTES_MIN);
        let fits = |allowed: &Algorithm| {
            allowed.family() == key.family() && algorithm.is_none_or(|algorithm| algorithm == *allowed)
        };
        let is_usable = !is_short && self.config.algorithms.iter().any(fits);
        is_usable.then(|| Key { id: jwk.common.key_id.clone(), algorithm, key })
    }

    /// The caller that a token names, with the rights of its claim or, without that, of the entry in `entries`.
    ///
    /// # Errors
    /// [`TokenFault`] if the token is not good, or says nothing about rights and no entry does.
    pub(crate) fn caller(&self, token: &str, entries: &Keys) -> Result<Caller, TokenFault> {
        let claims = self.claims(token)?;
        let config = &self.config;
        let name = claims.get(&config.identity_claim).and_then(Value::as_str).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| TokenFault::Identity(config.identity_claim.clone()))?;
        let identity = match claims.get(&config.rights_claim) {
            Some(rights) => self.identity(name, rights)?,
            None => {
                entries.of_subject(name).ok_or_else(|| TokenFault::NoRights(config.rights_claim.clone()))?
            }
        };
        let expires = claims.get("exp").and_then(Value::as_f64).map(|at| {
            let leeway = Duration::from_secs(config.leeway_s.into());
            let since_1970 = Duration::try_from_secs_f64(at.max(0.0)).unwrap_or_default();
            UNIX_EPOCH.checked_add(since_1970 + leeway).unwrap_or(SystemTime::UNIX_EPOCH)
        });
        Ok(Caller { identity, expires })
    }

    fn claims(&self, token: &str) -> Result<Map<String, Value>, TokenFault> {
        let header = decode_header(token)?;
        let config = &self.config;
        if !config.algorithms.contains(&header.alg) {
            return Err(TokenFault::Algorithm);
        }
        if header.crit.is_some() {
            return Err(TokenFault::Critical);
        }
        let mut validation = Validation::new(header.alg);
        validation.leeway = config.leeway_s.into();
        validation.validate_nbf = true;
        validation.set_audience(&[&config.audience]);
        validation.set_issuer(&[&config.issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss"]);

        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let may_be = |key: &&Key| {
            key.key.family() == header.alg.family()
                && key.algorithm.is_none_or(|algorithm| algorithm == header.alg)
                && (header.kid.is_none() || key.id == header.kid)
        };
        let mut fault = TokenFault::Key;
        for key in keys.iter().filter(may_be).take(KEYS_TRIED_MAX) {
            match decode::<Map<String, Value>>(token, &key.key, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) => fault = error.into(),
            }
        }
        if matches!(fault, TokenFault::Key) {
            self.unknown_key.notify_one();
        }
        Err(fault)
    }

    fn identity(&self, name: &str, rights: &Value) -> Result<Arc<Identity>, TokenFault> {
        let parsed: RightsConfig = serde_json::from_value(rights.clone())
            .map_err(|_| TokenFault::Rights(self.config.rights_claim.clone()))?;
        let key = (name.to_owned(), rights.to_string());
        let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(identity) = identities.get(&key) {
            return Ok(identity.clone());
        }
        if identities.len() >= IDENTITIES_MAX {
            identities.retain(|_, identity| Arc::strong_count(identity) > 1);
        }
        if identities.len() >= IDENTITIES_MAX {
            return Err(TokenFault::TooManyIdentities);
        }
        let identity = Arc::new(Identity::new(name, &parsed));
        identities.insert(key, identity.clone());
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::rand::SystemRandom;
    use ring::rsa::PublicKeyComponents;
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
        RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    };
    use serde_json::json;

    use super::*;

    const SECRET: &[u8; 32] = b"a secret of thirty-two bytes ...";

    /// Made for these tests: the library can make no such key itself.
    const RSA: &[u8] = include_bytes!("testdata/rsa.pk8");

    struct Issuer {
        rsa: RsaKeyPair,
        p256: EcdsaKeyPair,
        ed25519: Ed25519KeyPair,
        random: SystemRandom,
    }

    impl Issuer {
        fn new() -> Self {
            let random = SystemRandom::new();
            let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            let p256 =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, p256.as_ref(), &random).unwrap();
            let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
            let rsa = RsaKeyPair::from_pkcs8(RSA).unwrap();
            Self { rsa, p256, ed25519: Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).unwrap(), random }
        }

        fn jwks(&self) -> String {
            let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let point = self.p256.public_key().as_ref();
            let rsa = PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
            json!({"keys": [
                {"kty": "RSA", "kid": "rs", "n": text(&rsa.n),
                 "e": text(&rsa.e)},
                {"kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256", "use": "sig",
                 "x": text(&point[1..33]), "y": text(&point[33..])},
                {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": text(self.ed25519.public_key().as_ref())},
                {"kty": "oct", "kid": "hs", "k": text(SECRET)},
                {"kty": "oct", "kid": "short", "k": text(b"guessable")},
                {"kty": "EC", "crv": "P-256", "kid": "enc", "use": "enc",
                 "x": text(&point[1..33]), "y": text(&point[33..])},
            ]})
            .to_string()
        }

        fn token(&self, header: &Value, claims: &Value) -> String {
            let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let message = format!("{}.{}", text(header), text(claims));
            let bytes = message.as_bytes();
            let signature = match header["alg"].as_str().unwrap() {
                "ES256" => self.p256.sign(&self.random, bytes).unwrap().as_ref().to_vec(),
                "RS256" => self.rsa_signature(&RSA_PKCS1_SHA256, bytes),
                "PS256" => self.rsa_signature(&RSA_PSS_SHA256, bytes),
                "EdDSA" => self.ed25519.sign(bytes).as_ref().to_vec(),
                "HS256" => {
                    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET);
                    ring::hmac::sign(&key, bytes).as_ref().to_vec()
                }
                _ => Vec::new(),
            };
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
        }

        fn rsa_signature(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(encoding, &self.random, message, &mut signature).unwrap();
            signature
        }
    }

    fn tokens(issuer: &Issuer, algorithms: &[Algorithm]) -> Tokens {
        let tokens = Tokens::new(JwtConfig {
            algorithms: algorithms.to_vec(),
            jwks_file: None,
            jwks_url: None,
            jwks_refresh_s: std::num::NonZeroU32::MIN,
            audience: "roomcast".into(),
            issuer: "https://id.test".into(),
            leeway_s: 30,
            identity_claim: "sub".into(),
            rights_claim: "roomcast".into(),
        });
        tokens.renew(issuer.jwks().as_bytes()).unwrap();
        tokens
    }

    fn now() -> u64 {
        jsonwebtoken::get_current_timestamp()
    }

    /// Claims that are good, with `changes` on top; a `null` takes a claim out.
    fn claims(changes: Value) -> Value {
        let mut claims = json!({"sub": "orders", "aud": "roomcast", "iss": "https://id.test", "exp": now() + 60,
            "roomcast": {"namespaces": ["/"], "rooms": ["order:*"], "operations": ["publish"]}});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    #[test]
    fn good_tokens_of_each_allowed_algorithm_name_their_identity() {
        let issuer = Issuer::new();
        let algorithms = [
            (Algorithm::RS256, "rs"),
            (Algorithm::PS256, "rs"),
            (Algorithm::ES256, "ec"),
            (Algorithm::EdDSA, "ed"),
            (Algorithm::HS256, "hs"),
        ];
        for (algorithm, kid) in algorithms {
            let tokens = tokens(&issuer, &algorithms.map(|(algorithm, _)| algorithm));
            for header in [json!({"alg": algorithm, "kid": kid}), json!({"alg": algorithm})] {
                let token = issuer.token(&header, &claims(json!({})));
                let caller = tokens.caller(&token, &Keys::default()).unwrap();
                assert_eq!(caller.identity.name, "orders");
                assert!(caller.expires.unwrap() > SystemTime::now());
            }
        }
    }

    #[test]
    fn tokens_that_are_not_good_are_refused() {
        let issuer = Issuer::new();
        let tokens = tokens(&issuer, &[Algorithm::ES256]);
        let es256 = json!({"alg": "ES256", "kid": "ec"});
        let check = |header: &Value, changes: Value| {
            let token = issuer.token(header, &claims(changes));
            tokens.caller(&token, &Keys::default()).err().map(|fault| fault.to_string())
        };
        assert_eq!(check(&es256, json!({})), None);
        for changes in [
            json!({"exp": now() - 31}),
            json!({"exp": null}),
            json!({"exp": "soon"}),
            json!({"nbf": now() + 60}),
            json!({"aud": "others"}),
            json!({"aud": null}),
            json!({"iss": "https://evil.test"}),
            json!({"iss": null}),
            json!({"sub": null}),
            json!({"sub": 7}),
            json!({"roomcast": null}),
            json!({"roomcast": {"operations": ["fly"]}}),
            json!({"roomcast": {"superuser": true}}),
        ] {
            assert!(check(&es256, changes.clone()).is_some(), "{changes}");
        }
        for header in [
            json!({"alg": "none"}),
            json!({"alg": "HS256", "kid": "hs"}),
            json!({"alg": "EdDSA", "kid": "ed"}),
            json!({"alg": "ES256", "kid": "unknown"}),
            json!({"alg": "ES256", "kid": "enc"}),
            json!({"alg": "ES256", "kid": "ec", "crit": ["b64"]}),
        ] {
            assert!(check(&header, json!({})).is_some(), "{header}");
        }
        // A few seconds late are the difference between two clocks.
        assert_eq!(check(&es256, json!({"exp": now() - 20})), None);
    }

    #[test]
    fn a_changed_token_is_refused_and_no_text_panics() {
        let issuer = Issuer::new();
        let tokens = tokens(&issuer, &[Algorithm::ES256]);
        let token = issuer.token(&json!({"alg": "ES256"}), &claims(json!({})));
        for at in (0..token.len()).step_by(7) {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(tokens.caller(&changed, &Keys::default()).is_err(), "byte {at}");
        }
        for text in ["", ".", "..", "...", "a.b.c", "é.é.é"] {
            assert!(tokens.caller(text, &Keys::default()).is_err());
        }
    }

    #[test]
    fn only_keys_that_can_be_used_are_taken() {
        let issuer = Issuer::new();
        let usable = |algorithms: &[Algorithm]| tokens(&issuer, algorithms).renew(issuer.jwks().as_bytes());
        assert_eq!(usable(&[Algorithm::ES256]), Ok(1));
        assert_eq!(usable(&[Algorithm::HS256]), Ok(1));
        assert_eq!(usable(&[Algorithm::ES256, Algorithm::EdDSA, Algorithm::HS256]), Ok(3));
        assert_eq!(usable(&[Algorithm::ES384]), Ok(0));
        let tokens = tokens(&issuer, &[Algorithm::ES256]);
        assert_eq!(tokens.renew(b"{\"keys\": \"secret\"}").unwrap_err(), "no JWK set: line 1, column 17");
    }

    #[test]
    fn one_identity_has_one_rate_whatever_token_it_shows() {
        let issuer = Issuer::new();
        let tokens = tokens(&issuer, &[Algorithm::ES256]);
        let identity = |changes: Value| {
            let token = issuer.token(&json!({"alg": "ES256"}), &claims(changes));
            tokens.caller(&token, &Keys::default()).unwrap().identity
        };
        assert!(Arc::ptr_eq(&identity(json!({})), &identity(json!({"exp": now() + 99}))));
        assert!(!Arc::ptr_eq(&identity(json!({})), &identity(json!({"sub": "other"}))));
    }
}
