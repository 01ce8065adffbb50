//! HTTP/1.1 by hand: exact bytes out, status, headers and body in.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::connect;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.into(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target).body(body)
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("Content-Length", &length)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Asks the server to close the connection behind its answer.
    pub(crate) fn close(self) -> Self {
        self.header("Connection", "close")
    }

    /// Asks for a WebSocket, with the key of RFC 6455, section 1.3.
    pub(crate) fn upgrade(target: &str) -> Self {
        Self::get(target)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// The bytes of the request.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: gateway\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// An answer of which only the body is of interest.
    pub(crate) fn of_text(body: &str) -> Self {
        Self { status: 200, reason: String::new(), headers: Vec::new(), body: body.into() }
    }

    /// The value of a header; several of one name joined by a comma, as HTTP has them mean.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let fits = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let values: Vec<_> = fits.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// Asserts the error of the table with this code.
    pub(crate) fn assert_error(&self, code: u8, message: &str) {
        let expected = format!("{{\"code\":{code},\"message\":\"{message}\"}}");
        let status = if code == 4 { 403 } else { 400 };
        assert_eq!((self.status, self.text()), (status, expected), "{self:?}");
        assert_eq!(self.header("Content-Type").as_deref(), Some("application/json"), "{self:?}");
    }
}

/// A connection that HTTP is spoken on, over TCP or what a test puts in its place.
pub(crate) struct Http<S = TcpStream> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

impl Http {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(connect(address))
    }
}

impl<S: Read + Write> Http<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends a request and reads its answer.
    pub(crate) fn send(&mut self, request: &Request) -> Response {
        self.write(&request.bytes());
        self.answer_to(&request.method)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Reads one answer to a request other than HEAD.
    pub(crate) fn answer(&mut self) -> Response {
        self.answer_to("GET")
    }

    fn answer_to(&mut self, method: &str) -> Response {
        let mut response = self.head();
        let bodiless = method == "HEAD" || response.status < 200 || matches!(response.status, 204 | 304);
        let length = response.header("Content-Length").map(|length| length.parse().unwrap());
        response.body = match (bodiless, length) {
            (true, _) => Vec::new(),
            (false, Some(length)) => self.take(length),
            // Nothing of ours needs chunks: every body is whole before it is sent.
            (false, None) => panic!("no length in {response:?}"),
        };
        response
    }

    fn head(&mut self) -> Response {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            assert!(
                self.fill(),
                "the connection ended in a head: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        };
        let head = String::from_utf8(self.take(end + 4)).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let mut status_line = lines.next().unwrap().splitn(3, ' ');
        assert_eq!(status_line.next(), Some("HTTP/1.1"));
        let status = status_line.next().unwrap().parse().unwrap();
        let reason = status_line.next().unwrap_or_default().into();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        });
        Response { status, reason, headers: headers.collect(), body: Vec::new() }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(
                self.fill(),
                "the connection ended in a body: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        }
        self.buffer.drain(..count).collect()
    }

    /// Reads some bytes; false at the end of the stream.
    fn fill(&mut self) -> bool {
        let mut bytes = [0; 64 * 1024];
        let count = self.stream.read(&mut bytes).unwrap();
        self.buffer.extend_from_slice(&bytes[..count]);
        count > 0
    }

    /// What comes until the server ends the connection; a reset is an end as well.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.buffer);
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the server did not end the connection: {error}"),
        }
        rest
    }

    /// The stream and what was read of it beyond the last answer.
    pub(crate) fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.buffer)
    }
}

/// The contents of a gzip body.
pub(crate) fn unzipped(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    plain
}
