//! A client as the gateway knows it: what it may name when it calls the shard.

use broker::{ConnectionKey, LinkId};
use engineio::{Revision, SessionId};

/// One client. It stays in the list when it is gone: late calls are part of the game.
pub(super) struct Client {
    pub(super) revision: Revision,
    /// Of a client that began with polling.
    pub(super) sid: Option<SessionId>,
    /// Its WebSocket, whether in force or beside polling.
    pub(super) link: Option<(ConnectionKey, LinkId)>,
    /// A push whose body is still to come.
    pub(super) push: Option<ConnectionKey>,
}

/// Packets that lead further than chance would: CONNECT, rooms, events, attachments, acknowledgements, heartbeats,
/// upgrade, close.
pub(super) const TEXTS: [&str; 24] = [
    "40",
    "40/chat,",
    "40/chat,{\"a\":1}",
    "40/nowhere,",
    "40/quiet,{\"token\":\"wrong\"}",
    "41",
    "41/chat,",
    "42[\"join\",\"r1\"]",
    "420[\"join\",\"r2\"]",
    "421[\"leave\",\"r1\"]",
    "42/chat,[\"join\",\"r1\"]",
    "42[\"hi\",{\"n\":1}]",
    "427[\"hi\"]",
    "42/chat,[\"hi\",\"é😀\"]",
    "451-[\"bin\",{\"_placeholder\":true,\"num\":0}]",
    "452-9[\"bin\",{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0}]",
    "430[\"ok\"]",
    "431[]",
    "461-0[{\"_placeholder\":true,\"num\":0}]",
    "2",
    "3",
    "2probe",
    "5",
    "1",
];
