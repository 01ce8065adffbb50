//! One process under load: started, ended, and what the system knows of it.

use std::{
    fs::{self, File},
    io,
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use super::CpuTime;

/// How long a server may take to listen; valgrind translates all of it first.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end.
const END_PATIENCE: Duration = Duration::from_secs(60);

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

    /// The part of it that is no page of a file.
    pub(super) fn anonymous_bytes(&self) -> anyhow::Result<u64> {
        let text = self.file("smaps_rollup")?;
        parse_kib(&text, "Anonymous:").context("no Anonymous in smaps_rollup")
    }

    pub(super) fn peak_resident_bytes(&self) -> anyhow::Result<u64> {
        parse_kib(&self.file("status")?, "VmHWM:").context("no VmHWM in status")
    }

    /// Processor time so far, of all threads and of those that have ended.
    pub(super) fn cpu_time(&self) -> anyhow::Result<CpuTime> {
        CpuTime::of(self.pid(), &self.file("stat")?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_found() {
        let rollup = "00400000-7ffd ---p 00000000 00:00 0  [rollup]\nRss:    1436 kB\nPss:  560 kB\n";
        assert_eq!(parse_kib(rollup, "Rss:"), Some(1436 * 1024));
    }
}
