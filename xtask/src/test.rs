//! `cargo xtask test`: every check of the repository, stage by stage. A failing stage hides none of the later ones.
//!
//! The very last line is `N passed, N failed`, over all stages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::stage::{Tally, check, count_cargo, count_lines, count_tap, stage};
use crate::{bench, languages, tools, workspace};

/// How much is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Usual,
    /// Also what takes minutes and seldom fails alone, such as faults of Redis under the sharded adapter, and what
    /// needs Python and Go.
    Long,
}

/// Runs all stages and prints the sum.
pub(crate) fn run(scope: Scope) -> ExitCode {
    let mut all = Tally::default();
    all += stage("format", || check(&mut workspace::cargo(&["fmt", "--all", "--check"])));
    all += stage("lints", || {
        let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        check(&mut workspace::cargo(&arguments))
    });
    // The tests of the connection to Redis are Rust tests, and start real ones.
    all += stage("set-up", set_up);
    all += stage("Rust tests", || {
        let mut tests = workspace::cargo(&["test", "--workspace", "--no-fail-fast"]);
        // Those of the client, its examples too, start the gateway that was just built.
        count_lines(tests.env("ROOMCAST_GATEWAY", workspace::gateway("debug")), count_cargo)
    });
    all += stage("documentation", || {
        check(workspace::cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
    });
    all += stage("instruction counts", || match bench::counted() {
        Ok(mut counted) => check(&mut counted),
        Err(error) => {
            println!("{error:#}");
            Tally::of(false)
        }
    });
    all += stage("clients", || node_tests("clients", scope));
    all += stage("cluster", || node_tests("cluster", scope));
    if scope == Scope::Long {
        all += stage("back ends in other languages", || match crate::stubs::set_up() {
            Ok(()) => node_tests("stubs", scope),
            Err(error) => {
                println!("{error:#}");
                Tally::of(false)
            }
        });
    }
    println!("\n{} passed, {} failed", all.passed, all.failed);
    if all.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn set_up() -> Tally {
    let services = ["build", "--package", "roomcast-gateway", "--package", "roomcast-publisher"];
    let mut tally = check(&mut workspace::cargo(&services));
    let steps = [
        ("Node.js", tools::node()),
        ("npm packages", tools::npm_packages()),
        ("npm packages of the cluster", tools::npm_cluster_packages()),
        ("Redis", tools::redis()),
        ("nginx", tools::nginx()),
        ("HAProxy", tools::haproxy()),
        ("Chromium", tools::chromium().map(drop)),
        ("client in Rust", languages::rust()),
        ("client in Go", languages::go()),
        ("client in Python", languages::python()),
    ];
    for (name, result) in steps {
        if let Err(error) = &result {
            println!("{name}: {error:#}");
        }
        tally += Tally::of(result.is_ok());
    }
    tally
}

/// The Node tests of `tests/<name>` against the gateway just built: real clients (`clients`), gateways together with
/// Node's servers on one Redis (`cluster`), or back ends in other languages (`stubs`).
fn node_tests(name: &str, scope: Scope) -> Tally {
    let folder = workspace::root().join("tests").join(name);
    let suites = match suites(&folder) {
        Ok(suites) => suites,
        Err(error) => {
            println!("{}: {error:#}", folder.display());
            return Tally::of(false);
        }
    };
    let report = workspace::cache().join(format!("{name}.tap"));
    // Two reporters: one for people, one to count. An old report must not be counted for a run that made none.
    let removed = fs::remove_file(&report).or_else(|_| fs::create_dir_all(workspace::cache()));
    if let Err(error) = removed {
        println!("{}: {error}", report.display());
        return Tally::of(false);
    }
    let mut node = Command::new("node");
    node.arg("--test")
        .args(["--test-reporter=spec", "--test-reporter-destination=stdout", "--test-reporter=tap"])
        .arg(format!("--test-reporter-destination={}", report.display()))
        .env("ROOMCAST_GATEWAY", workspace::gateway("debug"))
        .env("ROOMCAST_OTHER_LANGUAGES", languages::bin())
        .env("ROOMCAST_PYTHON_BIN", crate::stubs::python_bin())
        .current_dir(folder);
    let table = workspace::cache().join("compatibility.md");
    if name == "clients" {
        let destination = format!("--test-reporter-destination={}", table.display());
        node.args(["--test-reporter=./compatibility.mjs", &destination]);
    }
    // What stands behind the first file is taken for a file.
    node.args(suites);
    if scope == Scope::Long {
        node.env("LONG", "1");
    }
    let ended_well = check(&mut node).failed == 0;
    let mut tally = Tally::default();
    for line in fs::read_to_string(&report).unwrap_or_default().lines() {
        if let Some(counted) = count_tap(line) {
            tally += counted;
        }
    }
    let mut tally = tally.of_run(ended_well);
    if name == "clients" {
        tally += is_committed(&table);
    }
    tally
}

/// Whether the page of clients that work, as these tests have just written it, is the one in `docs`.
fn is_committed(table: &Path) -> Tally {
    let committed = fs::read_to_string(workspace::root().join("docs/compatibility.md")).unwrap_or_default();
    let is_same = fs::read_to_string(table).is_ok_and(|table| table == committed);
    if !is_same {
        println!("docs/compatibility.md is not what the tests that ran say: {}", table.display());
    }
    Tally::of(is_same)
}

/// The `*.test.mjs` files below `folder`, in order; packages are not looked into.
fn suites(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name() != "node_modules" {
            found.extend(suites(&entry.path())?);
        } else if entry.file_name().to_string_lossy().ends_with(".test.mjs") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
