//! Where a shard meets the outside: what it is told to write on, and what it tells.

use core::net::IpAddr;
use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use adapter::{Argument, CallId, Subscription, Ticket};
use bytes::Bytes;
use engineio::{BodyForm, CloseReason, PeerFault, Transport};
use socketio::SocketId;

use crate::encoded::Publication;

/// A WebSocket, by the number that its owner gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId(pub u32);

/// A poll that waits for its answer, by the number that its owner gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PollId(pub u32);

/// A connection of a shard. A key outlives its connection harmlessly: it then names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// The body that answers a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The packets.
    pub body: Bytes,
    /// How they are written, which decides the content type.
    pub form: BodyForm,
}

/// The transports, as a shard uses them. Everything is done at once or not at all; nothing waits.
pub trait Sink {
    /// Writes what the link takes now, and returns how many bytes that were: less than offered means that
    /// the owner calls [`Shard::handle_writable`](crate::Shard::handle_writable) once it takes more.
    ///
    /// # Errors
    /// The link is broken; it is closed by [`Self::close`] right after.
    fn write(&mut self, link: LinkId, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Everything for this link has been written, or never will be: close it. It is not named again.
    fn close(&mut self, link: LinkId);

    /// Answers a poll. It is not named again.
    fn answer(&mut self, poll: PollId, payload: Payload);
}

/// Something that other parts of the node have to do or to know.
#[derive(Clone, Debug)]
pub enum Output {
    /// An event of a client here is for the sockets of other shards and nodes too.
    Publish(Arc<Publication>),
    /// A room has a member here. If there is a ticket, somebody waits for
    /// [`Shard::handle_confirmed`](crate::Shard::handle_confirmed). Comes once for each join that waits: wanted
    /// subscriptions are a set, and one that is in force already is confirmed at once.
    Subscribe(Subscription, Option<Ticket>),
    /// The last member here has left.
    Unsubscribe(Subscription),
    /// The session has ended while the body of a push was still coming: cut the request off.
    CutPush(ConnectionKey),
    /// Reading from this link may go on.
    Resume(LinkId),
    /// A client has acknowledged what [`Shard::call`](crate::Shard::call) sent it; the answer is the array of
    /// all its arguments.
    CallAnswered {
        /// The call.
        call: CallId,
        /// Who answers.
        socket: SocketId,
        /// What.
        answer: Argument,
    },
    /// A socket that was asked is gone and will not answer.
    CallLost {
        /// The call.
        call: CallId,
        /// Who is gone.
        socket: SocketId,
    },
    /// No answer is awaited any more: all have come or are lost, or the deadline is over.
    CallEnded(CallId),
    /// For metrics and logs.
    Happening(Happening),
}

/// Things worth a metric or a log line that happen too rarely to be counted in [`Counters`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A session has begun on this transport.
    SessionOpened(Transport),
    /// A session has ended on this transport.
    SessionClosed(Transport, CloseReason),
    /// A client did what it must not at the level of Engine.IO.
    EnginePeerFault(PeerFault),
    /// A client did what it must not at the level of Socket.IO; the text says what.
    SocketPeerFault(String),
    /// A client did not read, and was closed.
    SlowClientClosed {
        /// What waited for it.
        queued_bytes: u32,
    },
    /// A client sent more packets than it may, and was closed.
    PacketRateExceeded {
        /// From where, if the request it began with was kept.
        address: Option<IpAddr>,
    },
    /// A client was refused a namespace.
    ConnectRefused(ConnectRefusal),
    /// A session has moved from polling to WebSocket.
    Upgraded,
}

/// Why a client was refused a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectRefusal {
    /// No configuration matches the name.
    UnknownNamespace,
    /// The policy does not admit the client.
    NotAuthorized,
    /// The connection has joined as many as it may.
    TooManyNamespaces,
}

/// What happens often, counted since the last [`Shard::take_counters`](crate::Shard::take_counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Engine.IO packets received.
    pub packets_in: u64,
    /// Messages queued, those of broadcasts included.
    pub packets_out: u64,
    /// Socket.IO events received.
    pub events_in: u64,
    /// Client events that no rule allows.
    pub events_refused: u64,
    /// Broadcasts handled by this shard.
    pub broadcasts: u64,
    /// Copies of broadcasts queued for sockets.
    pub deliveries: u64,
    /// Volatile messages dropped because a client was not ready.
    pub volatile_dropped: u64,
    /// Bytes written to WebSockets and polls.
    pub bytes_out: u64,
}
