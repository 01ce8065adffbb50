//! Several gateways that know each other.

use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::Index,
    sync::atomic::{AtomicU8, Ordering},
};

use super::Gateway;

/// Gateways with the numbers 0, 1, 2 and so on, which forward to each other.
pub(crate) struct Cluster {
    gateways: Vec<Gateway>,
    block: Block,
}

/// Addresses of loopback that no other cluster of this machine uses, so that ports need not be drawn: gateways
/// have to know each other's before they start.
#[derive(Clone, Copy)]
struct Block([u8; 2]);

impl Block {
    fn new() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let process = std::process::id().to_le_bytes();
        // 127.0 and 127.255 are left to others.
        Self([
            1 + process[0] % 250,
            process[1].wrapping_mul(16).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)),
        ])
    }

    fn address(self, node: usize) -> SocketAddr {
        let last = 1 + u8::try_from(node).unwrap();
        (Ipv4Addr::new(127, self.0[0], self.0[1], last), 7420).into()
    }
}

impl Cluster {
    /// `count` gateways with `--dev` and these keys.
    pub(crate) fn dev(count: usize, keys: &[&str]) -> Self {
        let block = Block::new();
        let gateways = (0..count).map(|node| start(block, count, node, keys)).collect();
        Self { gateways, block }
    }

    /// Starts one of the gateways anew, with these keys.
    pub(crate) fn restart(&mut self, node: usize, keys: &[&str]) {
        let count = self.gateways.len();
        // The old one is gone before the new one takes its address.
        if self.gateways[node].is_running() {
            self.kill(node);
        }
        self.gateways[node] = start(self.block, count, node, keys);
    }

    /// Kills one of the gateways.
    pub(crate) fn kill(&mut self, node: usize) {
        self.gateways[node].signal("KILL");
        assert!(self.gateways[node].exit(super::PATIENCE).is_some());
    }

    /// Where one of the gateways expects the others.
    pub(crate) fn port(&self, node: usize) -> SocketAddr {
        self.block.address(node)
    }

    pub(crate) fn get_mut(&mut self, node: usize) -> &mut Gateway {
        &mut self.gateways[node]
    }
}

impl Index<usize> for Cluster {
    type Output = Gateway;

    fn index(&self, node: usize) -> &Gateway {
        &self.gateways[node]
    }
}

fn start(block: Block, count: usize, node: usize, keys: &[&str]) -> Gateway {
    let peers: Vec<_> = (0..count).map(|node| format!("{node}={}", block.address(node))).collect();
    let own = [
        format!("node.id={node}"),
        format!("cluster.listen={}", block.address(node)),
        format!("cluster.peers={}", peers.join(",")),
    ];
    let keys: Vec<_> = own.iter().map(String::as_str).chain(keys.iter().copied()).collect();
    Gateway::dev(&keys)
}
