//! What can be wrong between here and Redis, in words for whoever is woken by it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Why something did not work. The text says what is away and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkFault {
    /// No connection came about.
    #[error("no connection to Redis at {address}: {cause}; retrying; check that it runs and redis.url")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What the system or TLS said.
        cause: Arc<io::Error>,
    },
    /// No connection came about in time.
    #[error("Redis ({address}) did not let us in within {patience:?}; retrying; redis.connect_timeout_ms")]
    Slow {
        /// Where it should be.
        address: String,
        /// How long it had.
        patience: Duration,
    },
    /// User or password are wrong, missing or not wanted.
    #[error(
        "Redis at {address} refused the login ({answer}): check {keys}; retrying with the file read again"
    )]
    Login {
        /// Where it is.
        address: String,
        /// What Redis said.
        answer: String,
        /// The keys that are concerned.
        keys: &'static str,
    },
    /// The user lacks a permission.
    #[error(
        "Redis at {address} does not allow it ({answer}): give the user of redis.username the commands and \
         channels it needs, &roomcast:heartbeat:* among them"
    )]
    NotAllowed {
        /// Where it is.
        address: String,
        /// What Redis said.
        answer: String,
    },
    /// A file of the configuration cannot be used.
    #[error("{key}: {path}: {problem}")]
    File {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// It answers, and is no master.
    #[error("Redis at {address} is {role}, not a master; looking again")]
    NotMaster {
        /// Where it is.
        address: String,
        /// What it says it is.
        role: String,
    },
    /// No sentinel knows the master.
    #[error("no sentinel names a master {master:?} ({last}); retrying; check redis.url")]
    NoMaster {
        /// The name that was asked for.
        master: String,
        /// What the last one said.
        last: String,
    },
    /// A connection that worked has ended.
    #[error("the connection to Redis at {address} is lost: {cause}; reconnecting")]
    Lost {
        /// Where it was.
        address: String,
        /// What the system or TLS said.
        cause: Arc<io::Error>,
    },
    /// A connection that seems open carries nothing.
    #[error("nothing came back from Redis at {address} within {patience:?}; the connection is replaced")]
    Silent {
        /// Where it is.
        address: String,
        /// How long it had.
        patience: Duration,
    },
    /// What comes is not RESP, or not what was asked.
    #[error("what answers at {address} is no Redis that is understood: {problem}")]
    Protocol {
        /// Where it is.
        address: String,
        /// What was strange.
        problem: String,
    },
    /// Another master is to be used from now on.
    #[error("the master is not at {address} any more; connecting to the new one")]
    Superseded {
        /// Where it was.
        address: String,
    },
    /// A command had no answer in time; it may have been executed.
    #[error("Redis did not answer within {0:?} (redis.command_timeout_ms)")]
    NoAnswer(Duration),
    /// A command was answered by an error.
    #[error("Redis answered {0}")]
    Answered(String),
    /// A command was not sent, because there is no connection that could carry it.
    #[error("Redis is away")]
    Away,
}

impl LinkFault {
    /// The fault that an error of Redis means, by its code.
    pub(crate) fn from_answer(address: &str, answer: &str) -> Self {
        let (address, text) = (address.to_owned(), answer.to_owned());
        let keys = "redis.username and redis.password_file";
        match answer.split(' ').next().unwrap_or_default() {
            "NOAUTH" | "WRONGPASS" => Self::Login { address, answer: text, keys },
            // What AUTH gets from a Redis that has no password.
            _ if answer.contains("without any password configured") => {
                Self::Login { address, answer: text, keys }
            }
            "NOPERM" => Self::NotAllowed { address, answer: text },
            _ => Self::Answered(text),
        }
    }

    /// The same, asked of a sentinel.
    pub(crate) fn of_sentinel(self) -> Self {
        match self {
            Self::Login { address, answer, .. } => Self::Login {
                address,
                answer,
                keys: "redis.sentinel_username and redis.sentinel_password_file",
            },
            other => other,
        }
    }
}
