//! The end of the process: unready at once, clients closed over the drain period, exit code 0.

use std::{
    io::ErrorKind,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::harness::{Gateway, PATIENCE, Polling, Request};

const WEBSOCKETS: usize = 200;
const POLLS: usize = 10;
const DRAIN: Duration = Duration::from_millis(1500);

/// When and how one client was told.
struct Told {
    after: Duration,
    polling: bool,
}

fn draining(gateway: &Gateway) {
    gateway.log_line(|line| line["kind"] == "drain_started");
}

#[test]
fn a_drain_is_announced_spread_and_complete() {
    let mut gateway = Gateway::dev(&["shutdown.drain_ms=1500", "client.shards=2"]);
    let websockets: Vec<_> = (0..WEBSOCKETS).map(|_| gateway.joined()).collect();
    let sessions: Vec<_> = (0..POLLS).map(|_| Polling::joined(&gateway)).collect();
    // An answered request proves that the poll before it on the same connection would wait as well.
    let polls: Vec<_> = sessions.iter().map(Polling::start_poll).collect();
    sessions.iter().zip(&polls).for_each(|(session, _)| session.push("3"));
    let mut idle = gateway.http();
    assert_eq!(idle.send(&Request::get("/")).status, 200);

    let started = Instant::now();
    let websockets = websockets.into_iter().map(|mut client| {
        thread::spawn(move || {
            // The very next message is the close frame: no packet goes in front of it.
            assert_eq!(client.closed(), None);
            Told { after: started.elapsed(), polling: false }
        })
    });
    let websockets: Vec<_> = websockets.collect();
    let polls = polls.into_iter().map(|mut poll| {
        thread::spawn(move || {
            assert_eq!(poll.answer().text(), "1");
            Told { after: started.elapsed(), polling: true }
        })
    });
    let polls: Vec<_> = polls.collect();

    gateway.signal("TERM");
    draining(&gateway);
    let ready = gateway.ops("/health/ready");
    assert_eq!((ready.status, ready.text().as_str()), (503, "{\"ready\":false,\"reasons\":[\"draining\"]}"));
    assert_eq!(gateway.ops("/health/live").status, 200);
    let refused = loop {
        assert!(started.elapsed() < DRAIN, "connections are taken while the gateway drains");
        match TcpStream::connect(gateway.client) {
            // It was on its way while the port was closed.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => break error,
            Ok(_) => {}
        }
    };
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    let told: Vec<Told> = websockets.into_iter().chain(polls).map(|told| told.join().unwrap()).collect();
    let within = |part: f64| told.iter().filter(|told| told.after < DRAIN.mul_f64(part)).count();
    // A busy machine is late, never early: so the first half has bounds from above only.
    assert!(within(0.2) < told.len() * 2 / 5, "{} of {} in the first fifth", within(0.2), told.len());
    assert!(within(0.5) < told.len() * 3 / 4, "{} of {} in the first half", within(0.5), told.len());
    assert!(told.iter().any(|told| told.polling));
    assert_eq!(told.len(), WEBSOCKETS + POLLS);

    let status = gateway.exit(PATIENCE).expect("the process ends");
    assert_eq!(status.code(), Some(0), "{}", gateway.log_text());
    assert!(started.elapsed() < DRAIN + Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(idle.rest(), b"");
    for kind in ["drain_finished", "gateway_stopped"] {
        gateway.log_line(|line| line["kind"] == kind);
    }
}

#[test]
fn both_signals_drain_and_the_second_one_ends_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let mut gateway = Gateway::dev(&["shutdown.drain_ms=20000"]);
        let clients: Vec<_> = (0..3).map(|_| gateway.joined()).collect();
        gateway.signal(first);
        draining(&gateway);
        assert_eq!(gateway.ops("/health/ready").status, 503);
        assert_eq!(gateway.exit(Duration::ZERO), None, "{first} drains");
        let asked = Instant::now();
        gateway.signal(second);
        let status = gateway.exit(PATIENCE).expect("the second signal ends the process");
        assert_eq!(status.code(), Some(0), "{first} {second}");
        assert!(asked.elapsed() < Duration::from_secs(5), "{first} {second}: {:?}", asked.elapsed());
        drop(clients);
    }
}

#[test]
fn a_gateway_without_clients_ends_before_the_drain_period() {
    for signal in ["TERM", "INT", "HUP"] {
        let mut gateway = Gateway::dev(&["shutdown.drain_ms=20000"]);
        let asked = Instant::now();
        gateway.signal(signal);
        assert_eq!(gateway.exit(PATIENCE).expect("the process ends").code(), Some(0));
        assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    }
}

#[test]
fn a_client_that_does_not_answer_the_close_does_not_hold_the_process() {
    let mut gateway = Gateway::dev(&["shutdown.drain_ms=300"]);
    let mut deaf = gateway.frames();
    deaf.join();
    let silent = gateway.http();
    gateway.signal("TERM");
    assert_eq!(gateway.exit(PATIENCE).expect("the process ends").code(), Some(0));
    assert_eq!(deaf.frame().close_code(), None);
    drop(silent);
}

#[test]
fn a_session_between_two_polls_hears_of_the_end_at_its_next() {
    let gateway = Gateway::dev(&["shutdown.drain_ms=3000"]);
    let session = Polling::joined(&gateway);
    let mut http = gateway.http();
    // A connection from before the drain, since new ones are refused.
    assert_eq!(http.send(&Request::post(&session.target(), "420[\"a\"]")).text(), "ok");
    // Somebody who stays to the end keeps the shard.
    let _others: Vec<_> = (0..40).map(|_| gateway.joined()).collect();
    gateway.signal("TERM");
    draining(&gateway);
    gateway.expect_metric("roomcast_connections", &[("transport", "polling")], 0.0);
    let answer = http.send(&Request::get(&session.target()).close());
    assert_eq!(answer.text(), "430[{\"status\":\"ok\"}]\u{1e}6\u{1e}1");
}
