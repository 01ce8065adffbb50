//! Errors as HTTP with JSON.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tonic::{Code, Status};

use crate::error::{field, retry_after_ms};

/// What a caller gets instead of an answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody<'a> {
    /// The gRPC status in capitals.
    code: &'static str,
    message: &'a str,
    /// The way to the field at fault, in the names of the proto.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u32>,
}

fn body(status: &Status) -> ErrorBody<'_> {
    let retry_after_ms = Some(retry_after_ms(status)).filter(|ms| *ms > 0);
    ErrorBody { code: name(status.code()), message: status.message(), field: field(status), retry_after_ms }
}

fn json(body: &impl Serialize) -> String {
    // Text, numbers and names only: it cannot fail.
    serde_json::to_string(body).unwrap_or_default()
}

/// `status` as the whole answer.
pub(crate) fn error(status: &Status) -> Response {
    let body = body(status);
    let retry_after_s = body.retry_after_ms.map(|ms| ms.div_ceil(1000));
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    let mut response = (http_status(status.code()), content_type, json(&body)).into_response();
    let headers = response.headers_mut();
    if let Some(seconds) = retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status.code() == Code::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// `status` as the last part of a stream, behind which nothing comes.
pub(crate) fn in_stream(status: &Status) -> String {
    #[derive(Serialize)]
    struct Last<'a> {
        error: ErrorBody<'a>,
    }
    json(&Last { error: body(status) })
}

/// Source: google.rpc.Code, the HTTP mapping of each.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition => StatusCode::BAD_REQUEST,
        // A request over its size, which is the one thing out of range here.
        Code::OutOfRange => StatusCode::PAYLOAD_TOO_LARGE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        // 499: the caller has gone.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
