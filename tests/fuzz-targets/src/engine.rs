//! Engine.IO: packets, payloads and queries.

use engineio::{
    BodyForm, Data, EngineConfig, Packet, PacketKind, PayloadEncoder, PeerFault, Query, Revision, SidKey,
    decode_body, open_packet, wrap_jsonp,
};

use crate::program::text;

const REVISIONS: [Revision; 2] = [Revision::V3, Revision::V4];

/// One WebSocket message, as text and as bytes, of both revisions: what is understood is written so that it is
/// understood the same.
pub(crate) fn packet(bytes: &[u8]) {
    for revision in REVISIONS {
        let text = text(bytes);
        if let Ok(packet) = Packet::decode_text(revision, &text) {
            reads_back(revision, &packet);
        }
        if let Ok(Some(packet)) = Packet::decode_binary(revision, bytes) {
            reads_back(revision, &packet);
        }
    }
}

fn reads_back(revision: Revision, packet: &Packet<'_>) {
    for base64_only in [false, true] {
        let read = match packet.encode(revision, base64_only) {
            Data::Text(text) => Packet::decode_text(revision, &text).map(|read| Some(read.into_owned())),
            Data::Binary(bytes) => {
                assert!(!base64_only, "bytes for a client that takes none");
                Packet::decode_binary(revision, &bytes).map(|read| read.map(Packet::into_owned))
            }
        };
        assert_eq!(read.as_ref().map(Option::as_ref), Ok(Some(packet)), "{revision:?}");
    }
}

/// A polling body. The first byte chooses revision and form.
pub(crate) fn payload(bytes: &[u8]) {
    let Some((selector, body)) = bytes.split_first() else { return };
    let revision = if selector & 1 == 0 { Revision::V3 } else { Revision::V4 };
    let form = match selector >> 1 & 3 {
        0 => BodyForm::Binary,
        1 => BodyForm::Form,
        _ => BodyForm::Text,
    };
    let packets: Vec<_> = decode_body(revision, form, body).collect();
    assert!(packets.len() <= engineio::PACKETS_PER_BODY_MAX + 1, "too many packets");
    let faults = packets.iter().filter(|packet| packet.is_err()).count();
    assert!(faults == 0 || faults == 1 && packets.last().is_some_and(Result::is_err), "more after a fault");
    assert!(
        !packets.contains(&Err(PeerFault::TooManyPackets)) || packets.len() > engineio::PACKETS_PER_BODY_MAX
    );
    let packets: Vec<Packet<'_>> = packets.into_iter().flatten().collect();
    written_payload_reads_back(revision, selector & 8 != 0, &packets);
}

/// What a server can send, collected into a payload, is what a client reads out of it.
fn written_payload_reads_back(revision: Revision, base64_only: bool, packets: &[Packet<'_>]) {
    let mut payload = PayloadEncoder::new(revision, base64_only);
    let mut sent = Vec::new();
    for packet in packets {
        match &packet.data {
            Data::Text(data) if !data.contains('\u{1e}') => {
                payload.push_text(&format!("{}{data}", packet.kind.digit()));
            }
            Data::Binary(bytes) if packet.kind == PacketKind::Message => payload.push_binary(bytes),
            _ => continue,
        }
        sent.push(packet.clone());
    }
    if sent.is_empty() {
        return;
    }
    let (body, form) = payload.finish();
    let read: Result<Vec<_>, _> = decode_body(revision, form, &body).collect();
    assert_eq!(read, Ok(sent), "{revision:?}");
}

/// The query of a request, and what is made of its values.
pub(crate) fn query(bytes: &[u8]) {
    let text = text(bytes);
    let query = Query::parse(&text);
    if let Some(sid) = &query.sid {
        // Nobody guesses a sid.
        assert_eq!(SidKey::new(&[7; 32]).verify(sid), None);
        let open = open_packet(sid, &[], &EngineConfig::default());
        let json: serde_json::Value = serde_json::from_str(&open[1..]).expect("the open packet is JSON");
        assert_eq!(json["sid"].as_str(), Some(sid.as_str()));
    }
    if let Some(index) = &query.jsonp {
        assert!(index.bytes().all(|byte| byte.is_ascii_digit()), "more than digits in a script");
        let script = wrap_jsonp(index, &text);
        let (start, end) = (script.find('(').expect("a call"), script.rfind(')').expect("a call"));
        let argument: String = serde_json::from_str(&script[start + 1..end]).expect("one string");
        assert_eq!(argument, text);
    }
}
