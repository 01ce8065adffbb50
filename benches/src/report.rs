//! The table of a run, and what it was made on.

use std::{fmt::Write as _, fs, process::Command};

use crate::server::Launch;

/// One line of the table.
pub(crate) struct Row {
    pub(crate) workload: String,
    pub(crate) figure: &'static str,
    pub(crate) gateway: f64,
    /// The bare loop's figure in the same run.
    pub(crate) limit: Option<f64>,
    /// What the gateway may cost at most now, and in the end.
    pub(crate) target: Option<(f64, f64)>,
}

/// A workload's most expensive functions.
pub(crate) struct Hot {
    pub(crate) workload: String,
    pub(crate) unit: &'static str,
    pub(crate) functions: Vec<(String, f64)>,
}

impl Row {
    fn verdict(&self) -> String {
        match self.target {
            None => "–".into(),
            Some((now, goal)) if self.gateway <= goal => {
                format!("≤ {} met (now ≤ {})", plain(goal), plain(now))
            }
            Some((now, goal)) if self.gateway <= now => {
                format!("≤ {} met; goal ≤ {}", plain(now), plain(goal))
            }
            Some((now, goal)) => format!("≤ {} MISSED; goal ≤ {}", plain(now), plain(goal)),
        }
    }
}

/// The table as Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut out =
        String::from("| workload | figure | gateway | bare loop | target |\n|---|---|---:|---:|---|\n");
    for row in rows {
        let limit = row.limit.map_or("–".into(), plain);
        let (workload, figure, verdict) = (&row.workload, row.figure, row.verdict());
        writeln!(out, "| {workload} | {figure} | {} | {limit} | {verdict} |", plain(row.gateway))
            .expect("a string takes all");
    }
    out
}

/// Where the instructions go, as Markdown.
pub(crate) fn hot_functions(hot: &[Hot]) -> String {
    let mut out = String::new();
    for Hot { workload, unit, functions } in hot {
        writeln!(out, "\n{workload}, instructions per {unit}:\n").expect("a string takes all");
        for (function, cost) in functions.iter().take(15) {
            writeln!(out, "- {cost:.1} `{function}`").expect("a string takes all");
        }
    }
    out
}

/// Date, machine and versions, as Markdown.
pub(crate) fn circumstances(launch: &Launch) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split(['-', '+']).next().unwrap_or_default().trim().to_owned();
    let gateway = output(&launch.gateway.display().to_string(), &["--version"]);
    format!(
        "- {} UTC, {}, commit {}\n- {}, {cores} cores, {} GiB, Linux {kernel}\n- {}, release profile, {} shard(s)\n",
        output("date", &["-u", "+%Y-%m-%d %H:%M"]),
        gateway,
        output("git", &["describe", "--always", "--dirty"]),
        model.trim_start_matches([' ', '\t', ':']),
        memory_kib >> 20,
        output("rustc", &["--version"]),
        launch.shards,
    )
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".into())
}

/// Three digits, and groups of three.
fn plain(value: f64) -> String {
    if value.abs() < 100.0 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases =
            [(0.0, "0"), (1.5, "1.5"), (99.994, "99.99"), (999.6, "1,000"), (1_234_567.0, "1,234,567")];
        for (value, expected) in cases {
            assert_eq!(plain(value), expected);
        }
    }

    #[test]
    fn a_missed_target_is_said_aloud() {
        let row = |gateway| Row {
            workload: "w".into(),
            figure: "f",
            gateway,
            limit: None,
            target: Some((500.0, 250.0)),
        };
        assert_eq!(row(200.0).verdict(), "≤ 250 met (now ≤ 500)");
        assert_eq!(row(300.0).verdict(), "≤ 500 met; goal ≤ 250");
        assert_eq!(row(501.0).verdict(), "≤ 500 MISSED; goal ≤ 250");
    }
}
