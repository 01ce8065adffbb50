//! One thing wrong with the configuration, told so that it can be put right without looking anything up.

use std::fmt;

/// One fault; prints on one line: `origin: key = value: what is wrong; allowed: …`. Holds no secret value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigFault {
    /// Where the value comes from: a file, an environment variable, a flag or `default`.
    pub(crate) origin: String,
    /// The key from the root, such as `namespaces[0].events[1].action`; empty when no single key is at fault.
    pub(crate) key: String,
    /// The value as found, a secret one as `<redacted>`; `None` when there is none to show.
    pub(crate) value: Option<String>,
    /// What is wrong, and what is allowed.
    pub(crate) problem: String,
}

impl ConfigFault {
    /// A fault of a whole source: a file that cannot be read, a flag that is no assignment.
    pub(super) fn of_source(origin: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { origin: origin.into(), key: String::new(), value: None, problem: problem.into() }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, key, value, problem } = self;
        let line = match value {
            _ if key.is_empty() => format!("{origin}: {problem}"),
            None => format!("{origin}: {key}: {problem}"),
            Some(value) => format!("{origin}: {key} = {value}: {problem}"),
        };
        // Keys, paths and parsers' messages may hold line breaks, and each fault is one line.
        f.write_str(&line.replace(['\r', '\n'], " "))
    }
}

/// `value` as it may be shown for `key`: without what only the operator should know.
pub(super) fn shown(key: &str, value: &::config::Value) -> String {
    use ::config::ValueKind;
    match &value.kind {
        ValueKind::Table(_) => "a table".into(),
        ValueKind::Array(_) => "a list".into(),
        ValueKind::Nil => "null".into(),
        _ if is_secret(key) => REDACTED.into(),
        ValueKind::String(text) => format!("{:?}", without_userinfo(text)),
        scalar => scalar.to_string(),
    }
}

const REDACTED: &str = "<redacted>";

/// Whether the values under `key` are credentials; paths of files with credentials are not.
pub(super) fn is_secret(key: &str) -> bool {
    key.split('.').map(|segment| segment.split('[').next().unwrap_or(segment)).any(|segment| {
        let words = ["token", "tokens", "secret", "secrets", "password", "key", "keys"];
        segment.split('_').next_back().is_some_and(|last| words.contains(&last))
    })
}

/// `redis://user:pass@host` as `redis://<redacted>@host`.
fn without_userinfo(text: &str) -> String {
    let hidden = text.split_once("://").and_then(|(scheme, rest)| {
        let authority_end = rest.find('/').unwrap_or(rest.len());
        // The last @ ends the user information, and a password may hold a raw slash: when in doubt, hide more.
        let at = rest.rfind('@').filter(|at| *at < authority_end || rest.contains(':'))?;
        Some(format!("{scheme}://{REDACTED}{}", &rest[at..]))
    });
    hidden.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_shown() {
        let value = |text: &str| ::config::Value::from(text);
        assert_eq!(shown("namespaces[0].auth.tokens[2]", &value("plain")), "<redacted>");
        assert_eq!(shown("redis.password", &value("plain")), "<redacted>");
        assert_eq!(shown("node.secret_file", &value("/etc/k")), "\"/etc/k\"");
        assert_eq!(shown("redis.url", &value("redis://me:pw@h:1/0")), "\"redis://<redacted>@h:1/0\"");
        assert_eq!(shown("redis.url", &value("redis://me:p/w@h:1")), "\"redis://<redacted>@h:1\"");
        assert_eq!(shown("client.path", &value("/a@b")), "\"/a@b\"");
    }

    #[test]
    fn a_fault_is_one_line() {
        let fault = ConfigFault::of_source("a.toml", "not TOML\nat line 1");
        assert_eq!(fault.to_string(), "a.toml: not TOML at line 1");
    }
}
