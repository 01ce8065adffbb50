//! When a call has to be answered, by its caller's word.

use std::future::Future;
use std::time::Duration;

use tonic::Status;
use tonic::codegen::http::{HeaderMap, HeaderName};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The time that a caller gives its call, if it says and says it rightly.
///
/// Source: "gRPC over HTTP2", Timeout: at most 8 digits and a unit.
pub(crate) fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// What `answer` gives in time.
///
/// # Errors
/// `DEADLINE_EXCEEDED`.
pub(crate) async fn within<T>(
    timeout: Option<Duration>,
    answer: impl Future<Output = T>,
) -> Result<T, Status> {
    match timeout {
        None => Ok(answer.await),
        Some(timeout) => tokio::time::timeout(timeout, answer).await.map_err(|_| {
            Status::deadline_exceeded("the call's time is over: it is not known what became of it")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_a_number_and_a_unit() {
        let check = |text: &str, expected| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            assert_eq!(timeout_of(&headers), expected, "{text}");
        };
        check("2H", Some(Duration::from_secs(7200)));
        check("3M", Some(Duration::from_secs(180)));
        check("4S", Some(Duration::from_secs(4)));
        check("99999999m", Some(Duration::from_millis(99_999_999)));
        check("0u", Some(Duration::ZERO));
        check("5n", Some(Duration::from_nanos(5)));
        for text in ["", "5", "S", "100000000S", "+5S", "-5S", "5x", "5 S", "5s"] {
            check(text, None);
        }
        assert_eq!(timeout_of(&HeaderMap::new()), None);
    }
}
