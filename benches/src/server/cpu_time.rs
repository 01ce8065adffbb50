//! Processor time of a process under load.

use std::{
    iter::Sum,
    ops::{Add, Sub},
    time::Duration,
};

use anyhow::Context as _;
use nix::{time::clock_getcpuclockid, unistd::Pid};

/// Processor time, or what was added to it between two readings.
///
/// The total is the clock that the kernel keeps of a process, in ns: of all its threads, of those that have ended, and of
/// those that run while it is read. `/proc/PID/stat` is rounded to 10 ms, and that is 1 % of a repetition; it only says how
/// much of the total was in user space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    total: Duration,
    user_ticks: u64,
    system_ticks: u64,
}

impl CpuTime {
    /// That of a process so far; `stat` is its file of this name.
    ///
    /// # Errors
    /// When the process has ended.
    pub(super) fn of(pid: u32, stat: &str) -> anyhow::Result<Self> {
        let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(pid)?)).and_then(|clock| clock.now());
        let total = Duration::from(clock.context("no clock of the server's processor time")?);
        let (user_ticks, system_ticks) = parse_ticks(stat).context("no times in stat")?;
        Ok(Self { total, user_ticks, system_ticks })
    }

    pub(crate) fn total(&self) -> Duration {
        self.total
    }

    /// What of it was spent in user space, to 10 ms.
    pub(crate) fn user(&self) -> Duration {
        let ticks = (self.user_ticks + self.system_ticks).max(1);
        self.total.mul_f64(self.user_ticks as f64 / ticks as f64)
    }

    /// What of it was spent in the kernel, to 10 ms.
    pub(crate) fn system(&self) -> Duration {
        self.total - self.user()
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            total: self.total - earlier.total,
            user_ticks: self.user_ticks - earlier.user_ticks,
            system_ticks: self.system_ticks - earlier.system_ticks,
        }
    }
}

impl Add for CpuTime {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            total: self.total + other.total,
            user_ticks: self.user_ticks + other.user_ticks,
            system_ticks: self.system_ticks + other.system_ticks,
        }
    }
}

impl Sum for CpuTime {
    fn sum<I: Iterator<Item = Self>>(times: I) -> Self {
        times.fold(Self::default(), Self::add)
    }
}

/// Ticks in user space and in the kernel.
fn parse_ticks(stat: &str) -> Option<(u64, u64)> {
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map(|ticks| ticks.parse().ok());
    Some((times.next()??, times.next()??))
}

#[cfg(test)]
mod tests {
    use std::{fs, hint::black_box, thread};

    use super::*;

    #[test]
    fn the_total_is_split_as_the_ticks_are() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 31 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse_ticks(stat), Some((250, 31)));
        let total = Duration::from_micros(1_000_003);
        let time = CpuTime { total, user_ticks: 25, system_ticks: 75 };
        assert_eq!(time.user() + time.system(), total);
        assert_eq!(time.user().as_millis(), 250);
        let unsplit = CpuTime { total, ..CpuTime::default() };
        assert_eq!(unsplit.system(), total, "less than a tick is the kernel's");
    }

    /// What `/proc/PID/task` no longer shows.
    #[test]
    fn the_time_of_threads_that_have_ended_is_not_lost() {
        let own =
            || CpuTime::of(std::process::id(), &fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
        let before = own();
        let thread = thread::spawn(|| {
            let id = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
            (0..5_000_000_u64).map(black_box).max();
            Duration::from(id.now().unwrap())
        });
        let spent = thread.join().unwrap();
        assert!((own() - before).total() >= spent);
    }
}
