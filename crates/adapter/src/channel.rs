//! The names of the channels, built and parsed here only.

use std::borrow::Cow;

use socketio::{NamespaceName, RoomName, SOCKET_ID_CHARS};

use crate::id::Uid;
use crate::message::Targets;

/// What every adapter and emitter of Node uses unless told otherwise.
pub const DEFAULT_PREFIX: &str = "socket.io";

/// The channels of one namespace for the classic adapter.
///
/// Names are cut off at their ends, never split, since a prefix, a namespace and a room may all contain `#`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicChannels {
    broadcast: String,
    request: String,
    response: String,
}

/// What a message on a channel of [`ClassicChannels`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassicChannel {
    /// A broadcast to nobody in particular or to several rooms.
    Namespace,
    /// A broadcast to one room. Its `opts` say whom it is for; the channel only says who needs to look.
    Room(RoomName),
    /// A request to all nodes.
    Request,
    /// An answer that all nodes hear.
    Response,
    /// An answer to one node.
    SpecificResponse(Uid),
}

impl ClassicChannels {
    /// The channels of `namespace`; `prefix` is what Node calls `key`, see [`DEFAULT_PREFIX`].
    pub fn new(prefix: &str, namespace: &NamespaceName) -> Self {
        Self {
            broadcast: format!("{prefix}#{namespace}#"),
            request: format!("{prefix}-request#{namespace}#"),
            response: format!("{prefix}-response#{namespace}#"),
        }
    }

    /// Broadcasts to no room, or to several.
    pub fn namespace(&self) -> &str {
        &self.broadcast
    }

    /// Broadcasts to exactly this room.
    pub fn room(&self, room: &RoomName) -> String {
        below(&self.broadcast, room.as_str())
    }

    /// Where a broadcast for `targets` is published.
    pub fn for_targets(&self, targets: &Targets) -> Cow<'_, str> {
        match targets.rooms.as_slice() {
            [room] => Cow::Owned(self.room(room)),
            _ => Cow::Borrowed(&self.broadcast),
        }
    }

    /// The same, appended to `out`.
    pub fn push_for_targets(&self, targets: &Targets, out: &mut Vec<u8>) {
        out.extend_from_slice(self.broadcast.as_bytes());
        if let [room] = targets.rooms.as_slice() {
            out.extend_from_slice(room.as_str().as_bytes());
            out.push(b'#');
        }
    }

    /// A pattern for PSUBSCRIBE that matches every broadcast of the namespace. Unlike Node's, it takes the
    /// characters of a glob in a prefix or namespace for themselves.
    pub fn pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.broadcast.len() + 1);
        for character in self.broadcast.chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push('*');
        pattern
    }

    /// Requests to all nodes; who subscribes to it is counted as a node, and must answer.
    pub fn request(&self) -> &str {
        &self.request
    }

    /// Answers that all nodes hear.
    pub fn response(&self) -> &str {
        &self.response
    }

    /// Answers to the node `uid`, from those configured to use it.
    pub fn specific_response(&self, uid: &Uid) -> String {
        format!("{}{uid}#", self.response)
    }

    /// Which channel of this namespace `channel` is; `None` if it is none of them.
    pub fn parse(&self, channel: &str) -> Option<ClassicChannel> {
        if channel == self.request {
            return Some(ClassicChannel::Request);
        }
        if let Some(rest) = channel.strip_prefix(&self.response) {
            return Some(match rest {
                "" => ClassicChannel::Response,
                uid => ClassicChannel::SpecificResponse(Uid::new(uid.strip_suffix('#')?)),
            });
        }
        Some(match channel.strip_prefix(&self.broadcast)? {
            "" => ClassicChannel::Namespace,
            room => ClassicChannel::Room(RoomName::new(room.strip_suffix('#')?)),
        })
    }
}

/// Where the reports go that the Roomcast node `uid` has asked for, of all namespaces. No Node server listens to it.
pub fn report_channel(prefix: &str, uid: &Uid) -> String {
    format!("{prefix}-roomcast-report#{uid}#")
}

/// The channel of something in a namespace. Made for each broadcast, which is what formatting is too dear for.
fn below(namespace: &str, name: &str) -> String {
    let mut channel = String::with_capacity(namespace.len() + name.len() + 1);
    channel.push_str(namespace);
    channel.push_str(name);
    channel.push('#');
    channel
}

/// Which broadcasts of the sharded adapter have a channel of their own. All nodes must use the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubscriptionMode {
    /// None.
    Static,
    /// Those to one room that does not look like a socket id.
    #[default]
    Dynamic,
    /// Those to one room, also if it is that of a socket.
    DynamicPrivate,
}

impl SubscriptionMode {
    /// Whether Node publishes what is for this room alone on the room's own channel, so that whoever has a
    /// member of the room must subscribe to it.
    ///
    /// Node itself does not subscribe to the rooms of its own sockets with longer ids (those of old clients in
    /// namespaces, `/chat#…`), and misses what others publish there.
    pub fn uses_channel_of(self, room: &RoomName) -> bool {
        match self {
            Self::Static => false,
            Self::Dynamic => !looks_like_a_socket_id(room),
            Self::DynamicPrivate => true,
        }
    }
}

/// By length, as Node does, in the units of JavaScript's strings.
fn looks_like_a_socket_id(room: &RoomName) -> bool {
    room.as_str().encode_utf16().count() == SOCKET_ID_CHARS
}

/// The channels of one namespace for the sharded adapter. They look like those of the classic one, but SPUBLISH
/// and PUBLISH never meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardedChannels {
    main: String,
    mode: SubscriptionMode,
}

/// What a message on a channel of [`ShardedChannels`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardedChannel {
    /// Everything that has no channel of its own.
    Main,
    /// Answers to the node that asked.
    Response,
    /// A broadcast to one room.
    Room(RoomName),
}

impl ShardedChannels {
    /// The channels of `namespace`; `prefix` is what Node calls `channelPrefix`, see [`DEFAULT_PREFIX`].
    pub fn new(prefix: &str, namespace: &NamespaceName, mode: SubscriptionMode) -> Self {
        Self { main: format!("{prefix}#{namespace}#"), mode }
    }

    /// Everything that has no channel of its own; who subscribes to it is counted as a node, and must answer.
    pub fn main(&self) -> &str {
        &self.main
    }

    /// Answers to the node `uid`.
    pub fn response(&self, uid: &Uid) -> String {
        format!("{}{uid}#", self.main)
    }

    /// The channel of a room, if the mode has one for it: to subscribe to while it has members here.
    pub fn room(&self, room: &RoomName) -> Option<String> {
        self.mode.uses_channel_of(room).then(|| below(&self.main, room.as_str()))
    }

    /// Where a broadcast for `targets` is published. One that asks for acknowledgements goes to
    /// [`main`](Self::main), since all nodes have to answer it.
    pub fn for_targets(&self, targets: &Targets) -> Cow<'_, str> {
        match targets.rooms.as_slice() {
            [room] => self.room(room).map_or(Cow::Borrowed(&*self.main), Cow::Owned),
            _ => Cow::Borrowed(&self.main),
        }
    }

    /// Which channel of this namespace and the node `own` `channel` is; `None` if it is none of them.
    pub fn parse(&self, channel: &str, own: &Uid) -> Option<ShardedChannel> {
        Some(match channel.strip_prefix(&self.main)? {
            "" => ShardedChannel::Main,
            rest => match rest.strip_suffix('#')? {
                uid if uid == own.as_str() => ShardedChannel::Response,
                room => ShardedChannel::Room(RoomName::new(room)),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(rooms: &[&str]) -> Targets {
        Targets { rooms: rooms.iter().map(RoomName::new).collect(), except: Vec::new() }
    }

    #[test]
    fn names_are_cut_off_and_never_split() {
        let channels = ClassicChannels::new("my#app", &NamespaceName::new("/a#b"));
        for room in ["r1", "a#b", "#", "", "é room"].map(RoomName::new) {
            assert_eq!(channels.parse(&channels.room(&room)), Some(ClassicChannel::Room(room)));
        }
        let uid = Uid::new("a#1");
        assert_eq!(channels.parse(channels.namespace()), Some(ClassicChannel::Namespace));
        assert_eq!(channels.parse(channels.request()), Some(ClassicChannel::Request));
        assert_eq!(channels.parse(channels.response()), Some(ClassicChannel::Response));
        assert_eq!(
            channels.parse(&channels.specific_response(&uid)),
            Some(ClassicChannel::SpecificResponse(uid))
        );
        for foreign in
            ["my#app#/a#", "my#app#/a#b", "my#app#/a#b#r", "my#app-request#/a#b#x#", "my#app-response#/a#b#x"]
        {
            assert_eq!(channels.parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn one_room_has_its_channel_and_several_have_that_of_the_namespace() {
        let channels = ClassicChannels::new(DEFAULT_PREFIX, &NamespaceName::new("/chat"));
        assert_eq!(channels.for_targets(&to(&[])), "socket.io#/chat#");
        assert_eq!(channels.for_targets(&to(&["r1"])), "socket.io#/chat#r1#");
        assert_eq!(channels.for_targets(&to(&["r1", "r2"])), "socket.io#/chat#");
        for rooms in [&[][..], &["r1"], &["r1", "r2"]] {
            let mut pushed = b"before ".to_vec();
            channels.push_for_targets(&to(rooms), &mut pushed);
            assert_eq!(pushed, format!("before {}", channels.for_targets(&to(rooms))).as_bytes());
        }
    }

    #[test]
    fn patterns_match_nothing_but_their_namespace() {
        let pattern = |namespace| ClassicChannels::new("socket.io", &NamespaceName::new(namespace)).pattern();
        assert_eq!(pattern("/"), "socket.io#/#*");
        assert_eq!(pattern("/a*[b]?\\"), r"socket.io#/a\*\[b\]\?\\#*");
    }

    #[test]
    fn the_mode_says_which_rooms_have_a_channel_of_their_own() {
        let check = |mode, room: &str, own: bool| {
            let channels = ShardedChannels::new(DEFAULT_PREFIX, &NamespaceName::main(), mode);
            let expected = if own { format!("socket.io#/#{room}#") } else { "socket.io#/#".to_owned() };
            assert_eq!(channels.for_targets(&to(&[room])), expected, "{mode:?} {room}");
        };
        let id = "ut6b2mnHNSsHefBGAAAJ";
        check(SubscriptionMode::Static, "r1", false);
        check(SubscriptionMode::Dynamic, "r1", true);
        check(SubscriptionMode::Dynamic, id, false);
        check(SubscriptionMode::Dynamic, &format!("/chat#{id}"), true);
        check(SubscriptionMode::Dynamic, &"😀".repeat(10), false);
        check(SubscriptionMode::Dynamic, &"é".repeat(20), false);
        check(SubscriptionMode::DynamicPrivate, id, true);
    }

    #[test]
    fn the_own_uid_tells_answers_from_rooms() {
        let channels =
            ShardedChannels::new(DEFAULT_PREFIX, &NamespaceName::main(), SubscriptionMode::Dynamic);
        let own = Uid::new("db53e6de432678c4");
        let parse = |channel: &str| channels.parse(channel, &own);
        assert_eq!(parse("socket.io#/#"), Some(ShardedChannel::Main));
        assert_eq!(parse(&channels.response(&own)), Some(ShardedChannel::Response));
        assert_eq!(parse("socket.io#/#a#b#"), Some(ShardedChannel::Room(RoomName::new("a#b"))));
        assert_eq!(parse("socket.io#/chat#"), None);
        assert_eq!(parse("socket.io#/#a"), None);
    }
}
