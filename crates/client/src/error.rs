//! What callers get instead of an answer.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use roomcast_proto::v1;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why a call failed. Each text says what happened and to what.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field breaks a rule. Nothing was published; the same request fails again.
    #[error("{message}")]
    InvalidArgument {
        /// From the request inwards, such as `message.rooms[3]`; `None` if the server names none.
        field: Option<String>,
        /// The field, the rule and the value's size.
        message: String,
    },
    /// The arguments could not be serialized, or the answers not be read as what was asked for.
    #[error("arguments: {0}")]
    Arguments(#[from] Arc<serde_json::Error>),
    /// No credentials, or none that the server knows.
    #[error("{0}")]
    Unauthenticated(String),
    /// The provider of tokens failed.
    #[error("no token: {0}")]
    Credentials(Arc<dyn std::error::Error + Send + Sync>),
    /// The identity lacks a right, which the text names.
    #[error("{0}")]
    PermissionDenied(String),
    /// Over a rate or a limit of what may be in flight.
    #[error("{message}")]
    Exhausted {
        /// When a retry is right, if waiting helps.
        retry_after: Option<Duration>,
        /// Which limit.
        message: String,
    },
    /// The server cannot be reached, or says that it cannot serve now. After retries the last reason.
    #[error("{0}")]
    Unavailable(String),
    /// The time of the call was over. What was asked for may have happened nevertheless.
    #[error("{0}")]
    DeadlineExceeded(String),
    /// The server is older than the call.
    #[error("{0}")]
    Unimplemented(String),
    /// Anything else, with the code of gRPC.
    #[error("{code:?}: {message}")]
    Other {
        /// The code.
        code: Code,
        /// What the server says.
        message: String,
    },
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Arguments(Arc::new(error))
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let field = status
            .get_details_bad_request()
            .and_then(|details| details.field_violations.into_iter().next())
            .map(|violation| violation.field);
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        Self::new(status.code(), text(&status), field, retry_after)
    }
}

impl From<v1::Error> for Error {
    fn from(v1::Error { code, message, retry_after_ms }: v1::Error) -> Self {
        let retry_after = Some(retry_after_ms).filter(|ms| *ms > 0);
        let code = Code::from(i32::try_from(code).unwrap_or(Code::Unknown as i32));
        Self::new(code, message, None, retry_after.map(|ms| Duration::from_millis(ms.into())))
    }
}

impl Error {
    fn new(code: Code, message: String, field: Option<String>, retry_after: Option<Duration>) -> Self {
        match code {
            Code::InvalidArgument => {
                let field = field.or_else(|| path(&message));
                Self::InvalidArgument { field, message }
            }
            Code::Unauthenticated => Self::Unauthenticated(message),
            Code::PermissionDenied => Self::PermissionDenied(message),
            Code::ResourceExhausted => Self::Exhausted { retry_after, message },
            Code::Unavailable => Self::Unavailable(message),
            Code::DeadlineExceeded => Self::DeadlineExceeded(message),
            Code::Unimplemented => Self::Unimplemented(message),
            code => Self::Other { code, message },
        }
    }

    /// The server answered with something that it may not.
    pub(crate) fn protocol(message: &str) -> Self {
        Self::Other { code: Code::Internal, message: message.to_owned() }
    }
}

/// The path of the field that a text of the server starts with.
fn path(message: &str) -> Option<String> {
    let (path, _) = message.split_once(':')?;
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b"_.[]".contains(&byte);
    (!path.is_empty() && path.bytes().all(part)).then(|| path.to_owned())
}

/// The text of a status with the reasons below it: "transport error" alone says nothing.
fn text(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        let reason = error.to_string();
        if !text.contains(&reason) && reason != "transport error" {
            text = format!("{text}: {reason}");
        }
        source = error.source();
    }
    text
}

/// Whether the connection was lost while the call was on its way: whether it was done is not known.
///
/// A status that a server sent has no source; one that this side made of an error of the connection has.
pub(crate) fn is_lost(status: &Status) -> bool {
    status.code() != Code::Unavailable && status.source().is_some()
}

/// Whether the call was not done and may be tried again: the server says so, or was not reached.
///
/// A batch may be refused in its middle, at `messages[4]`; again, those before would come twice.
pub(crate) fn is_refused(status: &Status) -> bool {
    let text = status.message();
    status.code() == Code::Unavailable && (!text.starts_with("messages[") || text.starts_with("messages[0]"))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn errors_of_streams_name_their_field_as_those_of_calls_do() {
        let error = |message: &str| v1::Error { code: 3, message: message.into(), retry_after_ms: 0 };
        let field = |message| match Error::from(error(message)) {
            Error::InvalidArgument { field, .. } => field,
            other => panic!("{other:?}"),
        };
        let rooms = "message.rooms[3]: is empty, at least 1 byte is required";
        assert_eq!(field(rooms).as_deref(), Some("message.rooms[3]"));
        assert_eq!(field("no field here: nor here"), None);
        assert_eq!(field(": nothing"), None);
    }

    #[test]
    fn codes_and_times_to_wait_become_variants() {
        let error = Error::from(v1::Error { code: 8, message: "too fast".into(), retry_after_ms: 20 });
        let wait = Duration::from_millis(20);
        assert!(matches!(error, Error::Exhausted { retry_after: Some(found), .. } if found == wait));
        let error = Error::from(v1::Error { code: u32::MAX, message: "?".into(), retry_after_ms: 0 });
        assert!(matches!(error, Error::Other { code: Code::Unknown, .. }), "{error:?}");
    }

    #[test]
    fn only_statuses_of_the_connection_are_lost() {
        let lost = Status::from_error(Box::new(io::Error::from(io::ErrorKind::ConnectionReset)));
        assert!(is_lost(&lost) && !is_refused(&lost));
        let said = Status::unavailable("Redis is away");
        assert!(is_refused(&said) && !is_lost(&said));
        assert!(is_refused(&Status::unavailable("messages[0]: Redis is away; 0 of 9 were published")));
        assert!(!is_refused(&Status::unavailable("messages[4]: Redis is away; 4 of 9 were published")));
        let unknown = Status::unknown("a bug");
        assert!(!is_refused(&unknown) && !is_lost(&unknown));
    }
}
