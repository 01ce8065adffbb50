//! Which gateways there are, and where.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

/// Another gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its cluster port.
    pub(crate) address: SocketAddr,
}

/// The gateways of the cluster by the number that session ids carry. Clones are one directory.
///
/// Whoever learns of gateways replaces the whole; the shards look up single ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    /// Those of the configuration, which stay whatever is learnt.
    fixed: Arc<HashMap<u16, Peer>>,
    // Guards the pointer to the map against its replacement, and is held for a copy of the pointer.
    learnt: Arc<RwLock<Arc<HashMap<u16, Peer>>>>,
}

impl Directory {
    /// A directory that knows these gateways from the start and for good.
    pub(crate) fn new(fixed: HashMap<u16, Peer>) -> Self {
        Self { fixed: Arc::new(fixed), learnt: Arc::default() }
    }

    /// Replaces what was learnt before.
    pub(crate) fn set(&self, peers: HashMap<u16, Peer>) {
        *self.learnt.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(peers);
    }

    /// Where the gateway with this number is, if there is one. What was learnt goes before what was configured.
    pub(crate) fn find(&self, node: u16) -> Option<Peer> {
        let learnt = self.learnt.read().unwrap_or_else(PoisonError::into_inner).clone();
        learnt.get(&node).or_else(|| self.fixed.get(&node)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learnt_is_seen_by_all_clones_and_replaced_as_a_whole() {
        let peer = |port| Peer { address: ([127, 0, 0, 1], port).into() };
        let directory = Directory::new(HashMap::from([(1, peer(1)), (2, peer(2))]));
        let clone = directory.clone();
        directory.set(HashMap::from([(2, peer(20)), (3, peer(30))]));
        assert_eq!([1, 2, 3].map(|node| clone.find(node)), [Some(peer(1)), Some(peer(20)), Some(peer(30))]);
        directory.set(HashMap::new());
        assert_eq!([1, 2, 3].map(|node| clone.find(node)), [Some(peer(1)), Some(peer(2)), None]);
    }
}
