//! Nodes with their shards and clients on a model of Redis, driven from one seed in virtual time.
//!
//! A failure prints its seed. `SIM_SEED=17` runs that seed alone, `SIM_SEEDS=5000` runs more of them.
//!
//! Clients are at no distance here, so that they know exactly what they are in; between clients and shards look the
//! simulation of one process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod asks;
mod client;
mod faults;
#[path = "../intervals.rs"]
mod intervals;
#[path = "../../../crates/cluster/tests/nodes/keys.rs"]
mod keys;
mod link;
mod oracle;
mod process;
mod redis;
#[path = "../schedule.rs"]
mod schedule;
#[path = "../seeds.rs"]
mod seeds;
mod shards;
mod world;

use adapter::SubscriptionMode;
use cluster::{Family, ListenMode};

use crate::world::{Plan, World};

const EXACT: Plan = Plan {
    nodes: 3,
    shards: 2,
    masters: 1,
    clients: 7,
    family: Family::Classic,
    listen: ListenMode::Exact,
    has_faults: true,
};
const PATTERN: Plan = Plan { listen: ListenMode::Pattern, ..EXACT };

const fn sharded(mode: SubscriptionMode, masters: usize) -> Plan {
    Plan { family: Family::Sharded(mode), masters, ..EXACT }
}

/// Runs one history to its end and returns the hash of its trace.
fn run(seed: u64, plan: Plan) -> u64 {
    let mut world = World::new(seed, plan);
    world.run();
    world.trace()
}

fn run_all(seeds: u64, plan: Plan) {
    seeds::run_all(seeds, |seed| run(seed, plan));
}

#[test]
fn without_faults_nothing_is_lost_and_every_answer_is_complete() {
    for plan in [EXACT, PATTERN, sharded(SubscriptionMode::Dynamic, 1), sharded(SubscriptionMode::Dynamic, 3)]
    {
        run_all(100, Plan { has_faults: false, ..plan });
    }
}

#[test]
fn exact_channels_keep_order_and_lose_nothing_but_in_outages() {
    run_all(700, EXACT);
}

#[test]
fn patterns_keep_order_and_lose_nothing_but_in_outages() {
    run_all(300, PATTERN);
}

#[test]
fn shard_channels_of_one_server_keep_order_and_lose_nothing_but_in_outages() {
    run_all(200, sharded(SubscriptionMode::Static, 1));
    run_all(200, sharded(SubscriptionMode::Dynamic, 1));
}

#[test]
fn shard_channels_of_several_masters_keep_order_and_lose_nothing_but_in_outages() {
    run_all(400, sharded(SubscriptionMode::Dynamic, 3));
    run_all(200, sharded(SubscriptionMode::DynamicPrivate, 3));
}

#[test]
fn one_seed_has_one_history() {
    for plan in [EXACT, PATTERN, sharded(SubscriptionMode::Dynamic, 3)] {
        for seed in 0..10 {
            assert_eq!(run(seed, plan), run(seed, plan), "seed {seed}");
        }
        assert_ne!(run(0, plan), run(1, plan));
    }
}
