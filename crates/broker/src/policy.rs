//! What the clients of a namespace may do, compiled from its configuration.

use std::rc::Rc;

use sha2::{Digest, Sha256};
use socketio::{Pattern, RoomName};

use crate::config::{AuthConfig, EventAction, EventRule, NamespaceConfig, RoomRule};

/// The rules of all namespaces, in the order of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Policies(Vec<(Pattern, Rc<Policy>)>);

/// The rules of one namespace.
#[derive(Debug)]
pub(crate) struct Policy {
    auth: Auth,
    /// JSON text that refused clients get as `data`.
    pub(crate) refusal_data: Option<String>,
    pub(crate) join: Vec<RoomName>,
    may_join: Option<Rooms>,
    may_leave: Option<Rooms>,
    events: Vec<Rule>,
}

#[derive(Debug)]
enum Auth {
    Anyone,
    Nobody,
    /// SHA-256 of each accepted token.
    Tokens(Vec<[u8; 32]>),
}

#[derive(Debug)]
struct Rooms {
    event: String,
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Rule {
    event: Pattern,
    handling: Handling,
}

/// What is to be done with one client event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handling {
    pub(crate) action: EventAction,
    pub(crate) include_sender: bool,
    pub(crate) acknowledge: bool,
}

/// Which rule a client event falls under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It asks to join the room that its first argument names.
    Join,
    /// It asks to leave the room that its first argument names.
    Leave,
    /// It is an ordinary event with a rule.
    Event(Handling),
    /// No rule allows it.
    Refused,
}

impl Policies {
    pub(crate) fn new(configs: &[NamespaceConfig]) -> Self {
        let compile = |config: &NamespaceConfig| (Pattern::new(&config.name), Rc::new(Policy::new(config)));
        Self(configs.iter().map(compile).collect())
    }

    /// The rules of `namespace`; `None` if it does not exist.
    pub(crate) fn find(&self, namespace: &str) -> Option<&Rc<Policy>> {
        self.0.iter().find(|(pattern, _)| pattern.matches(namespace)).map(|(_, policy)| policy)
    }
}

impl Policy {
    fn new(config: &NamespaceConfig) -> Self {
        let rooms = |rule: &RoomRule| Rooms {
            event: rule.event.clone(),
            patterns: rule.rooms.iter().map(|pattern| Pattern::new(pattern)).collect(),
        };
        let rule = |rule: &EventRule| Rule {
            event: Pattern::new(&rule.event),
            handling: Handling {
                action: rule.action,
                include_sender: rule.include_sender,
                acknowledge: rule.acknowledge,
            },
        };
        Self {
            auth: match &config.auth {
                AuthConfig::None => Auth::Anyone,
                AuthConfig::Deny => Auth::Nobody,
                AuthConfig::Tokens(hashes) => {
                    Auth::Tokens(hashes.iter().filter_map(|hash| hash_of(hash)).collect())
                }
            },
            refusal_data: config.refusal_data.as_ref().map(ToString::to_string),
            join: config.join.iter().map(RoomName::new).collect(),
            may_join: config.may_join.as_ref().map(rooms),
            may_leave: config.may_leave.as_ref().map(rooms),
            events: config.events.iter().map(rule).collect(),
        }
    }

    /// Whether a client with this token may connect.
    pub(crate) fn admits(&self, token: Option<&str>) -> bool {
        match &self.auth {
            Auth::Anyone => true,
            Auth::Nobody => false,
            Auth::Tokens(hashes) => token.is_some_and(|token| {
                // Only hashes are compared: how long that takes says nothing about the token.
                let hash: [u8; 32] = Sha256::digest(token).into();
                hashes.contains(&hash)
            }),
        }
    }

    /// Which rule the event falls under.
    pub(crate) fn judge(&self, event: &str) -> Verdict {
        let asks = |rooms: &Option<Rooms>| rooms.as_ref().is_some_and(|rooms| rooms.event == event);
        if asks(&self.may_join) {
            return Verdict::Join;
        }
        if asks(&self.may_leave) {
            return Verdict::Leave;
        }
        let rule = self.events.iter().find(|rule| rule.event.matches(event));
        rule.map_or(Verdict::Refused, |rule| Verdict::Event(rule.handling))
    }

    pub(crate) fn may_join(&self, room: &str) -> bool {
        allows(&self.may_join, room)
    }

    pub(crate) fn may_leave(&self, room: &str) -> bool {
        allows(&self.may_leave, room)
    }
}

fn allows(rooms: &Option<Rooms>, room: &str) -> bool {
    rooms.as_ref().is_some_and(|rooms| rooms.patterns.iter().any(|pattern| pattern.matches(room)))
}

/// Reads the 64 hexadecimal digits of a SHA-256.
fn hash_of(hex: &str) -> Option<[u8; 32]> {
    let mut hash = [0_u8; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    // SHA-256 of "sesame".
    const SESAME: &str = "d0c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272";

    fn policy(auth: AuthConfig) -> Policy {
        Policy::new(&NamespaceConfig { auth, ..NamespaceConfig::dev() })
    }

    #[test]
    fn a_token_admits_whoever_knows_it() {
        let policy = policy(AuthConfig::Tokens(vec![SESAME.into()]));
        assert!(policy.admits(Some("sesame")));
        assert!(!policy.admits(Some("Sesame")));
        assert!(!policy.admits(None));
    }

    #[test]
    fn none_admits_anyone_and_deny_nobody() {
        assert!(policy(AuthConfig::None).admits(None));
        assert!(!policy(AuthConfig::Deny).admits(Some("sesame")));
    }

    #[test]
    fn the_first_matching_namespace_and_event_decide() {
        let rule = |event: &str, action| EventRule {
            event: event.into(),
            action,
            include_sender: false,
            acknowledge: true,
        };
        let config = NamespaceConfig {
            name: "/tenant-*".into(),
            events: vec![rule("admin:*", EventAction::Refuse), rule("*", EventAction::RelayToAll)],
            ..NamespaceConfig::dev()
        };
        let policies = Policies::new(&[config]);
        assert!(policies.find("/").is_none());
        let policy = policies.find("/tenant-1").expect("the pattern matches");
        let action = |event: &str| match policy.judge(event) {
            Verdict::Event(handling) => handling.action,
            verdict => panic!("{verdict:?}"),
        };
        assert_eq!(action("admin:drop"), EventAction::Refuse);
        assert_eq!(action("chat"), EventAction::RelayToAll);
        assert_eq!(policy.judge("join"), Verdict::Join);
    }

    #[test]
    fn an_event_without_a_rule_is_refused() {
        let config = NamespaceConfig { events: Vec::new(), may_leave: None, ..NamespaceConfig::dev() };
        assert_eq!(Policy::new(&config).judge("leave"), Verdict::Refused);
    }
}
