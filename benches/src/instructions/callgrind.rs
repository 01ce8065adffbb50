//! A server under callgrind, and the file that callgrind writes: cost per function.
//!
//! Source: "Callgrind Format Specification" of the valgrind manual.

use std::{collections::HashMap, fs, path::Path, process::Command};

use anyhow::{Context as _, ensure};

use super::Cost;
use crate::{server::Launch, workload::Workload};

/// Counts `amount` of a workload, after a fifth of it to warm up.
pub(super) fn count(launch: &Launch, workload: &Workload, amount: u32) -> anyhow::Result<Cost> {
    let directory = tempfile::tempdir()?;
    let out = |process: usize| directory.path().join(format!("callgrind.{process}"));
    // Threads take turns; with a fair turn one that publishes does not starve the one that delivers.
    let tool = ["valgrind", "--tool=callgrind", "--fair-sched=yes"].map(String::from);
    let server = launch.start_under(|process| {
        let out_flag = format!("--callgrind-out-file={}", out(process).display());
        [&tool[..], &[out_flag]].concat()
    })?;
    let mut load = workload.prepare(&server)?;
    let warm_up = load.drive(amount.div_ceil(5))?;
    let pids = server.pids();
    pids.iter().try_for_each(|pid| control(*pid, "--zero"))?;
    let mut outcome = load.drive(amount)?;
    pids.iter().try_for_each(|pid| control(*pid, "--dump"))?;
    drop(load);
    server.stop()?;
    ensure!(outcome.units > 0, "nothing was delivered");
    outcome.faults.add(warm_up.faults);
    let mut cost = Cost { user: 0.0, kernel: None, functions: Vec::new(), faults: outcome.faults };
    for process in 0..pids.len() {
        // The first dump has this number behind the name; the costs of the end go into the file without one.
        let dump = out(process).with_extension(format!("{process}.1"));
        let profile = Profile::read(&dump)?.per(outcome.units as f64);
        cost.user += profile.total;
        // Of a cluster, the first node's.
        if process == 0 {
            cost.functions = profile.functions;
        }
    }
    Ok(cost)
}

fn control(pid: u32, command: &str) -> anyhow::Result<()> {
    let output = Command::new("callgrind_control").args([command, &pid.to_string()]).output();
    let output = output.context("cannot start callgrind_control")?;
    ensure!(
        output.status.success(),
        "callgrind_control {command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Instructions by function, each without those of the functions it calls.
#[derive(Debug, Default)]
struct Profile {
    total: f64,
    /// Highest cost first.
    functions: Vec<(String, f64)>,
}

impl Profile {
    /// Reads a file.
    ///
    /// # Errors
    /// When there is none, or it has no costs.
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).context("callgrind has written no file")?;
        let profile = Self::parse(&text);
        ensure!(profile.total > 0.0, "callgrind has counted nothing");
        Ok(profile)
    }

    fn parse(text: &str) -> Self {
        let mut names: HashMap<&str, String> = HashMap::new();
        let mut costs: HashMap<String, f64> = HashMap::new();
        let mut function = String::new();
        let mut is_call = false;
        for line in text.lines() {
            if let Some(reference) = line.strip_prefix("fn=") {
                function = resolve(&mut names, reference);
            } else if let Some(reference) = line.strip_prefix("cfn=") {
                resolve(&mut names, reference);
            } else if line.starts_with("calls=") {
                // The next line is the cost of the callee.
                is_call = true;
            } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
                let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<f64>().ok());
                if let (Some(cost), false) = (cost, is_call) {
                    *costs.entry(function.clone()).or_default() += cost;
                }
                is_call = false;
            }
        }
        let total = costs.values().sum();
        let mut functions: Vec<_> = costs.into_iter().collect();
        functions.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        Self { total, functions }
    }

    /// The same for one of `units`.
    fn per(mut self, units: f64) -> Self {
        self.total /= units;
        self.functions.iter_mut().for_each(|(_, cost)| *cost /= units);
        self
    }
}

/// A name is written once, as `(7) name`, and is `(7)` from then on.
fn resolve<'a>(names: &mut HashMap<&'a str, String>, reference: &'a str) -> String {
    let (number, name) = reference.split_once(' ').unwrap_or((reference, ""));
    if !name.is_empty() {
        names.insert(number, without_hash(name).to_owned());
    }
    names.get(number).cloned().unwrap_or_else(|| reference.to_owned())
}

/// Rust's names end with `::h` and 16 hex digits that differ from build to build.
fn without_hash(name: &str) -> &str {
    let is_hash = |hash: &&str| hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
    match name.rsplit_once("::h") {
        Some((path, hash)) if is_hash(&hash) => path,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "events: Ir\n\
        fn=(1) main::h0123456789abcdef\n16 400\n+3 100\ncfn=(2) write\ncalls=5 50\n+1 9000\n\
        fn=(2)\n51 60\n* 40\nfn=(1)\n20 7\n";

    fn costs(profile: &Profile) -> Vec<(&str, f64)> {
        profile.functions.iter().map(|(name, cost)| (name.as_str(), *cost)).collect()
    }

    #[test]
    fn own_costs_are_summed_and_those_of_calls_are_not() {
        let profile = Profile::parse(FILE);
        assert_eq!(costs(&profile), [("main", 507.0), ("write", 100.0)]);
        assert_eq!(profile.total, 607.0);
        let halves = Profile::parse(FILE).per(2.0);
        assert_eq!(costs(&halves), [("main", 253.5), ("write", 50.0)]);
        assert_eq!(profile.per(100.0).total, 6.07);
    }
}
