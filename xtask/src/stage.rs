//! One stage of `cargo xtask test`: a heading, a run, and how many checks passed and failed in it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

/// How many checks passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// One check.
    pub(crate) fn of(passed: bool) -> Self {
        Self { passed: passed.into(), failed: (!passed).into() }
    }

    /// A run that counts by itself and ended well or not: one that ended badly without a failure to show (it did
    /// not compile, or crashed), or that ran nothing at all, is a failure too.
    pub(crate) fn of_run(self, ended_well: bool) -> Self {
        let unexplained = self.failed == 0 && (!ended_well || self.passed == 0);
        Self { failed: self.failed + u64::from(unexplained), ..self }
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs one stage between its heading and its result.
pub(crate) fn stage(name: &str, run: impl FnOnce() -> Tally) -> Tally {
    println!("\n==> {name}");
    let start = Instant::now();
    let tally = run();
    let word = if tally.failed == 0 { "ok" } else { "FAILED" };
    println!(
        "==> {name}: {word}, {} passed, {} failed, {:.1} s",
        tally.passed,
        tally.failed,
        start.elapsed().as_secs_f32()
    );
    tally
}

/// Runs `command`; one check, passed if it ends with 0. A command that cannot be run fails, with the reason.
pub(crate) fn check(command: &mut Command) -> Tally {
    match command.status() {
        Ok(status) => Tally::of(status.success()),
        Err(error) => cannot_run(command, &error),
    }
}

/// Runs `command` and counts with `count` over each line of its output, which is shown as it comes.
pub(crate) fn count_lines(command: &mut Command, count: impl Fn(&str) -> Option<Tally>) -> Tally {
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return cannot_run(command, &error),
    };
    let mut tally = Tally::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            if let Some(counted) = count(&line) {
                tally += counted;
            }
        }
    }
    tally.of_run(child.wait().is_ok_and(|status| status.success()))
}

fn cannot_run(command: &Command, error: &std::io::Error) -> Tally {
    println!("{} could not be run: {error}", command.get_program().display());
    Tally::of(false)
}

/// Reads a result line of Rust's test runner, `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
pub(crate) fn count_cargo(line: &str) -> Option<Tally> {
    let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
    let number = |word: &str| {
        let part = counts.split(';').find_map(|part| part.trim().strip_suffix(word))?;
        part.trim().parse().ok()
    };
    Some(Tally { passed: number("passed")?, failed: number("failed")? })
}

/// Reads a summary line of Node's test runner in TAP, such as `# pass 3`.
///
/// What was cancelled or skipped has not passed, and counts as failed: nothing is skipped in silence.
pub(crate) fn count_tap(line: &str) -> Option<Tally> {
    let (word, number) = line.strip_prefix("# ")?.split_once(' ')?;
    let number = number.trim().parse().ok()?;
    match word {
        "pass" => Some(Tally { passed: number, failed: 0 }),
        "fail" | "cancelled" | "skipped" => Some(Tally { passed: 0, failed: number }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_results_are_counted() {
        let tally = |passed, failed| Some(Tally { passed, failed });
        let cases = [
            (
                "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.1s",
                tally(12, 0),
            ),
            ("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out", tally(2, 3)),
            ("test rooms::tests::a ... ok", None),
            ("test result: nonsense", None),
        ];
        for (line, expected) in cases {
            assert_eq!(count_cargo(line), expected, "{line}");
        }
    }

    #[test]
    fn tap_summaries_are_counted() {
        let mut tally = Tally::default();
        for line in [
            "# tests 9",
            "ok 1 - # pass 7",
            "# pass 5",
            "# fail 1",
            "# cancelled 2",
            "# skipped 1",
            "# todo 0",
        ] {
            if let Some(counted) = count_tap(line) {
                tally += counted;
            }
        }
        assert_eq!(tally, Tally { passed: 5, failed: 4 });
    }

    #[test]
    fn bad_end_without_a_failure_is_a_failure() {
        let ran = Tally { passed: 3, failed: 0 };
        assert_eq!(ran.of_run(true), ran);
        assert_eq!(ran.of_run(false), Tally { passed: 3, failed: 1 });
        assert_eq!(Tally { passed: 3, failed: 2 }.of_run(false).failed, 2);
        assert_eq!(Tally::default().of_run(true).failed, 1, "a run of nothing proves nothing");
    }

    #[test]
    fn missing_program_is_a_failure() {
        assert_eq!(check(&mut Command::new("/no/such/program")), Tally::of(false));
        assert_eq!(count_lines(&mut Command::new("/no/such/program"), count_cargo), Tally::of(false));
    }
}
