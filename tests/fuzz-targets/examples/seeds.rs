//! Writes the seeds of every target, and what has broken it before, where libFuzzer looks: `fuzz/corpus/<target>/`.

#![expect(clippy::unwrap_used, reason = "a tool for developers ends by panicking")]

use std::{fs, path::Path};

use fuzz_targets::{TARGETS, seeds};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in TARGETS {
        let folder = root.join("../../fuzz/corpus").join(name);
        fs::create_dir_all(&folder).unwrap();
        let seeds = seeds::of(name);
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed).unwrap();
        }
        println!("{name}: {} seeds", seeds.len());
    }
}
