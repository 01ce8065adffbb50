//! `cargo xtask demo | publish | test | bench`: what a developer does with the repository, as one command each.

mod demo;
mod publish;
mod stage;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

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
    /// Build the gateway, start it with the demo page on loopback, and say what to open and what to paste.
    Demo(demo::Demo),
    /// Publish one event to a running gateway, like `grpcurl` on roomcast.v1.Publisher/Publish.
    Publish(publish::Publish),
    /// Check everything: format, lints, Rust tests, docs, and real clients against a real gateway.
    Test,
    /// Measure; arguments go to the benches.
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
        Task::Test => Ok(test::run()),
        Task::Bench { arguments } => bench(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

fn bench(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let status =
        workspace::cargo(&["bench", "--package", "roomcast-benches", "--"]).args(arguments).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
