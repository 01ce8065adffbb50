//! Who a client is behind proxies: `X-Forwarded-For`, and PROXY headers in front of everything else.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::harness::{
    Cluster, Frames, Gateway, Http, Opcode, Polling, Request, WEBSOCKET, WebSocket, connect,
};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const TRUSTED: &str = "client.trusted_proxies=127.0.0.1,10.0.0.0/8";
const ANY: [&str; 2] = [TRUSTED, "client.proxy_protocol=any"];
const V1: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n";

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &length, body].concat()
}

/// 192.0.2.7, to port 443 of 10.0.0.1.
fn v2_ipv4() -> Vec<u8> {
    v2(0x21, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0xc3, 0x50, 1, 0xbb])
}

/// The addresses that `FetchSockets` tells of the sockets of `/`.
fn addresses(gateway: &Gateway) -> Vec<String> {
    let sockets = gateway.publisher().fetch("/");
    sockets.into_iter().map(|socket| socket.handshake.unwrap().address).collect()
}

/// A connection that begins with these bytes.
fn behind(gateway: &Gateway, header: &[u8]) -> Http {
    let mut http = gateway.http();
    http.write(header);
    http
}

/// Joins `/` by WebSocket behind these bytes, with this `X-Forwarded-For`.
fn joined(gateway: &Gateway, header: &[u8], forwarded_for: &[&str]) -> Frames {
    let mut http = behind(gateway, header);
    let request = Request::upgrade(WEBSOCKET);
    let request =
        forwarded_for.iter().fold(request, |request, value| request.header("X-Forwarded-For", value));
    let answer = http.send(&request);
    assert_eq!(answer.status, 101, "{answer:?}");
    let mut frames = Frames::after(http);
    assert!(frames.text().starts_with("0{"));
    frames.join();
    frames
}

/// Asserts that a socket that joins so is told to be at `expected`.
fn check(gateway: &Gateway, header: &[u8], forwarded_for: &[&str], expected: &str) {
    let mut socket = joined(gateway, header, forwarded_for);
    assert_eq!(addresses(gateway), [expected], "{header:?} {forwarded_for:?}");
    socket.send(Opcode::CLOSE, b"");
    socket.assert_closed(None);
    gateway.expect_metric("roomcast_connections", &[], 0.0);
}

#[test]
fn the_rightmost_address_that_is_no_proxy_is_the_client() {
    let gateway = Gateway::dev(&[TRUSTED]);
    check(&gateway, b"", &[], "127.0.0.1");
    check(&gateway, b"", &["192.0.2.1"], "192.0.2.1");
    check(&gateway, b"", &["198.51.100.1, 192.0.2.1, 10.0.0.9"], "192.0.2.1");
    check(&gateway, b"", &["198.51.100.1", "192.0.2.1", "10.0.0.9"], "192.0.2.1");
    check(&gateway, b"", &["2001:db8::1"], "2001:db8::1");
    check(&gateway, b"", &["198.51.100.1, nonsense"], "127.0.0.1");
    // The same over polling, and on a connection that carries many clients.
    let mut http = gateway.http();
    for address in ["192.0.2.3", "192.0.2.4"] {
        let open = http.send(&Request::get(POLLING).header("X-Forwarded-For", address)).text();
        let sid = open.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        assert_eq!(http.send(&Request::post(&format!("{POLLING}&sid={sid}"), "40")).text(), "ok");
    }
    let mut told = addresses(&gateway);
    told.sort();
    assert_eq!(told, ["192.0.2.3", "192.0.2.4"]);
}

#[test]
fn without_configuration_nobody_is_believed() {
    let gateway = Gateway::dev(&[]);
    check(&gateway, b"", &["192.0.2.1"], "127.0.0.1");
    // A PROXY header is no HTTP, whoever sends it.
    for header in [V1, &v2_ipv4()] {
        assert_eq!(behind(&gateway, header).rest(), b"");
    }
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "proxy_header")], 2.0);
    let line = gateway.log_line(|line| line["kind"] == "proxy_header_refused");
    assert_eq!(line["address"], "127.0.0.1");
    assert!(line["error"].as_str().unwrap().contains("client.proxy_protocol"), "{line}");
}

#[test]
fn proxy_headers_of_both_versions_name_the_client() {
    let ipv6 = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9], [0; 16]].concat();
    let values =
        [&[192, 0, 2, 8, 10, 0, 0, 1, 0, 1, 0, 2][..], &[0x02, 0, 4], b"host", &[0x20, 0, 0]].concat();
    let gateway = Gateway::dev(&ANY);
    for (header, address) in [
        (V1.to_vec(), "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 50000 443\r\n".to_vec(), "2001:db8::1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), "127.0.0.1"),
        (v2_ipv4(), "192.0.2.7"),
        (v2(0x21, 0x21, &[ipv6, vec![0; 4]].concat()), "2001:db8::9"),
        (v2(0x21, 0x11, &values), "192.0.2.8"),
        // The proxy itself, unix sockets, and an unknown family.
        (v2(0x20, 0x00, b""), "127.0.0.1"),
        (v2(0x20, 0x11, &values), "127.0.0.1"),
        (v2(0x21, 0x31, &[b'x'; 216]), "127.0.0.1"),
        (v2(0x21, 0x00, b""), "127.0.0.1"),
    ] {
        check(&gateway, &header, &[], address);
    }
    // A proxy that speaks HTTP behind one that does not.
    check(&gateway, b"PROXY TCP4 10.9.9.9 10.0.0.1 1 2\r\n", &["192.0.2.1, 192.0.2.5"], "192.0.2.5");
    check(&gateway, V1, &["198.51.100.1"], "192.0.2.1");
    gateway.expect_metric("roomcast_requests_refused_total", &[], 0.0);
}

#[test]
fn a_version_that_is_not_configured_is_refused() {
    for (version, good, bad) in [("v1", V1.to_vec(), v2_ipv4()), ("v2", v2_ipv4(), V1.to_vec())] {
        let gateway = Gateway::dev(&[TRUSTED, &format!("client.proxy_protocol={version}")]);
        joined(&gateway, &good, &[]);
        assert_eq!(behind(&gateway, &bad).rest(), b"", "{version}");
        gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "proxy_header")], 1.0);
    }
}

#[test]
fn malformed_proxy_headers_close_their_connection_without_a_word() {
    let mut gateway = Gateway::dev(&ANY);
    let mut neighbour = joined(&gateway, V1, &[]);
    let ipv4 = [192, 0, 2, 8, 10, 0, 0, 1, 0, 1, 0, 2];
    let cases: &[(&str, Vec<u8>)] = &[
        ("none at all", Request::upgrade(WEBSOCKET).bytes()),
        ("a word that is none", b"PROXI TCP4".to_vec()),
        ("an unknown family", b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n".to_vec()),
        ("an address that is none", b"PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n".to_vec()),
        ("a port that is none", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n".to_vec()),
        ("a line without an end", format!("PROXY UNKNOWN {}", "x".repeat(200)).into_bytes()),
        ("version 3", v2(0x31, 0x11, &ipv4)),
        ("an unknown command", v2(0x22, 0x11, &ipv4)),
        ("an unknown address family", v2(0x21, 0x51, &ipv4)),
        ("too short for its addresses", v2(0x21, 0x21, &ipv4)),
        ("a value that is cut", v2(0x21, 0x11, &[&ipv4[..], &[4, 0, 9, 1]].concat())),
        ("more than 4096 bytes", v2(0x21, 0x11, &[0; 4081])),
    ];
    for (count, (name, bytes)) in (1_u8..).zip(cases) {
        eprintln!("{name}");
        assert_eq!(behind(&gateway, bytes).rest(), b"");
        gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "proxy_header")], count.into());
    }
    gateway.log_line(|line| line["kind"] == "proxy_header_refused");
    neighbour.send(Opcode::PING, b"");
    assert_eq!(neighbour.frame().opcode, Opcode::PONG);
    gateway.assert_unharmed();
}

#[test]
fn a_proxy_header_may_come_byte_by_byte_and_with_all_that_follows_in_one_segment() {
    let gateway = Gateway::dev(&ANY);
    let request = Request::upgrade(WEBSOCKET).bytes();
    for header in [V1, &v2_ipv4()] {
        let mut http = gateway.http();
        for byte in [header, &request].concat() {
            http.write(&[byte]);
        }
        assert_eq!(http.answer().status, 101);
        let mut http = behind(&gateway, &[header, &request].concat());
        assert_eq!(http.answer().status, 101);
        let poll = Request::get(POLLING).close().bytes();
        assert_eq!(behind(&gateway, &[header, &poll].concat()).answer().status, 200);
    }
    let longest = v2(0x21, 0x11, &[&v2_ipv4()[16..], &[4, 0x0f, 0xe1], &[0; 4065]].concat());
    assert_eq!(longest.len(), 4096);
    assert_eq!(behind(&gateway, &longest).send(&Request::upgrade(WEBSOCKET)).status, 101);
}

#[test]
fn a_proxy_header_that_does_not_end_is_closed_in_time() {
    let gateway = Gateway::dev(&[TRUSTED, "client.proxy_protocol=any", "limits.request_timeout_ms=300"]);
    let mut neighbour = joined(&gateway, V1, &[]);
    for begun in [b"".as_slice(), b"PROXY TCP4 192.0.2.1", b"\r\n\r\n\0", &v2(0x21, 0x11, b"")[..16]] {
        assert_eq!(behind(&gateway, begun).rest(), b"");
    }
    // A header does not buy time for the request behind it.
    assert_eq!(behind(&gateway, V1).rest(), b"");
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "proxy_header")], 4.0);
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "malformed_request")], 1.0);
    // A balancer that looks whether the port is open offends nobody; one that hangs up in its header does.
    drop(gateway.http());
    drop(behind(&gateway, b"PROXY TCP4"));
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "proxy_header")], 5.0);
    neighbour.send(Opcode::PING, b"");
    assert_eq!(neighbour.frame().opcode, Opcode::PONG);
}

#[test]
fn connections_of_others_than_proxies_begin_with_http() {
    let gateway = Gateway::dev(&["client.trusted_proxies=10.0.0.0/8", "client.proxy_protocol=any"]);
    check(&gateway, b"", &["192.0.2.1"], "127.0.0.1");
    assert_eq!(behind(&gateway, V1).rest(), b"");
    let line = gateway.log_line(|line| line["kind"] == "proxy_header_refused");
    assert!(line["error"].as_str().unwrap().contains("client.trusted_proxies"), "{line}");
}

#[test]
fn the_address_of_a_proxy_header_is_the_one_that_limits_count() {
    let gateway = Gateway::dev(&[&ANY[..], &["limits.connections_per_address=2"]].concat());
    let _held = [joined(&gateway, V1, &[]), joined(&gateway, V1, &[])];
    let mut third = behind(&gateway, V1);
    assert_eq!(third.send(&Request::get(POLLING)).status, 429);
    assert_eq!(behind(&gateway, &v2_ipv4()).send(&Request::get(POLLING)).status, 200);
    gateway.log_line(|line| line["kind"] == "address_limited" && line["address"] == "192.0.2.1");
}

#[test]
fn a_session_keeps_the_address_that_it_began_with_at_any_gateway() {
    let cluster = Cluster::dev(2, &[TRUSTED]);
    let open = Request::get(POLLING).header("X-Forwarded-For", "192.0.2.1");
    let session = Polling::open_by(&cluster[0], &open);
    let away = session.over(&cluster[1]);
    let push = Request::post(&away.target(), "40").header("X-Forwarded-For", "192.0.2.1, 10.0.0.5");
    assert_eq!(away.send(&push).text(), "ok");
    assert!(away.poll().starts_with("40{"));
    let mut upgraded = WebSocket::open(connect(cluster[1].client), &session.upgrade_target());
    upgraded.send("2probe");
    assert_eq!(upgraded.text(), "3probe");
    upgraded.send("5");
    cluster[0].expect_metric("roomcast_upgrades_total", &[], 1.0);
    assert_eq!(addresses(&cluster[0]), ["192.0.2.1"]);
}

#[test]
fn a_place_goes_with_a_websocket_that_passes_through_a_gateway() {
    let cluster = Cluster::dev(2, &["limits.unlimited_addresses=", "limits.connections_per_address=1"]);
    let session = Polling::open(&cluster[0]);
    let mut passing = Frames::open(cluster[1].client, &session.upgrade_target());
    passing.send(Opcode::TEXT, b"2probe");
    assert_eq!(passing.text(), "3probe");
    let mut refused: TcpStream = connect(cluster[1].client);
    refused.write_all(b"GET / HTTP/1.1\r\n\r\n").ok();
    let mut answer = [0; 12];
    refused.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 429");
}
