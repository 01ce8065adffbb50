//! What an operator may set of the connection to Redis.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::target::Target;

/// Where Redis is and how patient the link to it is. Times are in ms.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkConfig {
    /// `redis://host:port`, `rediss://` (TLS) or `unix:///path`, several separated by commas to be tried in turn;
    /// `redis+sentinel://host:port,host:port/master`; `redis+cluster://host:port,host:port`; `rediss+sentinel` and
    /// `rediss+cluster` are those with TLS. Default `redis://127.0.0.1:6379`. Environment: `ROOMCAST__REDIS__URL`.
    pub url: String,
    /// The ACL user; empty for Redis' default user. Default empty.
    pub username: String,
    /// File with the password, read at every connect, so that a rotated one is taken up. Default none.
    pub password_file: Option<PathBuf>,
    /// The ACL user of the sentinels. Default empty.
    pub sentinel_username: String,
    /// File with the password of the sentinels. Default none.
    pub sentinel_password_file: Option<PathBuf>,
    /// Used with `rediss` URLs only.
    pub tls: LinkTlsConfig,
    /// The database that is selected, 0 to 65535; pub/sub does not know databases, keys do. Default 0.
    pub database: u32,
    /// From the first packet to a connection that is logged in. Default 2000.
    pub connect_timeout_ms: u32,
    /// Pause between two probes that go through Redis and back. Default 1000.
    pub heartbeat_interval_ms: u32,
    /// A connection without a sign of life for this long is replaced. Default 3000.
    pub heartbeat_timeout_ms: u32,
    /// Upper bound of the first pause before connecting again; pauses are random between 0 and the bound, which
    /// doubles with each failure. Default 50.
    pub reconnect_min_ms: u32,
    /// Largest upper bound of such a pause. Default 2000.
    pub reconnect_max_ms: u32,
    /// Publishes that wait to be written, in bytes, for one server; one more is refused. Default 16777216.
    pub publish_queue_bytes: u32,
    /// Patience with the answer to a command other than a publish. Default 2000.
    pub command_timeout_ms: u32,
}

/// TLS of the connections to Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkTlsConfig {
    /// PEM file with the certificates that may have signed Redis' own. Default: those the system trusts.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the certificate that is shown to Redis; with `key_file`. Default none.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the key of `cert_file`. Default none.
    pub key_file: Option<PathBuf>,
    /// Take any certificate: whoever is between can read and write. For trying only. Default false.
    pub insecure_skip_verify: bool,
}

/// A value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct LinkConfigFault {
    /// The key, below the section of the link.
    pub key: &'static str,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            username: String::new(),
            password_file: None,
            sentinel_username: String::new(),
            sentinel_password_file: None,
            tls: LinkTlsConfig::default(),
            database: 0,
            connect_timeout_ms: 2000,
            heartbeat_interval_ms: 1000,
            heartbeat_timeout_ms: 3000,
            reconnect_min_ms: 50,
            reconnect_max_ms: 2000,
            publish_queue_bytes: 16 * 1024 * 1024,
            command_timeout_ms: 2000,
        }
    }
}

/// Longest patience or pause, in ms.
const MS_MAX: u32 = 3_600_000;
/// As many as a Redis can be told to have, in practice.
const DATABASE_MAX: u32 = 65_535;

impl LinkConfig {
    /// Everything that keeps these values from being used; empty if nothing does.
    pub fn check(&self) -> Vec<LinkConfigFault> {
        let mut faults = Vec::new();
        let mut complain = |key, problem: String| faults.push(LinkConfigFault { key, problem });
        match Target::parse(&self.url) {
            Err(fault) => complain("url", fault.to_string()),
            Ok(Target::Cluster { .. }) if self.database != 0 => {
                complain("database", "allowed: 0, the only database of a Redis Cluster".to_owned());
            }
            Ok(_) => {}
        }
        let numbers = [
            ("connect_timeout_ms", 1, MS_MAX, self.connect_timeout_ms),
            ("heartbeat_interval_ms", 1, MS_MAX, self.heartbeat_interval_ms),
            ("heartbeat_timeout_ms", 1, MS_MAX, self.heartbeat_timeout_ms),
            ("reconnect_min_ms", 1, MS_MAX, self.reconnect_min_ms),
            ("reconnect_max_ms", 1, MS_MAX, self.reconnect_max_ms),
            ("publish_queue_bytes", 1, u32::MAX, self.publish_queue_bytes),
            ("command_timeout_ms", 1, MS_MAX, self.command_timeout_ms),
            ("database", 0, DATABASE_MAX, self.database),
        ];
        for (key, min, max, value) in numbers {
            if !(min..=max).contains(&value) {
                complain(key, format!("allowed: an integer from {min} to {max}"));
            }
        }
        // One probe may be late, or lost with a connection, before a connection counts as dead.
        if self.heartbeat_timeout_ms <= self.heartbeat_interval_ms {
            let above = self.heartbeat_interval_ms;
            complain("heartbeat_timeout_ms", format!("allowed: above heartbeat_interval_ms, {above}"));
        }
        if self.reconnect_max_ms < self.reconnect_min_ms {
            let min = self.reconnect_min_ms;
            complain("reconnect_max_ms", format!("allowed: at least reconnect_min_ms, {min}"));
        }
        let users = [
            ("username", &self.username, &self.password_file, "password_file"),
            (
                "sentinel_username",
                &self.sentinel_username,
                &self.sentinel_password_file,
                "sentinel_password_file",
            ),
        ];
        for (key, user, password, other) in users {
            if !user.is_empty() && password.is_none() {
                complain(key, format!("a user needs a password: set {other}"));
            }
        }
        if self.tls.cert_file.is_some() != self.tls.key_file.is_some() {
            complain("tls.cert_file", "allowed: together with tls.key_file, or neither".to_owned());
        }
        let files = [
            ("password_file", &self.password_file),
            ("sentinel_password_file", &self.sentinel_password_file),
            ("tls.ca_file", &self.tls.ca_file),
            ("tls.cert_file", &self.tls.cert_file),
            ("tls.key_file", &self.tls.key_file),
        ];
        for (key, file) in files {
            if let Some(error) = file.as_deref().and_then(unreadable) {
                complain(key, format!("{error}; allowed: a file that can be read"));
            }
        }
        faults
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms.into())
    }

    pub(crate) fn heartbeat_interval(&self) -> Duration {
        Duration::from_millis(self.heartbeat_interval_ms.into())
    }

    pub(crate) fn heartbeat_timeout(&self) -> Duration {
        Duration::from_millis(self.heartbeat_timeout_ms.into())
    }

    pub(crate) fn command_timeout(&self) -> Duration {
        Duration::from_millis(self.command_timeout_ms.into())
    }

    pub(crate) fn publish_queue_bytes(&self) -> usize {
        usize::try_from(self.publish_queue_bytes).unwrap_or(usize::MAX)
    }
}

fn unreadable(path: &Path) -> Option<std::io::Error> {
    File::open(path).err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_used() {
        assert_eq!(LinkConfig::default().check(), []);
    }

    #[test]
    fn every_fault_is_told_with_its_key() {
        let check = |change: fn(&mut LinkConfig), expected: &[&str]| {
            let mut config = LinkConfig::default();
            change(&mut config);
            let faults = config.check();
            let keys: Vec<_> = faults.iter().map(|fault| fault.key).collect();
            assert_eq!(keys, expected, "{faults:?}");
        };
        check(|config| config.url = "http://x".into(), &["url"]);
        check(|config| config.database = 65_536, &["database"]);
        check(
            |config| {
                config.url = "redis+cluster://h:1".into();
                config.database = 1;
            },
            &["database"],
        );
        check(|config| config.connect_timeout_ms = 0, &["connect_timeout_ms"]);
        check(|config| config.heartbeat_timeout_ms = 1000, &["heartbeat_timeout_ms"]);
        check(|config| config.reconnect_max_ms = 49, &["reconnect_max_ms"]);
        check(|config| config.username = "app".into(), &["username"]);
        check(|config| config.password_file = Some("/nowhere/at/all".into()), &["password_file"]);
        check(
            |config| config.tls.cert_file = Some("/nowhere/at/all".into()),
            &["tls.cert_file", "tls.cert_file"],
        );
        check(
            |config| {
                config.url = String::new();
                config.publish_queue_bytes = 0;
            },
            &["url", "publish_queue_bytes"],
        );
    }
}
