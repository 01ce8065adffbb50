//! What an identity may do.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use socketio::Pattern;

use super::rate::Rate;

/// One kind of call, as rights name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `Publish`, `PublishBatch` and `PublishStream`.
    Publish,
    /// `Call`.
    Call,
    /// `JoinRooms`.
    Join,
    /// `LeaveRooms`.
    Leave,
    /// `DisconnectSockets`.
    Disconnect,
    /// `FetchSockets`.
    Fetch,
    /// `CountSockets`.
    Count,
    /// `ListRooms`.
    ListRooms,
    /// `ServerSideEmit`.
    ServerSideEmit,
}

impl Operation {
    /// Every operation, in the order of their bits.
    const ALL: [Self; 9] = [
        Self::Publish,
        Self::Call,
        Self::Join,
        Self::Leave,
        Self::Disconnect,
        Self::Fetch,
        Self::Count,
        Self::ListRooms,
        Self::ServerSideEmit,
    ];

    /// The word that rights use.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Call => "call",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Disconnect => "disconnect",
            Self::Fetch => "fetch",
            Self::Count => "count",
            Self::ListRooms => "list_rooms",
            Self::ServerSideEmit => "server_side_emit",
        }
    }
}

/// Rights as a file or a token states them. What is left out is not granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RightsConfig {
    /// Patterns of namespaces, slash included: `/`, `/tenant-*`.
    pub namespaces: Vec<String>,
    /// Patterns of rooms: `order:*`. Only `*` alone is the whole namespace too.
    pub rooms: Vec<String>,
    /// What may be called.
    pub operations: Vec<Operation>,
    /// Messages per second. Default: as many as come.
    pub rate: Option<Rate>,
    /// Calls and streams open at once. Default 1000.
    pub calls_in_flight_max: Option<NonZeroU32>,
}

/// Calls and streams of one identity open at once unless its rights say otherwise.
pub(crate) const CALLS_IN_FLIGHT_DEFAULT: u32 = 1000;

/// Rights, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    namespaces: Box<[Pattern]>,
    rooms: Box<[Pattern]>,
    /// Whether a message may go to a whole namespace.
    all_rooms: bool,
    operations: u16,
}

/// The right that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// `operations` does not list the call.
    Operation,
    /// No pattern of `namespaces` fits.
    Namespace,
    /// No pattern of `rooms` fits.
    Room,
    /// A whole namespace is meant, and `rooms` does not hold `*`.
    AllRooms,
}

impl Rights {
    pub(crate) fn new(config: &RightsConfig) -> Self {
        let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::new(text)).collect();
        Self {
            namespaces: patterns(&config.namespaces),
            rooms: patterns(&config.rooms),
            all_rooms: config.rooms.iter().any(|room| room == "*"),
            operations: config.operations.iter().fold(0, |bits, operation| bits | bit(*operation)),
        }
    }

    pub(crate) fn operation(&self, operation: Operation) -> Result<(), Missing> {
        if self.operations & bit(operation) == 0 { Err(Missing::Operation) } else { Ok(()) }
    }

    /// Whether `namespace`, as the request has it, is one of those allowed.
    pub(crate) fn namespace(&self, namespace: &str) -> Result<(), Missing> {
        let fits = |name: &str| self.namespaces.iter().any(|pattern| pattern.matches(name));
        // As `NamespaceName::normalized`: empty is `/`, and a missing slash is added.
        let allowed = match namespace {
            "" => fits("/"),
            name if name.starts_with('/') => fits(name),
            name => fits(&format!("/{name}")),
        };
        if allowed { Ok(()) } else { Err(Missing::Namespace) }
    }

    pub(crate) fn room(&self, room: &str) -> Result<(), Missing> {
        let fits = self.all_rooms || self.rooms.iter().any(|pattern| pattern.matches(room));
        if fits { Ok(()) } else { Err(Missing::Room) }
    }

    /// Whether every namespace may be meant.
    pub(crate) fn all_namespaces(&self) -> Result<(), Missing> {
        let all = self.namespaces.iter().any(|pattern| pattern.matches_all_with_prefix(""));
        if all { Ok(()) } else { Err(Missing::Namespace) }
    }

    /// Whether every socket of a namespace may be meant.
    pub(crate) fn all_rooms(&self) -> Result<(), Missing> {
        if self.all_rooms { Ok(()) } else { Err(Missing::AllRooms) }
    }

    /// Whether every room whose name begins with `prefix` may be named.
    pub(crate) fn rooms_with_prefix(&self, prefix: &str) -> Result<(), Missing> {
        let fits = self.rooms.iter().any(|pattern| pattern.matches_all_with_prefix(prefix));
        match fits {
            true => Ok(()),
            false if prefix.is_empty() => Err(Missing::AllRooms),
            false => Err(Missing::Room),
        }
    }
}

fn bit(operation: Operation) -> u16 {
    let nth = Operation::ALL.iter().position(|other| *other == operation).unwrap_or(0);
    1 << nth
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(namespaces: &[&str], rooms: &[&str], operations: &[Operation]) -> Rights {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Rights::new(&RightsConfig {
            namespaces: texts(namespaces),
            rooms: texts(rooms),
            operations: operations.to_vec(),
            ..RightsConfig::default()
        })
    }

    #[test]
    fn nothing_is_granted_that_is_not_stated() {
        let rights = Rights::new(&RightsConfig::default());
        for operation in Operation::ALL {
            assert_eq!(rights.operation(operation), Err(Missing::Operation));
        }
        assert_eq!(rights.namespace("/"), Err(Missing::Namespace));
        assert_eq!(rights.room("a"), Err(Missing::Room));
        assert_eq!(rights.all_rooms(), Err(Missing::AllRooms));
    }

    #[test]
    fn each_operation_is_granted_by_its_own_word() {
        for granted in Operation::ALL {
            let rights = rights(&[], &[], &[granted]);
            for asked in Operation::ALL {
                assert_eq!(rights.operation(asked).is_ok(), asked == granted, "{asked:?} by {granted:?}");
            }
            assert_eq!(serde_json::to_string(&granted).unwrap(), format!("\"{}\"", granted.as_str()));
        }
    }

    #[test]
    fn namespaces_are_compared_as_they_will_be_used() {
        let rights = rights(&["/", "/shop-*"], &[], &[]);
        for (namespace, allowed) in
            [("", true), ("/", true), ("shop-1", true), ("/shop-1", true), ("/shop", false), ("other", false)]
        {
            assert_eq!(rights.namespace(namespace).is_ok(), allowed, "{namespace}");
        }
    }

    #[test]
    fn only_a_lone_star_is_the_whole_namespace() {
        assert_eq!(rights(&[], &["*"], &[]).all_rooms(), Ok(()));
        assert_eq!(rights(&[], &["order:*", "**"], &[]).all_rooms(), Err(Missing::AllRooms));
        let orders = rights(&[], &["order:*"], &[]);
        assert_eq!((orders.room("order:1"), orders.room("user:1")), (Ok(()), Err(Missing::Room)));
    }

    #[test]
    fn a_prefix_is_listed_only_if_every_room_with_it_is_allowed() {
        let orders = rights(&[], &["order:*"], &[]);
        assert_eq!(orders.rooms_with_prefix("order:"), Ok(()));
        assert_eq!(orders.rooms_with_prefix("ord"), Err(Missing::Room));
        assert_eq!(orders.rooms_with_prefix(""), Err(Missing::AllRooms));
        assert_eq!(rights(&[], &["*"], &[]).rooms_with_prefix(""), Ok(()));
    }
}
