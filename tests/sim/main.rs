//! Shards, their clients and what connects them, driven from one seed in virtual time.
//!
//! A failure prints its seed. `SIM_SEED=17` runs that seed alone, `SIM_SEEDS=5000` runs more of them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod client;
mod intervals;
mod model;
mod schedule;
mod seeds;
mod server;
mod wire;
mod world;

use adapter::Subscriptions;

use crate::world::{Plan, World};

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
fn two_shards_of_one_process_keep_order_and_lose_nothing() {
    run_all(200, Plan { shards: 2, clients: 8, subscriptions: Subscriptions::NotNeeded });
}

#[test]
fn two_shards_whose_joins_wait_for_subscriptions_keep_order_and_lose_nothing() {
    run_all(200, Plan { shards: 2, clients: 8, subscriptions: Subscriptions::Confirmed });
}

#[test]
fn many_shards_keep_order_and_lose_nothing() {
    run_all(25, Plan { shards: 5, clients: 15, subscriptions: Subscriptions::Confirmed });
}

#[test]
fn one_seed_has_one_history() {
    for subscriptions in [Subscriptions::NotNeeded, Subscriptions::Confirmed] {
        let plan = Plan { shards: 2, clients: 8, subscriptions };
        for seed in 0..5 {
            assert_eq!(run(seed, plan), run(seed, plan), "seed {seed}");
        }
        assert_ne!(run(0, plan), run(1, plan));
    }
}
