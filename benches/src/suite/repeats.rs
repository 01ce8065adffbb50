//! How often each server runs a workload.

use crate::server::Kind;

/// How often a workload is repeated, of the times that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// Not at all: it takes long, and what it tells does not vary.
    Once,
    AsAsked,
    /// The gateway and the bare loops twice as often as asked and once more, since a target bounds their ratio closely.
    Closely,
    /// The gateway and the bare loops as asked; the others, which take long, once.
    OthersOnce,
}

impl Repeats {
    pub(crate) fn of(self, kind: Kind, asked: u32) -> u32 {
        let is_close = kind == Kind::Gateway || !kind.is_server();
        match self {
            Self::Once => asked.min(1),
            Self::Closely if is_close && asked > 1 => 2 * asked + 1,
            Self::OthersOnce if !is_close => asked.min(1),
            Self::AsAsked | Self::Closely | Self::OthersOnce => asked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_closely_runs_more_often_unless_once_is_asked_for() {
        let cases = [
            (Repeats::Once, Kind::Gateway, 3, 1),
            (Repeats::AsAsked, Kind::Bare, 3, 3),
            (Repeats::Closely, Kind::Gateway, 3, 7),
            (Repeats::Closely, Kind::Batched, 3, 7),
            (Repeats::Closely, Kind::Node, 3, 3),
            (Repeats::Closely, Kind::Gateway, 1, 1),
            (Repeats::OthersOnce, Kind::Bare, 3, 3),
            (Repeats::OthersOnce, Kind::Node, 3, 1),
            (Repeats::Once, Kind::Node, 0, 0),
        ];
        for (repeats, kind, asked, expected) in cases {
            assert_eq!(repeats.of(kind, asked), expected, "{repeats:?} {kind:?} {asked}");
        }
    }
}
