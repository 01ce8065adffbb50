//! `roomcast-load`: loads a gateway, checks every delivery, and counts what it costs.

mod bare;
mod client;
mod crowd;
mod histogram;
mod instructions;
mod process;
mod publisher;
mod report;
mod run;
mod server;
mod wire;
mod workload;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::{
    server::{Kind, Launch},
    workload::{Pace, Source, Workload},
};

#[derive(Parser)]
#[command(version, about = "Loads a gateway, checks every delivery, and counts what it costs")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// All workloads: prints a table and writes it to a file.
    Run {
        /// Two minutes instead of all.
        #[arg(long)]
        quick: bool,
        /// Where the table goes.
        #[arg(long, default_value = "benches/RESULTS.md")]
        out: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Messages to the members of rooms.
    Fanout {
        #[arg(long, default_value_t = 1)]
        rooms: u32,
        /// Members of each room.
        #[arg(long, default_value_t = 1000)]
        members: u32,
        #[arg(long, default_value_t = 1000)]
        messages: u32,
        /// Messages that may be on their way.
        #[arg(long, default_value_t = 1)]
        in_flight: u32,
        /// Messages per second instead, on a fixed schedule.
        #[arg(long, conflicts_with = "in_flight")]
        rate: Option<f64>,
        #[arg(long, value_enum, default_value = "client")]
        source: Source,
        #[command(flatten)]
        target: Target,
    },
    /// Requests that are acknowledged, one at a time on each connection.
    Echo {
        #[arg(long, default_value_t = 100)]
        connections: u32,
        #[arg(long, default_value_t = 50_000)]
        acks: u32,
        #[command(flatten)]
        target: Target,
    },
    /// Connections from handshake to close.
    Churn {
        #[arg(long, default_value_t = 16)]
        at_once: u32,
        #[arg(long, default_value_t = 10_000)]
        cycles: u32,
        #[command(flatten)]
        target: Target,
    },
    /// Connections that do nothing but answer heartbeats.
    Idle {
        #[arg(long, default_value_t = 10_000)]
        connections: u32,
        /// How long heartbeats are counted, in s.
        #[arg(long, default_value_t = 10)]
        watch: u64,
        /// Pause between the heartbeats of a connection, in ms.
        #[arg(long, default_value_t = 1000)]
        ping_interval: u32,
        #[command(flatten)]
        target: Target,
    },
    /// Serves the bare loop of `write` calls that the gateway is compared with.
    Bare {
        #[arg(long)]
        listen: SocketAddr,
    },
}

/// The server under load.
#[derive(Args)]
struct Target {
    #[arg(long, value_enum, default_value = "gateway")]
    server: Kind,
    /// The gateway's binary. Default: beside this one.
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// Shards of the gateway.
    #[arg(long, default_value_t = 1)]
    shards: u8,
    /// Count user instructions (slow where the processor's counters are not to be had).
    #[arg(long)]
    count: bool,
}

impl Target {
    fn launch(&self, ping_interval_ms: u32) -> anyhow::Result<Launch> {
        let gateway = match &self.gateway {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("roomcast-gateway"),
        };
        if self.server == Kind::Gateway {
            let hint =
                "build it with `cargo build --release -p roomcast-gateway`, or say where it is: --gateway";
            gateway.metadata().with_context(|| format!("no gateway at {}: {hint}", gateway.display()))?;
        }
        Ok(Launch { kind: self.server, gateway, shards: self.shards, ping_interval_ms })
    }

    /// Runs one workload and prints what came of it; an error if anything was lost.
    fn perform(&self, workload: &Workload, amount: u32) -> anyhow::Result<()> {
        let launch = self.launch(run::NO_PINGS_MS)?;
        if self.count {
            return run::print_cost(&launch, workload, amount);
        }
        run::print_outcome(&launch, workload, amount)
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run { quick, out, target } => {
            target.launch(run::NO_PINGS_MS).and_then(|launch| run::run_all(&launch, quick, &out))
        }
        Command::Fanout { rooms, members, messages, in_flight, rate, source, target } => {
            let pace = rate.map_or(Pace::InFlight(in_flight), Pace::PerSecond);
            target.perform(&Workload::Fanout { rooms, members, source, pace }, messages)
        }
        Command::Echo { connections, acks, target } => target.perform(&Workload::Echo { connections }, acks),
        Command::Churn { at_once, cycles, target } => target.perform(&Workload::Churn { at_once }, cycles),
        Command::Idle { connections, watch, ping_interval, target } => target
            .launch(ping_interval)
            .and_then(|launch| run::print_idle(&launch, connections, Duration::from_secs(watch))),
        Command::Bare { listen } => bare::serve(listen).map_err(anyhow::Error::from),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("roomcast-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
