//! `cargo xtask demo | publish | test | chart | bench`: what a developer does with the repository, as one command each.

mod bench;
mod demo;
mod languages;
mod publish;
mod stage;
mod stubs;
mod test;
mod tools;
mod workspace;

use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

/// Set-up and runs of Roomcast.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the gateway, start it with the demo page on loopback, and say what to open and what to paste; `--cluster`
    /// starts three and a Redis.
    Demo(demo::Demo),
    /// Publish one event to a running gateway, like `grpcurl` on roomcast.v1.Publisher/Publish.
    Publish(publish::Publish),
    /// Check everything: format, lints, Rust tests, docs, and real clients against a real gateway.
    Test {
        /// Also what takes minutes and seldom fails alone.
        #[arg(long)]
        long: bool,
    },
    /// Check the Helm chart with the gateway's own opinion of what it renders; needs Go for Helm.
    Chart,
    /// Measure beside other servers and write benches/RESULTS.md; `--quick` takes two minutes, `--count` also counts
    /// instructions where only valgrind can, `--only "room of 1,000"` measures some workloads again.
    Bench {
        /// Passed on.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Demo(demo) => demo.run().map(|()| ExitCode::SUCCESS),
        Task::Publish(publish) => publish.run().map(|()| ExitCode::SUCCESS),
        Task::Test { long } => Ok(test::run(if long { test::Scope::Long } else { test::Scope::Usual })),
        Task::Chart => chart(),
        Task::Bench { arguments } => bench::run(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

fn chart() -> anyhow::Result<ExitCode> {
    let services = ["build", "--package", "roomcast-gateway", "--package", "roomcast-publisher"];
    let built = workspace::cargo(&services).status()?;
    anyhow::ensure!(built.success(), "gateway or publisher do not build");
    let script = workspace::root().join("tests/chart/check.sh");
    let status =
        Command::new("bash").arg(script).env("ROOMCAST_GATEWAY", workspace::gateway("debug")).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
