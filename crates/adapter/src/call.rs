//! Broadcasts whose recipients are asked for an acknowledgement.

/// One such broadcast, while its answers are awaited; chosen by whoever sends it, unique in its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);
