//! What is told of the request that a session begins with. The one place that reads the clock for it.

use std::{
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use broker::HandshakeRecord;
use http::Request;

use crate::http::Service;

/// What is kept of a request that begins a session now. `address` is the client's, `secure` whether it speaks TLS.
pub(crate) fn record<'a>(
    url: &str,
    headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    address: IpAddr,
    secure: bool,
) -> HandshakeRecord {
    // A clock before 1970 is shown as 1970.
    let issued = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let issued_ms = u64::try_from(issued.as_millis()).unwrap_or(u64::MAX);
    HandshakeRecord::new(url, headers, address, secure, issued_ms)
}

impl Service {
    /// The same for a request of `client` that the HTTP library has read.
    pub(crate) fn handshake_of<B>(&self, request: &Request<B>, client: IpAddr) -> HandshakeRecord {
        let url = request.uri().path_and_query().map_or("", |url| url.as_str());
        // Those of one name stand together: which of them came first is all that matters.
        let headers: Vec<(&str, &[u8])> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        record(url, headers.iter().copied(), client, self.context.tls.is_some())
    }
}
