//! One bench in a process of its own, under callgrind.

use std::{fs, process::Command};

use anyhow::{Context as _, ensure};

/// All instructions of a bench's counted part.
///
/// # Errors
/// When there is no valgrind, or it counts nothing.
pub(crate) fn instructions(bench: &str) -> anyhow::Result<u64> {
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*counted_part*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(["run", bench])
        .output()
        .context("cannot start valgrind: apt-get install valgrind")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{bench} under valgrind: {words}");
    let count = parse(&fs::read_to_string(out)?).unwrap_or(0);
    ensure!(count > 0, "callgrind has counted nothing of {bench}: {words}");
    Ok(count)
}

/// The sum at the end of callgrind's file.
fn parse(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_found() {
        assert_eq!(parse("events: Ir\nfn=(1) main\n1 2\n\ntotals: 12345\n"), Some(12_345));
        assert_eq!(parse("events: Ir\n"), None);
    }
}
