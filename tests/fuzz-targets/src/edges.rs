//! What stands in front of the machines: HTTP, Redis' replies, balancers' headers, and the publish API's JSON.

use std::net::{IpAddr, Ipv4Addr};

use admission::{HEADER_BYTES_MAX, ProxyHeader, ProxyProtocol, client_address};

use crate::redis::clients_take;

/// The first bytes of a connection: the answer to a request for a WebSocket is a head of HTTP and nothing behind it, and
/// does not depend on what follows the request.
pub(crate) fn http_head(bytes: &[u8]) {
    let Some((length, answer)) = roomcast_gateway::fuzzing::first_bytes(bytes) else { return };
    assert!(length <= bytes.len());
    let (request, _) = bytes.split_at(length);
    let more = [request, b"\x81\x80\0\0\0\0"].concat();
    assert_eq!(roomcast_gateway::fuzzing::first_bytes(&more), Some((length, answer.clone())));
    for end in [length - 1, length / 2] {
        assert_eq!(
            roomcast_gateway::fuzzing::first_bytes(&bytes[..end]),
            None,
            "half a request was answered"
        );
    }
    if !answer.is_empty() {
        assert_whole_head(&answer);
    }
}

/// Nothing of the request gets out of its place in the answer.
fn assert_whole_head(answer: &[u8]) {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let end = match response.parse(answer).expect("an answer of HTTP") {
        httparse::Status::Complete(end) => end,
        httparse::Status::Partial => panic!("half an answer"),
    };
    let known = [
        "upgrade",
        "connection",
        "sec-websocket-accept",
        "sec-websocket-protocol",
        "sec-websocket-extensions",
        "sec-websocket-version",
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "vary",
        "retry-after",
        "content-type",
        "content-length",
    ];
    for header in response.headers.iter() {
        let name = header.name.to_ascii_lowercase();
        assert!(known.contains(&&*name), "a header that nobody writes: {name}");
    }
    match response.code {
        Some(101) => assert_eq!(end, answer.len(), "something behind the head"),
        code => assert!(matches!(code, Some(400 | 403 | 429 | 503)), "{code:?}"),
    }
}

/// Replies of Redis: a frame is the same whatever follows it, and no beginning of it is one.
pub(crate) fn resp(bytes: &[u8]) {
    use redis_link::fuzzing::frame;

    let mut rest = bytes;
    while !rest.is_empty() {
        let whole = frame(rest);
        let Ok(Some((found, length))) = whole else { break };
        assert!(length > 0 && length <= rest.len());
        let (this, behind) = rest.split_at(length);
        assert_eq!(frame(this), Ok(Some((found, length))), "it depends on what follows");
        for end in [length - 1, length / 2, length / 3] {
            assert_eq!(frame(&this[..end]), Ok(None), "half a frame is one, or none");
        }
        rest = behind;
    }
}

/// What a balancer writes in front of a connection; the first byte chooses what is allowed. What was told is told again
/// with more bytes, and not with fewer.
pub(crate) fn proxy_header(bytes: &[u8]) {
    let Some((selector, bytes)) = bytes.split_first() else { return };
    let allowed = match selector % 4 {
        0 => ProxyProtocol::Off,
        1 => ProxyProtocol::V1,
        2 => ProxyProtocol::V2,
        _ => ProxyProtocol::Any,
    };
    let whole = ProxyHeader::parse(bytes, allowed);
    match whole {
        Ok(Some(header)) => {
            assert!(header.length > 0 && header.length <= bytes.len().min(HEADER_BYTES_MAX));
            assert_ne!(allowed, ProxyProtocol::Off);
            for end in 0..header.length {
                assert_eq!(ProxyHeader::parse(&bytes[..end], allowed), Ok(None), "half a header");
            }
        }
        Ok(None) => assert!(bytes.len() < HEADER_BYTES_MAX, "more than the longest header, and none"),
        Err(_) => {}
    }
    let more = [bytes, b"GET / HTTP/1.1\r\n"].concat();
    match ProxyHeader::parse(&more, allowed) {
        // More bytes may decide what was open.
        after if whole != Ok(None) => assert_eq!(after, whole, "it depends on what follows"),
        _ => {}
    }
}

/// `X-Forwarded-For` headers, one per line: what proxies of 10.0.0.0/8 have written counts, and nothing else.
pub(crate) fn forwarded_for(bytes: &[u8]) {
    let trusted = ["10.0.0.0/8".parse().expect("a range of addresses")];
    let values = || bytes.split(|byte| *byte == b'\n').collect::<Vec<_>>();
    let stranger = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(client_address(stranger, &trusted, values()), stranger);
    let proxy = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let found = client_address(proxy, &trusted, values());
    // Whom an untrusted hop names does not matter: what stands in front of the address that was found.
    let text = String::from_utf8_lossy(bytes);
    assert!(found == proxy || text.contains(['.', ':']), "an address from nowhere");
}

/// A request of the publish API in JSON, behind a byte that chooses the rpc: what it publishes, clients understand.
pub(crate) fn publish_json(bytes: &[u8]) {
    let Some((rpc, body)) = bytes.split_first() else { return };
    if let Some(broadcast) = publish::fuzzing::request((*rpc).into(), body) {
        clients_take(&broadcast);
    }
}

/// A request of the publish API in Protobuf, read where it lies: as `prost` reads it, and clients understand what it
/// publishes.
pub(crate) fn publish_wire(bytes: &[u8]) {
    if let Some(broadcast) = publish::fuzzing::wire(bytes) {
        clients_take(&broadcast);
    }
}
