//! Every target over its seeds, the inputs that once broke something, and mutations of both from one seed: short
//! enough for each run of the tests. Long runs are libFuzzer's (`docs/fuzzing.md`).
//!
//! `FUZZ_ROUNDS=100000` mutates more, `FUZZ_SEED=7` in another way. A failure prints the input.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{collections::BTreeSet, env, fs, path::Path};

use fuzz_targets::{TARGETS, seeds};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Mutated inputs of each target.
const ROUNDS: u64 = 1_500;
/// Bytes that mean something to one decoder or another.
const TELLING: &[u8] = b"\x00\x01\x7e\x7f\x80\xff\x1e\r\n{}[]\",:/0123456789-bt\\";

/// Prints the input of a run that panics.
struct Named<'a>(&'a str, &'a [u8]);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("target {} fails on b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What has broken a target before: `regressions/<target>/*`.
fn regressions(target: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(root().join("regressions").join(target)) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A part of an input, by chance.
fn part(rng: &mut StdRng, bytes: &[u8]) -> std::ops::Range<usize> {
    let start = rng.random_range(0..=bytes.len());
    start..rng.random_range(start..=bytes.len().min(start + 40))
}

fn mutate(rng: &mut StdRng, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = TELLING[rng.random_range(0..TELLING.len())],
            2 => bytes.insert(at, TELLING[rng.random_range(0..TELLING.len())]),
            3 => drop(bytes.drain(part(rng, bytes))),
            4 => drop(bytes.splice(at..at, bytes[part(rng, bytes)].to_vec())),
            5 => drop(bytes.splice(at.., other[part(rng, other).start..].to_vec())),
            _ => bytes.truncate(at.max(bytes.len() / 2)),
        }
    }
}

fn check(name: &str, target: fn(&[u8]), bytes: &[u8]) {
    let named = Named(name, bytes);
    target(bytes);
    drop(named);
}

fn smoke(name: &str, target: fn(&[u8])) {
    let mut inputs = seeds::of(name);
    inputs.extend(regressions(name));
    assert!(!inputs.is_empty(), "{name} has nothing to begin with");
    inputs.iter().for_each(|input| check(name, target, input));
    let mut rng = StdRng::seed_from_u64(number("FUZZ_SEED").unwrap_or(1));
    for _ in 0..number("FUZZ_ROUNDS").unwrap_or(ROUNDS) {
        let mut input = inputs[rng.random_range(0..inputs.len())].clone();
        let other = rng.random_range(0..inputs.len());
        mutate(&mut rng, &mut input, &inputs[other]);
        check(name, target, &input);
    }
}

#[test]
fn no_seed_and_no_mutation_of_one_breaks_a_rule() {
    std::thread::scope(|scope| {
        for (name, target) in TARGETS {
            std::thread::Builder::new()
                .name(name.into())
                .spawn_scoped(scope, move || smoke(name, target))
                .unwrap();
        }
    });
}

#[test]
fn every_target_is_known_to_libfuzzer_and_every_regression_to_a_target() {
    let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let shells = root().join("../../fuzz/fuzz_targets");
    let mut files = BTreeSet::new();
    for path in fs::read_dir(shells).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let call = format!("fuzz_targets::run(\"{name}\", bytes)");
        assert!(fs::read_to_string(&path).unwrap().contains(&call), "{name}");
        files.insert(name);
    }
    assert_eq!(files, known);
    let manifest = fs::read_to_string(root().join("../../fuzz/Cargo.toml")).unwrap();
    assert!(known.iter().all(|name| manifest.contains(&format!("name = \"{name}\""))), "{manifest}");
    for entry in fs::read_dir(root().join("regressions")).into_iter().flatten() {
        let name = entry.unwrap().file_name();
        assert!(known.contains(name.to_str().unwrap()), "{name:?}");
    }
}
