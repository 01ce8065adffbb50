//! Where a server's processor time goes, in the kernel too: `perf record` by the clock, which needs no counters of the
//! processor.

use std::{
    collections::HashMap,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::{
    measure::{Amount, warm_up},
    server::{self, Launch},
    workload::Workload,
};

/// Long enough for some thousand samples.
const DURATION: Duration = Duration::from_secs(3);
const SAMPLES_PER_SECOND: &str = "1999";
/// Fewer samples than this tell nothing.
const SAMPLES_MIN: u64 = 500;

/// Shares of the processor time by symbol.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Profile {
    pub(crate) samples: u64,
    /// Of all samples.
    pub(crate) kernel_share: f64,
    /// The symbols with the highest shares of all samples, each without what it calls.
    pub(crate) kernel: Vec<(String, f64)>,
    pub(crate) user: Vec<(String, f64)>,
}

/// Whether there is a `perf` that sees the kernel's symbols.
pub(crate) fn works() -> bool {
    let Ok(directory) = tempfile::tempdir() else { return false };
    let file = directory.path().join("perf.data");
    let mut perf = record(&file);
    // Anything that spends a few ms in the kernel.
    let done = perf.args(["--", "find", "/proc/self/"]).status();
    done.is_ok_and(|status| status.success()) && read(&file).is_ok_and(|profile| !profile.kernel.is_empty())
}

/// Runs a workload and looks where the first node spends its time.
///
/// # Errors
/// When the server fails, or `perf` does.
pub(crate) fn profile(launch: &Launch, workload: &Workload) -> anyhow::Result<Profile> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("perf.data");
    let server = launch.start()?;
    let mut load = workload.prepare(&server)?;
    let (_, amount) = warm_up(load.as_mut(), workload, Amount::For(DURATION))?;
    let pid = *server.pids().first().context("no process")?;
    // What it misses until it has attached would change no share.
    let mut perf = record(&file).args(["-p", &pid.to_string()]).spawn().context("cannot start perf")?;
    load.drive(amount)?;
    server::signal(perf.id(), "INT")?;
    perf.wait()?;
    drop(load);
    server.stop()?;
    let profile = read(&file)?;
    ensure!(profile.samples >= SAMPLES_MIN, "perf took {} samples only", profile.samples);
    Ok(profile)
}

fn record(file: &Path) -> Command {
    let mut perf = Command::new("perf");
    perf.args(["record", "-e", "cpu-clock", "-F", SAMPLES_PER_SECOND, "-o"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    perf
}

/// # Errors
/// When `perf` cannot read its file.
fn read(file: &Path) -> anyhow::Result<Profile> {
    let mut perf = Command::new("perf");
    perf.args(["script", "-F", "ip,sym,dso", "-i"]).arg(file).stdin(Stdio::null());
    let output = perf.output().context("cannot start perf")?;
    ensure!(output.status.success(), "perf script: {}", String::from_utf8_lossy(&output.stderr));
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// Lines like `ffffffff81a4a3bc tcp_ack ([kernel.kallsyms])`, one per sample.
fn parse(text: &str) -> Profile {
    let (mut kernel, mut user) = (HashMap::new(), HashMap::new());
    let mut samples = 0;
    for line in text.lines() {
        let Some((address, rest)) = line.trim().split_once(' ') else { continue };
        let Some((symbol, _)) = rest.rsplit_once(" (") else { continue };
        // Whatever the kernel calls its part: addresses with the highest bit set are its own.
        let is_kernel = u64::from_str_radix(address, 16).is_ok_and(|address| address >> 63 == 1);
        let symbols = if is_kernel { &mut kernel } else { &mut user };
        *symbols.entry(symbol.trim().to_owned()).or_insert(0_u64) += 1;
        samples += 1;
    }
    let all = |counts: &HashMap<String, u64>| counts.values().sum::<u64>() as f64 / (samples.max(1) as f64);
    Profile {
        samples,
        kernel_share: all(&kernel),
        kernel: shares(kernel, samples),
        user: shares(user, samples),
    }
}

/// The highest first.
fn shares(counts: HashMap<String, u64>, samples: u64) -> Vec<(String, f64)> {
    let share = |(symbol, count): (String, u64)| (symbol, count as f64 / samples as f64);
    let mut shares: Vec<_> = counts.into_iter().map(share).collect();
    shares.sort_by(|(first, a), (second, b)| b.total_cmp(a).then_with(|| first.cmp(second)));
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_the_kernels_or_the_users_and_their_shares_are_of_all() {
        let text = " ffffffff81a4a3bc tcp_ack ([kernel.kallsyms])\n ffffffff81a4a3c0 tcp_ack ([kernel.kallsyms])\n \
                    ffffffff81000000 [unknown] ([unknown])\n   55d0c0de1000 <a as b>::c (d) (/bin/gateway)\n";
        let profile = parse(text);
        assert_eq!((profile.samples, profile.kernel_share), (4, 0.75));
        assert_eq!(profile.kernel, [("tcp_ack".to_owned(), 0.5), ("[unknown]".to_owned(), 0.25)]);
        assert_eq!(profile.user, [("<a as b>::c (d)".to_owned(), 0.25)]);
        assert_eq!(parse(""), Profile::default());
    }
}
