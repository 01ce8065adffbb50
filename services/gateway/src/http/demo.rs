//! The demo page: a chat in rooms, and what back ends publish. Served with `--dev` only.

use http::{HeaderValue, Method, StatusCode, header};

use super::answer::{self, Answer};

/// Nothing from elsewhere, and no scripts but the page's own and the bundle.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One file of the page.
pub(super) struct DemoFile {
    content: &'static str,
    content_type: &'static str,
}

/// The file of the page at this path.
pub(super) fn find(path: &str) -> Option<DemoFile> {
    let (content, content_type) = match path {
        "/" | "/index.html" => (include_str!("../demo/index.html"), "text/html; charset=utf-8"),
        "/app.js" => (include_str!("../demo/app.js"), "text/javascript; charset=utf-8"),
        "/style.css" => (include_str!("../demo/style.css"), "text/css; charset=utf-8"),
        _ => return None,
    };
    Some(DemoFile { content, content_type })
}

impl DemoFile {
    pub(super) fn answer(&self, method: &Method) -> Answer {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return answer::empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        let mut answer = answer::typed(StatusCode::OK, self.content_type, self.content);
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
        answer
    }
}
