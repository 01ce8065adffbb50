//! HTTP long-polling as a client does it that has one connection: a GET at a time, and a POST between two of them.

use std::io;

/// Between the packets of a body.
pub(crate) const SEPARATOR: u8 = 0x1e;

/// A session over polling.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Path and query of all requests once the session is open.
    path: String,
    /// The packets of the next POST.
    outgoing: Vec<u8>,
}

/// The request that opens a session.
pub(crate) fn first_request() -> &'static [u8] {
    b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
}

impl Session {
    /// Takes the sid out of an open packet, whose type is left out.
    ///
    /// # Errors
    /// When it has none.
    pub(crate) fn open(&mut self, open: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(open);
        let sid = text.split_once(r#""sid":""#).and_then(|(_, rest)| rest.split_once('"'));
        let (sid, _) = sid.ok_or_else(|| io::Error::other("an open packet without a sid"))?;
        self.path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        Ok(())
    }

    pub(crate) fn queue(&mut self, packet: &str) {
        if !self.outgoing.is_empty() {
            self.outgoing.push(SEPARATOR);
        }
        self.outgoing.extend(packet.bytes());
    }

    /// Appends the request that follows a response.
    pub(crate) fn next_request(&mut self, out: &mut Vec<u8>) {
        let path = &self.path;
        if self.outgoing.is_empty() {
            out.extend(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").bytes());
            return;
        }
        let length = self.outgoing.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain;charset=UTF-8\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        out.extend(head.bytes());
        out.append(&mut self.outgoing);
    }
}

/// Body and whole length of the response at the start of `bytes`; `None` until it is complete.
///
/// # Errors
/// When it is a refusal, or does not state its length.
pub(crate) fn first_response(bytes: &[u8]) -> io::Result<Option<(&[u8], usize)>> {
    let Some(head_len) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..head_len]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(io::Error::other(format!(
            "the server refuses a poll: {}",
            head.lines().next().unwrap_or("")
        )));
    }
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let Some(length) = length else { return Err(io::Error::other("a response without its length")) };
    let start = head_len + 4;
    Ok(bytes.get(start..start + length).map(|body| (body, start + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_found_once_they_are_complete() {
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nx: y\r\n\r\n2\x1e6HTTP";
        let (body, length) = first_response(response).unwrap().unwrap();
        assert_eq!((body, &response[length..]), (&b"2\x1e6"[..], &b"HTTP"[..]));
        assert!(first_response(&response[..length - 1]).unwrap().is_none());
        assert!(first_response(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").is_err());
    }

    #[test]
    fn packets_are_posted_before_the_next_poll() {
        let mut session = Session::default();
        session.open(br#"{"sid":"abc","pingInterval":1}"#).unwrap();
        session.queue("40");
        session.queue("3");
        let (mut post, mut get) = (Vec::new(), Vec::new());
        session.next_request(&mut post);
        session.next_request(&mut get);
        assert!(post.starts_with(b"POST /socket.io/?EIO=4&transport=polling&sid=abc HTTP"));
        assert!(post.ends_with(b"\r\n\r\n40\x1e3"));
        assert!(get.starts_with(b"GET "));
    }
}
