//! `roomcast-counted`: instructions of the hot paths, without IO, so that they hold still.
//!
//! `check FILE` runs each bench under callgrind and compares it with its bound; `run NAME` is what runs there.

mod codecs;
mod count;
mod fanout;
mod publishing;

use std::{collections::BTreeMap, fs, process::ExitCode};

use anyhow::{Context as _, bail};

/// A bench's name, and what sets it up.
type Bench = (&'static str, fn() -> Counted);

/// A bench that is set up.
struct Counted {
    /// What is counted.
    run: Box<dyn FnMut()>,
    /// Units of one run: messages, deliveries or cycles.
    units: u32,
}

impl Counted {
    fn new(units: u32, run: impl FnMut() + 'static) -> Self {
        Self { run: Box::new(run), units }
    }
}

/// Runs that are counted, after one that is not.
const RUNS: u32 = 20;

fn benches() -> Vec<Bench> {
    [&codecs::BENCHES[..], &fanout::BENCHES[..], &publishing::BENCHES[..]].concat()
}

/// What callgrind counts: nothing else is collected.
#[inline(never)]
fn counted_part(run: &mut dyn FnMut()) {
    for _ in 0..RUNS {
        run();
    }
}

/// Compares all counts with the bounds of a file; `Ok(false)` if one is above.
fn check(file: &str) -> anyhow::Result<bool> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let bounds: BTreeMap<String, f64> =
        toml::from_str(&text).with_context(|| format!("{file} is no table of numbers"))?;
    let benches = benches();
    for name in bounds.keys() {
        anyhow::ensure!(benches.iter().any(|(bench, _)| bench == name), "{file}: there is no bench {name}");
    }
    let mut holds = true;
    for (name, set_up) in benches {
        let bound = *bounds.get(name).with_context(|| format!("{file} has no bound for {name}"))?;
        let units = f64::from(set_up().units * RUNS);
        let each = count::instructions(name)? as f64 / units;
        let word = if each <= bound { "ok" } else { "ABOVE" };
        println!("{name}: {each:.1} instructions, bound {bound}: {word}");
        holds &= each <= bound;
    }
    Ok(holds)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["check", file] => check(file),
        ["run", name] => run(name).map(|()| true),
        _ => Err(anyhow::anyhow!("roomcast-counted check FILE | run NAME")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!(
                "roomcast-counted: a hot path became dearer; make it cheaper, or raise its bound and say why"
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("roomcast-counted: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str) -> anyhow::Result<()> {
    let bench = benches().into_iter().find(|(bench, _)| *bench == name);
    let Some((_, set_up)) = bench else { bail!("no bench {name}") };
    let Counted { mut run, .. } = set_up();
    run();
    counted_part(&mut *run);
    Ok(())
}
