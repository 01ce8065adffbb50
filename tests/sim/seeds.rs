//! Which histories a test runs: one for each seed, or the one that is asked for.
//!
//! A failure prints its seed. `SIM_SEED=17` runs that seed alone, `SIM_SEEDS=5000` runs more of them.

/// Names the seed of a run that panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed; run it again with SIM_SEED={}", self.0);
        }
    }
}

/// Runs the history of one seed.
pub(crate) fn run_one<T>(seed: u64, run: impl FnOnce(u64) -> T) -> T {
    let named = Named(seed);
    let result = run(seed);
    drop(named);
    result
}

/// Runs the histories of the seeds from 0 to `seeds`, unless the environment says which.
pub(crate) fn run_all<T>(seeds: u64, run: impl Fn(u64) -> T) {
    match number("SIM_SEED") {
        Some(seed) => drop(run_one(seed, run)),
        None => (0..number("SIM_SEEDS").unwrap_or(seeds)).for_each(|seed| drop(run_one(seed, &run))),
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a seed is a number"))
}
