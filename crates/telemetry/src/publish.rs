//! The metrics of the publish API.

use std::time::Duration;

use metrics::{Counter, Histogram, Label};

use crate::events::{PublishRefused, emit};
use crate::labels::{Label as _, PublishRefusal};
use crate::names;

/// gRPC statuses by their number. Source: gRPC, status codes.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
const UNKNOWN: usize = 2;

/// Calls of the publish API, counted by status and timed.
#[derive(Clone)]
pub struct PublishMetrics {
    calls: [Counter; CODES.len()],
    duration: Histogram,
}

impl PublishMetrics {
    /// Resolves the handles. Call after [`init`](crate::init).
    pub fn new() -> Self {
        // At 0 from the start: the first refusal is then an increase.
        PublishRefusal::ALL.iter().for_each(|cause| refused_counter(*cause).increment(0));
        Self {
            calls: CODES
                .map(|code| names::PUBLISH_CALLS.counter(vec![Label::from_static_parts("code", code)])),
            duration: names::PUBLISH_DURATION.histogram(Vec::new()),
        }
    }

    /// A call was answered with the gRPC status `code` (a number outside 0 to 16 counts as UNKNOWN) after `took`.
    pub fn answered(&self, code: i32, took: Duration) {
        self.all_answered(code, took, 1);
    }

    /// The same for several messages that were answered together.
    pub fn all_answered(&self, code: i32, took: Duration, messages: usize) {
        let index = usize::try_from(code).unwrap_or(UNKNOWN);
        if let Some(counter) = self.calls.get(index).or_else(|| self.calls.get(UNKNOWN)) {
            counter.increment(messages as u64);
        }
        self.duration.record_many(took.as_secs_f64(), messages);
    }
}

/// Counts and tells that a call, or a message of a stream, was refused to `identity`, which is empty when nobody
/// is known.
pub fn publish_refused(identity: &str, cause: PublishRefusal) {
    refused_counter(cause).increment(1);
    emit(&PublishRefused { identity: identity.to_owned(), cause: cause.as_str() });
}

// Not a handle that is kept: refusals are rare, and whoever refuses holds no metrics.
fn refused_counter(cause: PublishRefusal) -> Counter {
    names::PUBLISH_REFUSED.counter(vec![Label::from_static_parts("cause", cause.as_str())])
}

impl Default for PublishMetrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_status_and_timed() {
        let recorder = crate::recorder().unwrap();
        metrics::with_local_recorder(&recorder, || {
            let publish = PublishMetrics::new();
            publish.answered(0, Duration::from_millis(3));
            publish.answered(14, Duration::from_secs(1));
            publish.all_answered(0, Duration::from_millis(3), 2);
            publish.answered(99, Duration::from_secs(1));
            publish.answered(-1, Duration::from_secs(1));
            publish_refused("orders", PublishRefusal::Room);
        });
        let text = recorder.handle().render();
        for line in [
            r#"roomcast_publish_calls_total{code="OK"} 3"#,
            r#"roomcast_publish_calls_total{code="UNAVAILABLE"} 1"#,
            r#"roomcast_publish_calls_total{code="UNKNOWN"} 2"#,
            r#"roomcast_publish_calls_total{code="INTERNAL"} 0"#,
            r#"roomcast_publish_duration_seconds_bucket{le="0.005"} 3"#,
            "roomcast_publish_duration_seconds_count 6",
            r#"roomcast_publish_refused_total{cause="room"} 1"#,
            r#"roomcast_publish_refused_total{cause="rate"} 0"#,
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}
