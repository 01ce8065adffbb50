//! One process under load: started, ended, and what the system knows of it.

use std::{
    fs::{self, File},
    io,
    iter::Sum,
    net::{SocketAddr, TcpStream},
    ops::{Add, Sub},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

/// How long a server may take to listen; valgrind translates all of it first.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end.
const END_PATIENCE: Duration = Duration::from_secs(60);
/// The unit of times in `/proc`: Linux shows user space 100 per second on every architecture of today.
const TICKS_PER_SECOND: u64 = 100;

/// A running process; it is killed when dropped.
pub(super) struct Process {
    child: Child,
    directory: TempDir,
}

/// A program with its arguments, and the files it reads.
pub(super) struct Words {
    pub(super) words: Vec<String>,
    pub(super) environment: Vec<(&'static str, String)>,
    pub(super) config: Option<Config>,
}

/// A file that the last argument names.
pub(super) struct Config {
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// Processor time of a process, to 10 ms.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Process {
    /// Starts a program behind the words of a tool, and waits until it listens.
    ///
    /// # Errors
    /// When it does not, with what it printed.
    pub(super) fn start(tool: Vec<String>, program: &Words, listens: SocketAddr) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut words = tool;
        words.extend(program.words.iter().cloned());
        if let Some(Config { name, text }) = &program.config {
            let path = directory.path().join(name);
            fs::write(&path, text)?;
            words.push(path.display().to_string());
        }
        let output = File::create(directory.path().join("output"))?;
        let (first, arguments) = words.split_first().context("no program")?;
        let child = Command::new(first)
            .args(arguments)
            .envs(program.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {first}"))?;
        let mut process = Self { child, directory };
        process.wait_until_it_listens(listens)?;
        Ok(process)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_it_listens(&mut self, at: SocketAddr) -> anyhow::Result<()> {
        let start = Instant::now();
        while TcpStream::connect(at).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at once ({status}): {}", self.output());
            }
            ensure!(start.elapsed() < START_PATIENCE, "the server does not listen: {}", self.output());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Tells the process to end, and waits.
    ///
    /// # Errors
    /// When it does not end in time.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        signal(self.pid(), "TERM")?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(start.elapsed() < END_PATIENCE, "the server does not end: {}", self.output());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn output(&self) -> String {
        fs::read_to_string(self.directory.path().join("output")).unwrap_or_default()
    }

    pub(super) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let text = self.file("smaps_rollup")?;
        parse_kib(&text, "Rss:").context("no Rss in smaps_rollup")
    }

    pub(super) fn peak_resident_bytes(&self) -> anyhow::Result<u64> {
        parse_kib(&self.file("status")?, "VmHWM:").context("no VmHWM in status")
    }

    /// Processor time so far, of all threads.
    pub(super) fn cpu_time(&self) -> anyhow::Result<CpuTime> {
        parse_cpu_time(&self.file("stat")?).context("no times in stat")
    }

    fn file(&self, name: &str) -> anyhow::Result<String> {
        let text = fs::read_to_string(format!("/proc/{}/{name}", self.pid()));
        text.with_context(|| format!("the server has ended: {}", self.output()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has usually ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
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

impl Add for CpuTime {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }
}

impl Sum for CpuTime {
    fn sum<I: Iterator<Item = Self>>(times: I) -> Self {
        times.fold(Self::default(), Self::add)
    }
}

/// Sends a signal, by its name.
///
/// # Errors
/// When the system has no `kill`.
pub(crate) fn signal(pid: u32, name: &str) -> io::Result<()> {
    Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().map(drop)
}

/// A line like `Rss:    1436 kB`, in bytes.
fn parse_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
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
        assert_eq!(parse_kib(rollup, "Rss:"), Some(1436 * 1024));
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 31 0 0 20 0 1 0 5 6 7";
        let time = parse_cpu_time(stat).unwrap();
        assert_eq!((time.user, time.system), (Duration::from_millis(2500), Duration::from_millis(310)));
    }
}
