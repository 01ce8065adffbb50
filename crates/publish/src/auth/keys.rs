//! The file of identities: its entries, and which of them a credential belongs to.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use argon2::{Argon2, PasswordHash, PasswordHasher as _, PasswordVerifier as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use config::{Config, ConfigError, File, FileFormat};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::identity::Identity;
use super::rate::Rate;
use super::rights::{Operation, RightsConfig};

/// What generated keys begin with, so that scanners for leaked credentials know them.
const KEY_PREFIX: &str = "rc_";

/// One identity of the file, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    /// SHA-256 of a key with at least 128 bits of entropy, 64 hex digits.
    sha256: Option<String>,
    /// argon2id of a password, as a PHC string; it is presented as `name:password`.
    argon2: Option<String>,
    /// A name in a client certificate: `URI:…`, `DNS:…` or `CN:…`.
    certificate: Option<String>,
    /// The identity that a token without rights of its own names.
    subject: Option<String>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default)]
    rooms: Vec<String>,
    #[serde(default)]
    operations: Vec<Operation>,
    rate: Option<Rate>,
    calls_in_flight_max: Option<NonZeroU32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileOfKeys {
    #[serde(default)]
    keys: Vec<Entry>,
}

/// What proves an identity.
#[derive(Debug)]
enum Credential {
    Sha256([u8; 32]),
    Argon2(String),
    Certificate(String),
    Subject(String),
}

/// The identities of a file.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<(Entry, Credential, Arc<Identity>)>);

/// Why the file of identities cannot be used; never holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum KeysFault {
    /// It cannot be read.
    #[error("{0}; allowed: a file that can be read")]
    Unreadable(#[from] std::io::Error),
    /// Its name says nothing about its format.
    #[error("unknown format; allowed: a name that ends in .toml, .yaml or .yml")]
    Format,
    /// It is not TOML or YAML, or has other keys than entries have.
    #[error("{0}")]
    Text(String),
    /// An entry breaks a rule.
    #[error("keys[{index}] ({name}): {problem}")]
    Entry {
        /// Its place in the file, from 0.
        index: usize,
        /// Its name.
        name: String,
        /// What is wrong, and what is allowed.
        problem: &'static str,
    },
}

impl Keys {
    /// Reads a file of identities. Entries that are as they were keep what they have used of their limits.
    pub(crate) fn read(path: &Path, before: &Self) -> Result<Self, KeysFault> {
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => FileFormat::Toml,
            Some("yaml" | "yml") => FileFormat::Yaml,
            _ => return Err(KeysFault::Format),
        };
        Self::parse(&std::fs::read_to_string(path)?, format, before)
    }

    fn parse(text: &str, format: FileFormat, before: &Self) -> Result<Self, KeysFault> {
        let parsed = Config::builder().add_source(File::from_str(text, format)).build();
        let FileOfKeys { keys } =
            parsed.and_then(Config::try_deserialize).map_err(|error| KeysFault::Text(told(&error)))?;
        let mut names = HashSet::new();
        let mut entries = Vec::with_capacity(keys.len());
        for (index, entry) in keys.into_iter().enumerate() {
            let credential = credential(&entry)
                .and_then(|credential| match names.insert(entry.name.clone()) {
                    true => Ok(credential),
                    false => Err("another entry has this name; allowed: each name once"),
                })
                .map_err(|problem| KeysFault::Entry { index, name: entry.name.clone(), problem })?;
            let known = before.0.iter().find(|(other, ..)| *other == entry);
            let identity = match known {
                Some((_, _, identity)) => identity.clone(),
                None => Arc::new(Identity::new(&entry.name, &entry.rights())),
            };
            entries.push((entry, credential, identity));
        }
        Ok(Self(entries))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Ends the streams of identities that `self` has and `after` has not.
    pub(crate) fn retire_all_but(&self, after: &Self) {
        for (_, _, identity) in &self.0 {
            if !after.0.iter().any(|(_, _, kept)| Arc::ptr_eq(kept, identity)) {
                identity.retire();
            }
        }
    }

    /// Whose key this is. Every entry is compared, in constant time each: how long it takes tells nothing.
    pub(crate) fn of_key(&self, key: &str) -> Option<Arc<Identity>> {
        let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let mut found = None;
        for (_, credential, identity) in &self.0 {
            if let Credential::Sha256(expected) = credential
                && bool::from(expected.ct_eq(&hash))
            {
                found = Some(identity);
            }
        }
        found.cloned()
    }

    /// The argon2 hash and identity of the entry called `name`. Names are not secret.
    pub(crate) fn of_password(&self, name: &str) -> Option<(String, Arc<Identity>)> {
        self.0.iter().find_map(|(_, credential, identity)| match credential {
            Credential::Argon2(hash) if identity.name == name => Some((hash.clone(), identity.clone())),
            _ => None,
        })
    }

    /// Whose certificate names itself so; `names` are as in the file.
    pub(crate) fn of_certificate(&self, names: &[String]) -> Option<Arc<Identity>> {
        self.0.iter().find_map(|(_, credential, identity)| match credential {
            Credential::Certificate(name) if names.contains(name) => Some(identity.clone()),
            _ => None,
        })
    }

    /// The identity with the rights of a token's subject.
    pub(crate) fn of_subject(&self, subject: &str) -> Option<Arc<Identity>> {
        self.0.iter().find_map(|(_, credential, identity)| match credential {
            Credential::Subject(name) if name == subject => Some(identity.clone()),
            _ => None,
        })
    }
}

impl Entry {
    fn rights(&self) -> RightsConfig {
        RightsConfig {
            namespaces: self.namespaces.clone(),
            rooms: self.rooms.clone(),
            operations: self.operations.clone(),
            rate: self.rate,
            calls_in_flight_max: self.calls_in_flight_max,
        }
    }
}

fn credential(entry: &Entry) -> Result<Credential, &'static str> {
    const ONE: &str = "allowed: one of sha256, argon2, certificate and subject";
    if entry.name.is_empty() || entry.name.contains(|c: char| c == ':' || c.is_control()) {
        return Err("name: allowed: a name that is not empty and has no colon or control character");
    }
    match (&entry.sha256, &entry.argon2, &entry.certificate, &entry.subject) {
        (Some(hex), None, None, None) => sha256_of(hex)
            .map(Credential::Sha256)
            .ok_or("sha256: allowed: the SHA-256 of a key, 64 hex digits (roomcast-gateway generate-key)"),
        (None, Some(hash), None, None) => {
            let is_argon2id = PasswordHash::new(hash).is_ok() && hash.starts_with("$argon2id$");
            let problem =
                "argon2: allowed: an argon2id hash that begins with $argon2id$ (roomcast-gateway hash-key)";
            if is_argon2id { Ok(Credential::Argon2(hash.clone())) } else { Err(problem) }
        }
        (None, None, Some(name), None) => {
            let is_name =
                ["URI:", "DNS:", "CN:"].iter().any(|kind| name.len() > kind.len() && name.starts_with(kind));
            let problem = "certificate: allowed: URI:…, DNS:… or CN:… and a name in the client's certificate";
            if is_name { Ok(Credential::Certificate(name.clone())) } else { Err(problem) }
        }
        (None, None, None, Some(subject)) if !subject.is_empty() => Ok(Credential::Subject(subject.clone())),
        _ => Err(ONE),
    }
}

fn sha256_of(hex: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if hex.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    // `from_str_radix` takes a sign.
    hex.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(hash)
}

/// A parser's message without the lines it quotes, `3 | sha256 = …`.
fn told(error: &ConfigError) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains('|'));
    lines.collect::<Vec<_>>().join(": ")
}

/// Whether `password` is the one that `hash` was made from. Takes tens of milliseconds and 19 MiB, on purpose.
pub(crate) fn is_password(password: &str, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}

/// A new key of 256 random bits, as its owner presents it.
pub fn new_key(random: [u8; 32]) -> String {
    format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random))
}

/// The line of an entry for this key or password: SHA-256 for keys of [`new_key`], argon2id for all others.
///
/// # Errors
/// When there is no randomness for the salt.
pub fn hash_line(key: &str) -> Result<String, String> {
    if key.starts_with(KEY_PREFIX) {
        return Ok(format!("sha256 = \"{:x}\"", Sha256::digest(key.as_bytes())));
    }
    let hash = Argon2::default().hash_password(key.as_bytes()).map_err(|error| error.to_string())?;
    Ok(format!("argon2 = \"{hash}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHTS: &str = "namespaces = [\"/\"]\nrooms = [\"*\"]\noperations = [\"publish\"]";

    fn toml(text: &str) -> Result<Keys, KeysFault> {
        Keys::parse(text, FileFormat::Toml, &Keys::default())
    }

    fn fault(text: &str) -> String {
        toml(text).err().map(|fault| fault.to_string()).unwrap_or_default()
    }

    #[test]
    fn each_credential_finds_its_entry_and_no_other() {
        let key = new_key([7; 32]);
        let key_line = hash_line(&key).unwrap();
        let password_line = hash_line("correct horse").unwrap();
        let keys = toml(&format!(
            "[[keys]]\nname = \"a\"\n{key_line}\n{RIGHTS}\n[[keys]]\nname = \"b\"\n{password_line}\n\
             [[keys]]\nname = \"c\"\ncertificate = \"DNS:c.test\"\n[[keys]]\nname = \"d\"\nsubject = \"s\"\n"
        ))
        .unwrap();
        let name = |identity: Option<Arc<Identity>>| identity.map(|identity| identity.name.clone());
        assert_eq!(name(keys.of_key(&key)).as_deref(), Some("a"));
        assert_eq!(name(keys.of_key(&new_key([8; 32]))), None);
        assert_eq!(name(keys.of_key("")), None);
        let (hash, identity) = keys.of_password("b").unwrap();
        assert_eq!(identity.name, "b");
        assert!(is_password("correct horse", &hash) && !is_password("correct horsf", &hash));
        assert!(keys.of_password("a").is_none());
        assert_eq!(name(keys.of_certificate(&["CN:x".into(), "DNS:c.test".into()])).as_deref(), Some("c"));
        assert_eq!(name(keys.of_certificate(&["URI:c.test".into()])), None);
        assert_eq!(name(keys.of_subject("s")).as_deref(), Some("d"));
        assert_eq!(name(keys.of_subject("a")), None);
    }

    #[test]
    fn yaml_says_the_same_as_toml() {
        let yaml = "keys:\n  - name: a\n    subject: s\n    operations: [publish, list_rooms]\n    rate:\n      messages_per_second: 5\n";
        let keys = Keys::parse(yaml, FileFormat::Yaml, &Keys::default()).unwrap();
        let same = "[[keys]]\nname = \"a\"\nsubject = \"s\"\noperations = [\"publish\", \"list_rooms\"]\n\
                    rate = { messages_per_second = 5 }";
        assert_eq!(keys.0[0].0, toml(same).unwrap().0[0].0);
    }

    #[test]
    fn faults_name_the_entry_and_never_the_credential() {
        let entry = |rest: &str| fault(&format!("[[keys]]\nname = \"a\"\n{rest}"));
        for (rest, told) in [
            ("", "keys[0] (a): allowed: one of"),
            ("sha256 = \"hunter2\"", "keys[0] (a): sha256: "),
            ("argon2 = \"hunter2\"", "keys[0] (a): argon2: "),
            ("certificate = \"hunter2\"", "keys[0] (a): certificate: "),
            ("subject = \"s\"\ncertificate = \"DNS:hunter2\"", "keys[0] (a): allowed: one of"),
            ("subject = \"s\"\nsecret = \"hunter2\"", "unknown field"),
            ("subject = \"s\"\noperations = [\"fly\"]", "fly"),
            ("sha256 = \"hunter2", ""),
            ("subject = \"s\"\n[[keys]]\nname = \"a\"\nsubject = \"t\"", "keys[1] (a): another entry"),
        ] {
            let text = entry(rest);
            assert!(!text.is_empty() && text.contains(told), "{text} for {rest}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(fault("[[keys]]\nname = \"a:b\"\nsubject = \"s\"").contains("no colon"));
        assert!(sha256_of(&"+f".repeat(32)).is_none() && sha256_of(&"é".repeat(32)).is_none());
    }

    #[test]
    fn an_entry_that_is_as_it_was_keeps_its_identity_and_others_are_retired() {
        let text = |room: &str| {
            format!(
                "[[keys]]\nname = \"a\"\nsubject = \"a\"\n[[keys]]\nname = \"b\"\nsubject = \"b\"\nrooms = [\"{room}\"]"
            )
        };
        let before = toml(&text("x")).unwrap();
        let after = Keys::parse(&text("y"), FileFormat::Toml, &before).unwrap();
        before.retire_all_but(&after);
        let good = |keys: &Keys, subject: &str| {
            let caller = super::super::Caller { identity: keys.of_subject(subject).unwrap(), expires: None };
            caller.still_good().is_ok()
        };
        assert!(Arc::ptr_eq(&before.of_subject("a").unwrap(), &after.of_subject("a").unwrap()));
        assert!(good(&before, "a") && good(&after, "b"));
        assert!(!good(&before, "b"));
    }
}
