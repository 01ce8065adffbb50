//! The processes of a demo: none of them is left behind.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::time::sleep;

const READY_PATIENCE: Duration = Duration::from_secs(20);
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a process.
const PAUSE: Duration = Duration::from_millis(50);

/// Started processes, in order. Dropping it ends them.
#[derive(Default)]
pub(super) struct Processes(Vec<Process>);

struct Process {
    name: String,
    child: Child,
}

impl Processes {
    /// Starts `command` and waits until `is_ready`.
    ///
    /// # Errors
    /// When it cannot be started, ends by itself, or is not ready in time.
    pub(super) async fn start(
        &mut self,
        name: &str,
        command: &mut Command,
        is_ready: impl Fn() -> std::io::Result<bool>,
    ) -> Result<()> {
        // A terminal sends Ctrl-C to the whole group; each process is to end once, when we say so.
        let child = command.process_group(0).spawn();
        let child = child.with_context(|| command.get_program().display().to_string())?;
        self.0.push(Process { name: name.into(), child });
        let until = Instant::now() + READY_PATIENCE;
        while Instant::now() < until {
            if let Some((name, status)) = self.ended()? {
                bail!("{name} ended with {status} before all was ready; its own words are above");
            }
            if is_ready().unwrap_or(false) {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        bail!("{name} was not ready within {READY_PATIENCE:?}")
    }

    /// Waits until one ends by itself, which is a fault.
    pub(super) async fn supervise(&mut self) -> Result<()> {
        loop {
            if let Some((name, status)) = self.ended()? {
                bail!("{name} ended by itself with {status}");
            }
            sleep(PAUSE).await;
        }
    }

    /// Ends all of them: the first, which serves the others, when they are gone.
    ///
    /// # Errors
    /// When one does not end, or not well.
    pub(super) fn stop(&mut self) -> Result<()> {
        let others = self.0.split_off(self.0.len().min(1));
        let mut faults = stop_all(others);
        faults.extend(stop_all(std::mem::take(&mut self.0)));
        match faults.is_empty() {
            true => Ok(()),
            false => bail!(faults.join("; ")),
        }
    }

    fn ended(&mut self) -> Result<Option<(&str, ExitStatus)>> {
        for process in &mut self.0 {
            if let Some(status) = process.child.try_wait()? {
                return Ok(Some((&process.name, status)));
            }
        }
        Ok(None)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("xtask: {error:#}");
        }
    }
}

/// What was wrong with the ends of `processes`, which are told to end at once.
fn stop_all(processes: Vec<Process>) -> Vec<String> {
    for process in &processes {
        terminate(process.child.id());
    }
    processes
        .into_iter()
        .filter_map(|process| stopped(process).err())
        .map(|error| format!("{error:#}"))
        .collect()
}

fn stopped(Process { name, mut child }: Process) -> Result<()> {
    let until = Instant::now() + STOP_PATIENCE;
    while Instant::now() < until {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("{name} ended with {status}"),
            None => thread::sleep(PAUSE),
        }
    }
    child.kill()?;
    child.wait()?;
    bail!("{name} did not end within {STOP_PATIENCE:?} and was killed")
}

/// Sends SIGTERM; by the shell, because the standard library only knows SIGKILL.
fn terminate(pid: u32) {
    let mut shell = Command::new("sh");
    // A second Ctrl-C must not interrupt it. Without a shell the process is killed when its time is over.
    shell.args(["-c", "kill -TERM \"$0\" 2>&-", &pid.to_string()]).process_group(0).status().ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn all_are_ended_when_it_is_dropped() {
        let mut processes = Processes::default();
        for name in ["redis", "gateway"] {
            processes.start(name, &mut shell("exec sleep 600"), || Ok(true)).await.unwrap();
        }
        let pids: Vec<u32> = processes.0.iter().map(|process| process.child.id()).collect();
        drop(processes);
        for pid in pids {
            assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} is still there");
        }
    }

    #[tokio::test]
    async fn one_that_ends_by_itself_is_named_with_its_status() {
        let mut processes = Processes::default();
        let fault = processes.start("gateway 2", &mut shell("exit 2"), || Ok(false)).await.unwrap_err();
        assert!(fault.to_string().contains("gateway 2 ended with exit status: 2"), "{fault}");
    }
}
