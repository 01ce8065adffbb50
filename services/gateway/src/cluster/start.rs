//! How the thread of the cluster's node begins, and what is said when it ends too early.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::thread;

use anyhow::Context as _;
use cluster::ClusterConfig;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use redis_link::LinkConfig;
use tokio::sync::watch;

use super::ClusterHandle;
use super::carrier::{self, CarrierStart};
use crate::admin::{Readiness, Unready};
use crate::inbox::Shards;
use crate::peers::Directory;
use crate::shutdown;

/// Everything that the thread starts with, but what tells whether this process is ready.
pub(crate) struct ClusterStart {
    handle: ClusterHandle,
    carrier: CarrierStart,
}

impl ClusterStart {
    /// A node that reaches Redis by `link`, delivers to `shards`, and enters the other nodes into `directory`.
    pub(crate) fn new(
        node: ClusterConfig,
        link: LinkConfig,
        shards: Shards,
        directory: Directory,
        entropy: &mut StdRng,
    ) -> Self {
        let (handle, commands, can_publish) = ClusterHandle::new(&node.prefix);
        let rng = StdRng::from_rng(entropy);
        let link_seed = entropy.next_u64();
        let carrier = CarrierStart { node, link, rng, link_seed, commands, can_publish, shards, directory };
        Self { handle, carrier }
    }

    /// The way to the node.
    pub(crate) fn handle(&self) -> ClusterHandle {
        self.handle.clone()
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has none left.
    pub(crate) fn run(self, ready: &watch::Sender<Readiness>) -> anyhow::Result<ClusterHandle> {
        let Self { handle, carrier } = self;
        // Said once with the first change: a process that has just been started is not away from anything.
        ready.send_modify(|readiness| readiness.set(Unready::RedisAway));
        let ready = ready.clone();
        let life = move || {
            let until_failed = ready.clone();
            let life = AssertUnwindSafe(|| carrier::run(carrier, until_failed));
            let result = panic::catch_unwind(life)
                .unwrap_or_else(|_| Err(io::Error::other("it panicked; the message is in the log above")));
            if let Err(error) = result {
                telemetry::emit(&telemetry::ClusterFailed { error: error.to_string() });
                shutdown::set_ready(&ready, |readiness| readiness.set(Unready::ClusterFailed));
            }
        };
        thread::Builder::new()
            .name("cluster".to_owned())
            .spawn(life)
            .context("cannot start the cluster's thread")?;
        Ok(handle)
    }
}
