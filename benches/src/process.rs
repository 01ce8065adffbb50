//! What the system knows of a process.

use std::{fs, ops::Sub, time::Duration};

use anyhow::Context as _;

/// The unit of times in `/proc`: Linux shows user space 100 per second on every architecture of today.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time of a process, to 10 ms.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl CpuTime {
    pub(crate) fn total(&self) -> Duration {
        self.user + self.system
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { user: self.user - earlier.user, system: self.system - earlier.system }
    }
}

/// Resident memory.
///
/// # Errors
/// When there is no such process.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("the server has ended")?;
    parse_resident(&text).context("no Rss in smaps_rollup")
}

/// Processor time so far, of all threads.
///
/// # Errors
/// When there is no such process.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<CpuTime> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).context("the server has ended")?;
    parse_cpu_time(&text).context("no times in stat")
}

fn parse_resident(smaps_rollup: &str) -> Option<u64> {
    let line = smaps_rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

fn parse_cpu_time(stat: &str) -> Option<CpuTime> {
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map(|ticks| {
        let ticks: u64 = ticks.parse().ok()?;
        Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    });
    Some(CpuTime { user: times.next()??, system: times.next()?? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_times_are_found() {
        let rollup = "00400000-7ffd ---p 00000000 00:00 0  [rollup]\nRss:    1436 kB\nPss:  560 kB\n";
        assert_eq!(parse_resident(rollup), Some(1436 * 1024));
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 31 0 0 20 0 1 0 5 6 7";
        let time = parse_cpu_time(stat).unwrap();
        assert_eq!((time.user, time.system), (Duration::from_millis(2500), Duration::from_millis(310)));
    }
}
