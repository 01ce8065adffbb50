//! What callers get instead of an answer.

use std::time::Duration;

use roomcast_proto::v1;
use socketio::EventFault;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::dispatch::{CallRefused, Unavailable};

/// A field that breaks a rule. Its text names field, rule and size, and never holds what the caller sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub(crate) struct FieldFault {
    /// From the request inwards: `messages[4].rooms[0]`.
    field: String,
    rule: Rule,
}

/// The rule a field breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rule {
    #[error("is required")]
    Required,
    #[error("is empty, at least 1 byte is required")]
    Empty,
    #[error("has {bytes} bytes, at most {max} are allowed")]
    TooManyBytes { bytes: usize, max: usize },
    #[error("has {count} entries, at most {max} are allowed")]
    TooManyEntries { count: usize, max: usize },
    #[error("has {count} rooms together with except, at most {max} are allowed")]
    TooManyRooms { count: usize, max: usize },
    #[error("has event, arguments and attachments of {bytes} bytes, at most {max} are allowed")]
    TooLarge { bytes: usize, max: usize },
    #[error("has a comma at byte {at}: clients end the name of a namespace there")]
    Comma { at: usize },
    #[error("has a control character at byte {at}")]
    ControlCharacter { at: usize },
    #[error("is {ms} ms, at most {max} are allowed")]
    TooLong { ms: u32, max: u32 },
    #[error("is 0, at least 1 is required")]
    Zero,
    #[error("must be above 0 and at most 1")]
    NotAShare,
    #[error("is a value that this version does not know")]
    UnknownValue,
    #[error("{0}")]
    Event(EventFault),
    #[error("{0}")]
    Json(&'static str),
}

impl FieldFault {
    pub(crate) fn new(field: impl Into<String>, rule: Rule) -> Self {
        Self { field: field.into(), rule }
    }

    /// The same fault seen from the message that holds `outer`.
    pub(crate) fn within(self, outer: &str) -> Self {
        let field = if self.field.is_empty() { outer.to_owned() } else { format!("{outer}.{}", self.field) };
        Self { field, ..self }
    }

    /// The same fault in `field` if it is one of the whole.
    pub(crate) fn or_in(self, field: &str) -> Self {
        let field = if self.field.is_empty() { field.to_owned() } else { self.field };
        Self { field, ..self }
    }
}

impl From<EventFault> for FieldFault {
    fn from(fault: EventFault) -> Self {
        let field = match fault {
            EventFault::EmptyName | EventFault::ReservedName(_) => "event",
            EventFault::TooManyAttachments { .. } | EventFault::AttachmentUnused(_) => "attachments",
            _ => "arguments",
        };
        Self::new(field, Rule::Event(fault))
    }
}

impl From<FieldFault> for Status {
    // The field also as `google.rpc.BadRequest`, for callers that look for it by program.
    fn from(fault: FieldFault) -> Self {
        let details = ErrorDetails::with_bad_request_violation(&fault.field, fault.rule.to_string());
        Self::with_error_details(Code::InvalidArgument, fault.to_string(), details)
    }
}

impl From<Unavailable> for Status {
    fn from(Unavailable(text): Unavailable) -> Self {
        Self::unavailable(text)
    }
}

impl From<CallRefused> for Status {
    fn from(refused: CallRefused) -> Self {
        match refused {
            CallRefused::Unavailable(unavailable) => unavailable.into(),
            CallRefused::TooMany { .. } => Self::resource_exhausted(refused.to_string()),
        }
    }
}

/// Refuses what is too much now; `retry_after` is `None` if waiting does not help by itself.
///
/// The hint is a `google.rpc.RetryInfo`, which client libraries know.
pub(crate) fn exhausted(text: String, retry_after: Option<Duration>) -> Status {
    match retry_after {
        None => Status::resource_exhausted(text),
        Some(wait) => {
            let details = ErrorDetails::with_retry_info(Some(wait));
            Status::with_error_details(Code::ResourceExhausted, text, details)
        }
    }
}

/// How long a retry should wait, in whole ms and at least 1; 0 if the error does not say.
pub(crate) fn retry_after_ms(status: &Status) -> u32 {
    let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
    wait.map_or(0, |wait| u32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1))
}

/// The field that an error is about, from the request inwards.
pub(crate) fn field(status: &Status) -> Option<String> {
    Some(status.get_details_bad_request()?.field_violations.into_iter().next()?.field)
}

/// `status` as an error inside a stream, which goes on behind it.
pub(crate) fn in_stream(status: &Status) -> v1::Error {
    v1::Error {
        code: i32::from(status.code()).unsigned_abs(),
        message: status.message().to_owned(),
        retry_after_ms: retry_after_ms(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_the_way_to_the_field() {
        let fault = FieldFault::new("rooms[3]", Rule::Empty).within("messages[1]");
        assert_eq!(fault.to_string(), "messages[1].rooms[3]: is empty, at least 1 byte is required");
        let whole = FieldFault::new("", Rule::TooLarge { bytes: 5, max: 4 }).within("message");
        assert!(whole.to_string().starts_with("message: has event,"), "{whole}");
    }

    #[test]
    fn each_event_fault_points_at_its_field() {
        let check = |fault: EventFault, field: &str| assert_eq!(FieldFault::from(fault).field, field);
        check(EventFault::EmptyName, "event");
        check(EventFault::ReservedName("connect"), "event");
        check(EventFault::NotAnArray, "arguments");
        check(EventFault::PlaceholderOutOfRange { line: 1, column: 1, attachments: 1 }, "arguments");
        check(EventFault::TooManyAttachments { count: 11, max: 10 }, "attachments");
        check(EventFault::AttachmentUnused(0), "attachments");
    }

    #[test]
    fn errors_in_streams_carry_the_numbers_of_grpc() {
        assert_eq!(in_stream(&Unavailable("Redis is away".into()).into()).code, 14);
        assert_eq!(in_stream(&FieldFault::new("event", Rule::Empty).into()).code, 3);
    }

    #[test]
    fn fields_and_retry_hints_can_be_read_by_program() {
        let fault = Status::from(FieldFault::new("event", Rule::Empty).within("message"));
        assert_eq!((field(&fault).as_deref(), retry_after_ms(&fault)), (Some("message.event"), 0));
        let wait = exhausted("too fast".into(), Some(Duration::from_micros(1500)));
        assert_eq!((field(&wait), in_stream(&wait).retry_after_ms), (None, 2));
        assert_eq!(retry_after_ms(&exhausted("too much".into(), None)), 0);
    }
}
