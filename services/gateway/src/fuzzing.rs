//! A door for the fuzz targets: the first bytes of a connection, as far as the answer to a request for a WebSocket.
//! Nothing else comes in here.

use std::net::{IpAddr, Ipv4Addr};

use engineio::{EngineConfig, SidKey};

use crate::{
    config::ClientConfig,
    driver::head::websocket_request,
    handshake,
    inbox::Ownership,
    upgrade::{self, Verdict},
};

/// Where a request for a WebSocket ends, and its answer if it gets one at once. `None` for other bytes.
///
/// # Panics
/// Where it takes a sid for one of ours.
pub fn first_bytes(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let mut client = ClientConfig { websocket_compression: true, ..ClientConfig::default() };
    client.cors.origins = vec!["https://*.example.com".into()];
    client.cors.credentials = true;
    let engine = EngineConfig { allow_eio3: true, ..EngineConfig::default() };
    let key = SidKey::new(&[7; 32]);
    let owner_of = |sid: &str| {
        assert_eq!(key.verify(sid), None, "nobody guesses a sid");
        Ownership::Nobody
    };
    websocket_request(bytes, |length, target, headers, request| {
        let headers = headers.iter().map(|header| (header.name, header.value));
        let _kept = handshake::record(target, headers, IpAddr::V4(Ipv4Addr::LOCALHOST), false);
        let answer = match upgrade::judge(request, &client, &engine, owner_of) {
            Verdict::Open(_, greeting) | Verdict::Probe { greeting, .. } => greeting.to_vec(),
            Verdict::Refuse(refused) => refused.response().to_vec(),
            // What follows the head of a farewell is Socket.IO 0.9's, which is off here.
            Verdict::Farewell(_) | Verdict::Elsewhere(..) | Verdict::NotFound => Vec::new(),
        };
        (length, answer)
    })
}
