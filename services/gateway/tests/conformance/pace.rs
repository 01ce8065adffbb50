//! How fast one connection may send: at the limit, one over, and whoever is beside it.

use std::time::Instant;

use crate::harness::{Frames, Gateway, Polling, Request, Response, WEBSOCKET, masked};

const RATE: &str = "limits.packets_per_second=20";
const PACKET_RATE: [(&str, &str); 1] = [("cause", "packet_rate")];

/// A gateway that takes 20 packets per second, and a neighbour who is to be unharmed.
fn neighbourhood() -> (Gateway, Polling) {
    let gateway = Gateway::dev(&[RATE]);
    let neighbour = Polling::joined(&gateway);
    (gateway, neighbour)
}

fn assert_alive(neighbour: &Polling) {
    neighbour.push("420[\"a\"]");
    assert_eq!(neighbour.poll(), "430[{\"status\":\"ok\"}]");
}

#[test]
fn a_websocket_over_its_rate_is_closed_with_1008_whatever_it_sends() {
    let (mut gateway, neighbour) = neighbourhood();
    let cases: &[(&str, Vec<u8>)] = &[
        ("events", masked(0x81, b"42[\"a\"]")),
        ("pongs of the heartbeat", masked(0x81, b"3")),
        ("pings", masked(0x89, b"")),
        ("pongs", masked(0x8a, b"")),
        ("fragments", [masked(0x01, b"4"), masked(0x00, b"").repeat(2000)].concat()),
    ];
    for (count, (name, bytes)) in (1_u8..).zip(cases) {
        eprintln!("{name}");
        let mut frames = gateway.frames();
        frames.join();
        frames.write(&bytes.repeat(2000));
        let code = loop {
            let frame = frames.frame();
            if frame.opcode == crate::harness::Opcode::CLOSE {
                break frame.close_code();
            }
        };
        assert_eq!(code, Some(1008));
        gateway.expect_metric("roomcast_peer_faults_total", &PACKET_RATE, count.into());
        let closed = [("transport", "websocket"), ("reason", "forced close")];
        gateway.expect_metric("roomcast_connections_closed_total", &closed, count.into());
        assert_alive(&neighbour);
    }
    let line = gateway.log_line(|line| line["kind"] == "packet_rate_exceeded");
    assert_eq!(line["address"], "127.0.0.1");
    gateway.assert_unharmed();
}

#[test]
fn a_websocket_may_send_as_many_packets_at_once_as_its_rate() {
    let (gateway, _) = neighbourhood();
    let mut http = gateway.http();
    assert_eq!(http.send(&Request::upgrade(WEBSOCKET)).status, 101);
    let mut frames = Frames::after(http);
    // With the CONNECT these are 20.
    let events: Vec<u8> = (0..19).flat_map(|id| masked(0x81, format!("42{id}[\"a\"]").as_bytes())).collect();
    frames.write(&[masked(0x81, b"40"), events].concat());
    assert!(frames.text().starts_with("0{") && frames.text().starts_with("40{"));
    for id in 0..19 {
        assert_eq!(frames.text(), format!("43{id}[{{\"status\":\"ok\"}}]"));
    }
    gateway.expect_metric("roomcast_peer_faults_total", &PACKET_RATE, 0.0);
}

#[test]
fn a_push_over_the_rate_gets_429_and_ends_its_session() {
    let (gateway, neighbour) = neighbourhood();
    let session = Polling::open(&gateway);
    let events = |count| vec!["42[\"a\"]"; count].join("\u{1e}");
    // With the CONNECT these are 20.
    session.push(&format!("40\u{1e}{}", events(19)));
    let answer = session.try_push(&events(500));
    assert_eq!((answer.status, answer.header("Retry-After").as_deref()), (429, Some("5")));
    assert!(session.poll().ends_with("\u{1e}1"));
    session.assert_unknown();
    gateway.expect_metric("roomcast_peer_faults_total", &PACKET_RATE, 1.0);
    assert_alive(&neighbour);
}

/// Sends requests on one connection until one is refused; how many were not, and the refusal.
fn requests_until_refused(gateway: &Gateway, request: &Request) -> (f64, Response) {
    let mut http = gateway.http();
    for answered in 0..10_000 {
        let answer = http.send(request);
        if answer.status == 429 {
            assert_eq!(http.rest(), b"", "the connection ends");
            return (f64::from(answered), answer);
        }
    }
    panic!("10,000 requests, and none is refused");
}

#[test]
fn requests_of_one_connection_over_the_rate_get_429_and_end_it() {
    let (gateway, neighbour) = neighbourhood();
    let since = Instant::now();
    let (answered, refused) = requests_until_refused(&gateway, &Request::get("/nowhere"));
    let most = 20.0 + 20.0 * since.elapsed().as_secs_f64();
    assert!(answered >= 20.0 && answered <= most, "{answered} answered; allowed: {most}");
    assert_eq!(refused.header("Connection").as_deref(), Some("close"));
    gateway.expect_metric("roomcast_requests_refused_total", &[("cause", "request_rate")], 1.0);
    assert_alive(&neighbour);
    // A proxy's connection carries many clients.
    let gateway = Gateway::dev(&[RATE, "client.trusted_proxies=127.0.0.1"]);
    let mut http = gateway.http();
    for _ in 0..200 {
        assert_eq!(http.send(&Request::get("/nowhere")).status, 404);
    }
}
