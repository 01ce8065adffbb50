//! Upgrades that go wrong, come twice or come too late.

use super::{assert_like, echo, vectors};
use crate::harness::{Frames, Opcode, Polling, Request, masked, shape};

#[test]
fn upgrades_that_the_reference_answers_oddly_are_refused_at_once() {
    let gateway = echo(&[]);
    for (target, status, body) in [
        ("/socket.io/?EIO=4&transport=polling", 400, "Bad request"),
        ("/socket.io/?EIO=3&transport=websocket", 400, "Unsupported protocol version"),
        ("/other/?EIO=4&transport=websocket", 404, "not found\n"),
        ("/socket.io?EIO=4&transport=websocket", 404, "not found\n"),
    ] {
        let answer = gateway.http().send(&Request::upgrade(target));
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{target}");
    }
    for target in ["/socket.io?EIO=4&transport=polling", "/other"] {
        assert_eq!(gateway.get(target).status, 404, "{target}");
    }
}

#[test]
fn a_second_websocket_of_a_session_is_accepted_and_closed() {
    let gateway = echo(&[]);
    let session = Polling::joined(&gateway);
    let mut probe = Frames::open(gateway.client, &session.upgrade_target());
    probe.send(Opcode::TEXT, b"2probe");
    assert_eq!(probe.text(), "3probe");
    Frames::open(gateway.client, &session.upgrade_target()).assert_closed(None);
    probe.send(Opcode::TEXT, b"5");
    probe.send(Opcode::TEXT, b"42[\"a\"]");
    assert_eq!(probe.text(), "42[\"a\"]");

    Frames::open(gateway.client, &session.upgrade_target()).assert_closed(None);
    let poll = session.send(&Request::get(&session.target()));
    let vectors = vectors();
    let case = vectors.case("websocket for a session that was already upgraded: 101 then closed");
    assert_like(&poll, &case["poll_on_it"], "poll");
    probe.send(Opcode::TEXT, b"42[\"b\"]");
    assert_eq!(probe.text(), "42[\"b\"]");
}

#[test]
fn a_probe_that_is_none_is_closed_and_polling_goes_on() {
    let gateway = echo(&[]);
    let session = Polling::open(&gateway);
    for packet in ["40", "3probe", "2", "x", ""] {
        let mut probe = Frames::open(gateway.client, &session.upgrade_target());
        probe.send(Opcode::TEXT, packet.as_bytes());
        // The close frame without a status is how the reference server ends it.
        probe.assert_closed(None);
    }
    session.push("40");
    assert_eq!(shape(&session.poll()), "40{\"sid\":\"<20 characters>\"}");
}

#[test]
fn an_upgrade_without_a_probe_is_accepted() {
    let gateway = echo(&[]);
    let session = Polling::open(&gateway);
    let mut websocket = Frames::open(gateway.client, &session.upgrade_target());
    // Both packets in one segment: what is behind the upgrade belongs to the session already.
    websocket.write(&[masked(0x81, b"5"), masked(0x81, b"40")].concat());
    assert_eq!(shape(&websocket.text()), "40{\"sid\":\"<20 characters>\"}");
    gateway.expect_metric("roomcast_upgrades_total", &[], 1.0);
}

#[test]
fn a_probe_releases_the_poll_with_a_noop() {
    let gateway = echo(&[]);
    let vectors = vectors();
    let case = vectors.case("pending poll at probe time is released by a noop after up to 100 ms");
    let session = Polling::joined(&gateway);
    let mut poll = session.start_poll();
    let mut probe = Frames::open(gateway.client, &session.upgrade_target());
    probe.send(Opcode::TEXT, b"2probe");
    assert_eq!(probe.text(), "3probe");
    assert_like(&poll.answer(), &case["poll"], "poll");
    // A client that has not seen the pong polls again, and is released again.
    assert_eq!(session.poll(), "6");
}

#[test]
fn a_poll_that_waits_at_the_upgrade_is_closed() {
    let gateway = echo(&[]);
    let vectors = vectors();
    let case = vectors.case("upgrade packet sent while a poll is still pending: the poll answer");
    let session = Polling::joined(&gateway);
    let mut poll = session.start_poll();
    session.push("42[\"a\"]");
    assert_eq!(poll.answer().text(), "42[\"a\"]");
    let mut poll = session.start_poll();
    let mut websocket = Frames::open(gateway.client, &session.upgrade_target());
    websocket.send(Opcode::TEXT, b"5");
    let answer = poll.answer();
    // A poll that comes behind the upgrade finds another transport.
    if answer.status == 200 {
        assert_like(&answer, &case["poll"], "poll");
    } else {
        answer.assert_error(3, "Bad request");
    }
    websocket.send(Opcode::TEXT, b"42[\"b\"]");
    assert_eq!(websocket.text(), "42[\"b\"]");
}

#[test]
fn an_upgrade_that_takes_too_long_is_closed_and_polling_goes_on() {
    let gateway = echo(&["engine.upgrade_timeout_ms=300"]);
    let session = Polling::joined(&gateway);
    let mut silent = Frames::open(gateway.client, &session.upgrade_target());
    silent.assert_closed(None);
    let mut probed = Frames::open(gateway.client, &session.upgrade_target());
    probed.send(Opcode::TEXT, b"2probe");
    assert_eq!(probed.text(), "3probe");
    probed.assert_closed(None);
    session.push("42[\"a\"]");
    assert_eq!(session.poll(), "42[\"a\"]");
}

#[test]
fn sessions_stay_on_polling_where_upgrades_are_off() {
    let gateway = echo(&["engine.allow_upgrades=false"]);
    let vectors = vectors();
    let case = vectors.case("allowUpgrades:false handshake");
    assert_like(&gateway.get("/socket.io/?EIO=4&transport=polling"), &case["response"], "handshake");
    let session = Polling::joined(&gateway);
    Frames::open(gateway.client, &session.upgrade_target()).assert_closed(None);
    session.push("42[\"a\"]");
    assert_eq!(session.poll(), "42[\"a\"]");
}
