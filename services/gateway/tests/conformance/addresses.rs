//! How much one address may take: at the limit, one over, and whoever comes from elsewhere.

use std::time::Instant;

use crate::harness::{Frames, Gateway, Http, PATIENCE, Polling, Request, Response, WEBSOCKET};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
/// Loopback counts like any other address.
const COUNT_LOOPBACK: &str = "limits.unlimited_addresses=";
/// Requests come from whom `X-Forwarded-For` names.
const BEHIND_PROXY: &str = "client.trusted_proxies=127.0.0.1";

/// Asserts the answer to a client whose address is at a limit.
fn assert_too_many(answer: &Response) {
    assert_eq!((answer.status, answer.header("Retry-After").as_deref()), (429, Some("5")), "{answer:?}");
    assert_eq!(answer.header("Connection").as_deref(), Some("close"));
}

fn from(address: &str, request: Request) -> Request {
    request.header("X-Forwarded-For", address)
}

/// The answer to a polling handshake of this address.
fn poll_from(gateway: &Gateway, address: &str) -> Response {
    gateway.http().send(&from(address, Request::get(POLLING)).close())
}

/// The answer to a WebSocket handshake of this address, and its connection.
fn websocket_from(gateway: &Gateway, address: &str) -> (Response, Http) {
    let mut http = gateway.http();
    (http.send(&from(address, Request::upgrade(WEBSOCKET))), http)
}

/// Asks until the answer is 200.
fn expect_admitted(ask: impl Fn() -> Response) {
    let deadline = Instant::now() + PATIENCE;
    while ask().status != 200 {
        assert!(Instant::now() < deadline, "the place of what has gone stays taken");
    }
}

#[test]
fn one_connection_over_those_of_an_address_gets_429_until_another_has_gone() {
    let mut gateway = Gateway::dev(&[COUNT_LOOPBACK, "limits.connections_per_address=3"]);
    let mut first = gateway.joined();
    let (_second, third) = (gateway.joined(), gateway.http());
    for request in [Request::get(POLLING), Request::upgrade(WEBSOCKET)] {
        assert_too_many(&gateway.http().send(&request));
    }
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "address_connections")], 2.0);
    let line = gateway.log_line(|line| line["kind"] == "address_limited");
    assert_eq!((&line["address"], &line["cause"]), (&"127.0.0.1".into(), &"address_connections".into()));
    first.assert_alive();
    drop(third);
    expect_admitted(|| gateway.get(POLLING));
    gateway.assert_unharmed();
}

#[test]
fn one_session_over_those_of_an_address_gets_429_on_either_transport() {
    let gateway = Gateway::dev(&[BEHIND_PROXY, "limits.connections_per_address=2", "client.shards=2"]);
    let ada = "192.0.2.1";
    let first = Polling::open_by(&gateway, &from(ada, Request::get(POLLING)));
    let (answer, second) = websocket_from(&gateway, ada);
    assert_eq!(answer.status, 101);
    assert_too_many(&poll_from(&gateway, ada));
    let (refused, _) = websocket_from(&gateway, ada);
    assert_too_many(&refused);
    assert_eq!(refused.text(), "Too many connections");
    // On a connection that has spoken HTTP before.
    let mut used = gateway.http();
    assert_eq!(used.send(&Request::get("/nowhere")).status, 404);
    assert_too_many(&used.send(&from(ada, Request::upgrade(WEBSOCKET))));
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "address_connections")], 3.0);
    // Others are not touched, nor is what the two sessions do, upgrades included.
    assert_eq!(poll_from(&gateway, "192.0.2.2").status, 200);
    first.push("40");
    assert!(first.poll().starts_with("40{"));
    let mut upgrade = Frames::open(gateway.client, &first.upgrade_target());
    upgrade.write(&crate::harness::masked(0x81, b"2probe"));
    assert_eq!(upgrade.text(), "3probe");
    drop(second);
    expect_admitted(|| poll_from(&gateway, ada));
    assert_too_many(&poll_from(&gateway, ada));
    first.push("1");
    expect_admitted(|| poll_from(&gateway, ada));
}

#[test]
fn new_connections_of_an_address_over_its_rate_get_429_until_time_has_passed() {
    let gateway = Gateway::dev(&[COUNT_LOOPBACK, "limits.new_connections_per_address=5"]);
    let mut neighbour = gateway.joined();
    let since = Instant::now();
    let mut admitted = 1.0;
    let refused = loop {
        let answer = gateway.http().send(&Request::get("/nowhere").close());
        // As many as fit into the time, and those that a rested address has at once.
        let most = 5.0 + 5.0 * since.elapsed().as_secs_f64();
        match answer.status {
            404 => admitted += 1.0,
            _ => break answer,
        }
        assert!(admitted <= most, "{admitted} admitted; allowed: {most}");
    };
    assert!(admitted >= 5.0, "{admitted}");
    assert_too_many(&refused);
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "address_rate")], 1.0);
    gateway.log_line(|line| line["kind"] == "address_limited" && line["cause"] == "address_rate");
    neighbour.assert_alive();
    expect_admitted(|| gateway.get(POLLING));
}

#[test]
fn new_sessions_of_an_address_over_its_rate_get_429_and_others_do_not() {
    let gateway = Gateway::dev(&[BEHIND_PROXY, "limits.new_connections_per_address=3"]);
    let since = Instant::now();
    let admitted = (0..500).take_while(|_| poll_from(&gateway, "192.0.2.1").status == 200).count();
    let most = 3.0 + 3.0 * since.elapsed().as_secs_f64();
    assert!(admitted >= 3 && admitted as f64 <= most, "{admitted} admitted; allowed: {most}");
    assert_eq!(poll_from(&gateway, "192.0.2.2").status, 200);
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "address_rate")], 1.0);
}

#[test]
fn ipv6_addresses_count_by_their_prefix() {
    for (bits, same, other) in [
        (64, "2001:db8:0:1:ffff::9", "2001:db8:0:2::1"),
        (48, "2001:db8:0:ffff::1", "2001:db8:1:1::1"),
        (128, "2001:db8:0:1:0::1", "2001:db8:0:1::2"),
    ] {
        let prefix = format!("limits.ipv6_prefix_bits={bits}");
        let gateway = Gateway::dev(&[BEHIND_PROXY, "limits.connections_per_address=1", &prefix]);
        assert_eq!(poll_from(&gateway, "2001:db8:0:1::1").status, 200);
        assert_too_many(&poll_from(&gateway, same));
        assert_eq!(poll_from(&gateway, other).status, 200, "{bits} {other}");
    }
}

#[test]
fn addresses_without_limits_and_limits_of_0_have_none() {
    let limits = ["limits.connections_per_address=1", "limits.new_connections_per_address=1"];
    let none = ["limits.connections_per_address=0", "limits.new_connections_per_address=0"];
    let cases = [
        [limits.as_slice(), &[BEHIND_PROXY, "limits.unlimited_addresses=192.0.2.0/24"]].concat(),
        [none.as_slice(), &[BEHIND_PROXY]].concat(),
    ];
    for keys in cases {
        let gateway = Gateway::dev(&keys);
        for _ in 0..30 {
            assert_eq!(poll_from(&gateway, "192.0.2.1").status, 200, "{keys:?}");
        }
    }
    // By default loopback has none.
    let gateway = Gateway::dev(&limits);
    let connections: Vec<_> = (0..30).map(|_| gateway.joined()).collect();
    assert_eq!(connections.len(), 30);
}

#[test]
fn an_address_at_its_limit_on_one_shard_is_so_on_all() {
    let gateway = Gateway::dev(&[COUNT_LOOPBACK, "limits.connections_per_address=4", "client.shards=4"]);
    let held: Vec<_> = (0..4).map(|_| gateway.joined()).collect();
    for _ in 0..16 {
        assert_too_many(&gateway.http().send(&Request::get(POLLING)));
    }
    drop(held);
    expect_admitted(|| gateway.get(POLLING));
}
