//! What the rest of the machine does while something is measured.

use std::{fs, time::Instant};

use anyhow::Context as _;

/// Processor time so far, in the ticks of `/proc`.
pub(crate) struct Work {
    at: Instant,
    /// Of all processes.
    all: u64,
    /// Of this one and of its children that have ended.
    own: u64,
}

/// The unit of times in `/proc`: Linux shows user space 100 per second on every architecture of today.
const TICKS_PER_SECOND: f64 = 100.0;

impl Work {
    /// Reads both.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub(crate) fn so_far() -> anyhow::Result<Self> {
        let all = parse_busy(&fs::read_to_string("/proc/stat")?).context("no cpu in /proc/stat")?;
        let own =
            parse_own(&fs::read_to_string("/proc/self/stat")?).context("no times in /proc/self/stat")?;
        Ok(Self { at: Instant::now(), all, own })
    }

    /// The share of all processors that other processes have taken since then.
    pub(crate) fn of_others_since(&self, earlier: &Self) -> f64 {
        let ticks = (self.all - earlier.all).saturating_sub(self.own - earlier.own);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let elapsed = self.at.duration_since(earlier.at).as_secs_f64();
        ticks as f64 / TICKS_PER_SECOND / elapsed / processors as f64
    }
}

/// User, nice, system, irq, softirq: not idle, not waiting.
fn parse_busy(stat: &str) -> Option<u64> {
    let times: Vec<u64> =
        stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().flat_map(str::parse).collect();
    [0, 1, 2, 5, 6].into_iter().map(|place: usize| times.get(place).copied()).sum()
}

fn parse_own(stat: &str) -> Option<u64> {
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').skip(11).take(4).map(|ticks| ticks.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_what_is_neither_idle_nor_waiting() {
        assert_eq!(parse_busy("cpu  10 1 5 900 70 2 3 0 0 0\ncpu0 1 2 3\n"), Some(21));
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 31 7 5 20 0 1 0 5 6 7";
        assert_eq!(parse_own(stat), Some(293));
    }
}
