//! The answers of the client port.

use std::io::Write as _;

use bytes::Bytes;
use engineio::{BodyForm, HttpFault};
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;

use crate::bundle::BundleFile;

/// Every body of ours is whole before it is sent; one of another gateway is passed on as it comes.
pub(super) type Body = Either<Full<Bytes>, Incoming>;
pub(super) type Answer = Response<Body>;

/// Polling answers of at least so many bytes are compressed, as in the reference server.
const COMPRESSION_THRESHOLD: usize = 1024;

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Answer::new(Body::Left(Full::default()));
    *answer.status_mut() = status;
    answer
}

/// An answer with a body of this type.
pub(super) fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Answer::new(Body::Left(Full::new(body.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// A refusal that a client may try again elsewhere, or later.
pub(super) fn busy() -> Answer {
    let mut answer = empty(StatusCode::SERVICE_UNAVAILABLE);
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    answer
}

/// A refusal of a client that has too many, or sends too fast; the connection ends.
pub(super) fn too_many() -> Answer {
    let mut answer = busy();
    *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// A refusal of a request whose head is too large; the connection ends.
pub(super) fn head_too_large() -> Answer {
    let mut answer = empty(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

pub(super) fn not_found() -> Answer {
    typed(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "not found\n")
}

/// A refusal of the error table.
pub(super) fn fault(fault: HttpFault) -> Answer {
    let status = StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::BAD_REQUEST);
    typed(status, "application/json", fault.body())
}

/// The answer to a push.
pub(super) fn pushed() -> Answer {
    uncached(typed(StatusCode::OK, "text/html", "ok"))
}

/// The answer to a push of Socket.IO 0.9.
pub(super) fn pushed_09() -> Answer {
    uncached(typed(StatusCode::OK, "text/plain; charset=UTF-8", "1"))
}

/// Text for a client of Socket.IO 0.9, which is never told to keep it.
pub(super) fn text_09(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    uncached(typed(status, "text/plain; charset=UTF-8", text))
}

/// The same as a script. Browsers that look for cross-site scripting would find it.
pub(super) fn script_09(text: String) -> Answer {
    let mut answer = uncached(typed(StatusCode::OK, "text/javascript; charset=UTF-8", text));
    answer.headers_mut().insert("X-XSS-Protection", HeaderValue::from_static("0"));
    answer
}

/// A file of the client bundle.
///
/// Source: the reference server's `serveClient`.
pub(super) fn bundle_file(file: &BundleFile, method: &Method, request: &HeaderMap) -> Answer {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    // A browser that revalidates may weaken the tag.
    let known = request.get(header::IF_NONE_MATCH).is_some_and(|tags| {
        let tags = String::from_utf8_lossy(tags.as_bytes());
        tags.split(',').any(|tag| tag.trim().trim_start_matches("W/").as_bytes() == file.etag.as_bytes())
    });
    let mut answer = match known {
        true => empty(StatusCode::NOT_MODIFIED),
        false => typed(StatusCode::OK, file.content_type, file.content.clone()),
    };
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
    headers.insert(header::ETAG, file.etag.clone());
    answer
}

/// The answer to a preflight.
pub(super) fn preflight(headers: Vec<(&'static str, String)>) -> Answer {
    let mut answer = empty(StatusCode::NO_CONTENT);
    answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    add_headers(&mut answer, headers);
    answer
}

/// The answer to a poll, compressed if that pays and `request` allows it.
pub(super) fn payload(form: BodyForm, body: Bytes, request: &HeaderMap, compress: bool) -> Answer {
    let content_type = match form {
        BodyForm::Binary => "application/octet-stream",
        BodyForm::Text | BodyForm::Form => "text/plain; charset=UTF-8",
    };
    let mut answer = compressed(content_type, body, request, compress);
    let agent = request.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    if agent.contains(";MSIE") || agent.contains("Trident/") {
        answer.headers_mut().insert("X-XSS-Protection", HeaderValue::from_static("0"));
    }
    answer
}

/// The answer to a JSONP poll.
pub(super) fn script(body: String, request: &HeaderMap, compress: bool) -> Answer {
    compressed("text/javascript; charset=UTF-8", body.into(), request, compress)
}

fn compressed(content_type: &'static str, body: Bytes, request: &HeaderMap, compress: bool) -> Answer {
    let coding =
        (compress && body.len() >= COMPRESSION_THRESHOLD).then(|| accepted_coding(request)).flatten();
    // Writing to memory does not fail; if it did, the plain body would be right too.
    let Some((name, packed)) = coding.and_then(|coding| Some((coding.name(), coding.pack(&body).ok()?)))
    else {
        return uncached(typed(StatusCode::OK, content_type, body));
    };
    let mut answer = typed(StatusCode::OK, content_type, packed);
    answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    uncached(answer)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    fn pack(self, body: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(body)?;
                encoder.finish()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(body)?;
                encoder.finish()
            }
        }
    }
}

fn accepted_coding(request: &HeaderMap) -> Option<Coding> {
    let accepted = request.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
    let accepts = |name: &str| {
        accepted.split(',').any(|part| {
            let (coding, quality) = part.split_once(';').unwrap_or((part, ""));
            coding.trim().eq_ignore_ascii_case(name) && !matches!(quality.trim(), "q=0" | "q=0.0")
        })
    };
    [Coding::Gzip, Coding::Deflate].into_iter().find(|coding| accepts(coding.name()))
}

/// Adds headers whose values come from configuration and request; one that HTTP cannot carry is left out.
pub(super) fn add_headers(answer: &mut Answer, headers: Vec<(&'static str, String)>) {
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            answer.headers_mut().append(name, value);
        }
    }
}

fn uncached(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coding(accept: &'static str) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accept));
        accepted_coding(&headers)
    }

    #[test]
    fn gzip_is_preferred_and_a_refused_coding_not_used() {
        for (accept, expected) in [
            ("gzip, deflate, br", Some(Coding::Gzip)),
            ("deflate", Some(Coding::Deflate)),
            ("gzip;q=0, deflate", Some(Coding::Deflate)),
            ("br", None),
            ("", None),
        ] {
            assert_eq!(coding(accept), expected, "{accept}");
        }
    }

    #[test]
    fn only_long_answers_are_compressed() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let encoding = |length, compress| {
            let answer = payload(BodyForm::Text, vec![b'4'; length].into(), &headers, compress);
            answer.headers().get(header::CONTENT_ENCODING).cloned()
        };
        assert_eq!(encoding(1023, true), None);
        assert_eq!(encoding(1024, true), Some(HeaderValue::from_static("gzip")));
        assert_eq!(encoding(1024, false), None);
    }
}
