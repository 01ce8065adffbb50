//! `roomcast-load`: loads a gateway, checks every delivery, and counts what it costs.

mod bare;
mod client;
mod crowd;
mod histogram;
mod instructions;
mod machine;
mod measure;
mod number;
mod plot;
mod profile;
mod progress;
mod publisher;
mod publishing;
mod report;
mod run;
mod server;
mod suite;
mod table;
mod targets;
mod wire;
mod workload;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::{
    bare::Writing,
    instructions::Counter,
    publishing::Paced,
    server::{Kind, Launch, Programs},
    suite::{Plan, cases},
    workload::{Pace, Readers, Shape, Source, Workload},
};

/// How long one repetition of a workload lasts.
const REPETITION: Duration = Duration::from_secs(1);

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
        /// The fast workloads only, once each: two minutes.
        #[arg(long)]
        quick: bool,
        /// Count instructions too, where it costs much time: without counters of the processor.
        #[arg(long)]
        count: bool,
        /// How often each workload runs on each server; 0 to count instructions only. Default: 3, with --quick 1.
        #[arg(long)]
        repetitions: Option<u32>,
        /// Only the workload of that name, or those with these words in their names; more than once for more.
        #[arg(long)]
        only: Vec<String>,
        /// Where the table goes. Default: benches/RESULTS.md, or .cache/bench/RESULTS.md if it is not a whole one.
        #[arg(long)]
        out: Option<PathBuf>,
        #[command(flatten)]
        place: Where,
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
        #[arg(long, value_enum, default_value = "web-socket")]
        readers: Readers,
        /// Connections that are in no room.
        #[arg(long, default_value_t = 0)]
        bystanders: u32,
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
    /// Messages over one gRPC stream through a publisher without sockets, as fast as it takes them.
    Flood {
        #[arg(long, default_value_t = 300_000)]
        messages: u32,
        #[command(flatten)]
        place: Where,
    },
    /// Unary gRPC calls on a fixed schedule, while a crowded room gets messages besides.
    Answers {
        #[arg(long, default_value_t = 2000)]
        per_second: u32,
        #[arg(long, default_value_t = 5)]
        seconds: u32,
        #[command(flatten)]
        target: Target,
    },
    /// Serves the bare loop of `write` calls that the gateway is compared with.
    Bare {
        #[arg(long)]
        listen: SocketAddr,
        /// One `writev` per socket and turn.
        #[arg(long)]
        batch: bool,
        /// Pause between the heartbeats of a connection, in ms. Default: it has none.
        #[arg(long)]
        ping_interval: Option<u32>,
    },
}

/// Where the servers are.
#[derive(Args)]
struct Where {
    /// The gateway's binary. Default: beside this one.
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// What `cargo xtask bench` has built and installed for the peers.
    #[arg(long, default_value = ".cache/peers")]
    peers: PathBuf,
    /// Shards of each gateway.
    #[arg(long, default_value_t = 1)]
    shards: u8,
}

/// The server under load.
#[derive(Args)]
struct Target {
    #[arg(long, value_enum, default_value = "gateway")]
    server: Kind,
    /// Processes; more than one are a cluster on a Redis of their own.
    #[arg(long, default_value_t = 1)]
    nodes: usize,
    #[command(flatten)]
    place: Where,
    /// Count user instructions (slow where the processor's counters are not to be had).
    #[arg(long)]
    count: bool,
}

impl Where {
    fn programs(&self) -> anyhow::Result<Programs> {
        let gateway = match &self.gateway {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("roomcast-gateway"),
        };
        Ok(Programs { gateway, peers: self.peers.clone() })
    }
}

impl Target {
    fn launch(&self, ping_interval_ms: u32) -> anyhow::Result<Launch> {
        let programs = self.place.programs()?;
        if let Some(file) = programs.file(self.server) {
            let hint = "`cargo xtask bench` builds it; --gateway and --peers say where it is";
            file.metadata().with_context(|| format!("no server at {}: {hint}", file.display()))?;
        }
        let Self { server, nodes, place, .. } = self;
        Ok(Launch { kind: *server, programs, shards: place.shards, ping_interval_ms, nodes: *nodes })
    }

    /// Runs one workload and prints what came of it; an error if anything was lost.
    fn perform(&self, workload: &Workload, amount: u32) -> anyhow::Result<()> {
        let launch = self.launch(Launch::NO_PINGS_MS)?;
        if self.count {
            return run::print_cost(&launch, workload, amount);
        }
        run::print_outcome(&launch, workload, amount)
    }
}

/// Runs the suite with the flags of [`Command::Run`].
fn run_all(
    quick: bool,
    count: bool,
    repetitions: Option<u32>,
    only: &[String],
    out: Option<PathBuf>,
    place: &Where,
) -> anyhow::Result<()> {
    let counter = Counter::detect();
    let counts = count || matches!(counter, Ok(Counter::Perf));
    let mut cases = cases::named(only)?;
    cases.retain(|case| case.is_fast || !quick);
    let plan = Plan {
        programs: place.programs()?,
        shards: place.shards,
        repetitions: repetitions.unwrap_or(if quick { 1 } else { 3 }),
        duration: REPETITION,
        cases,
        counter: counts.then_some(counter).transpose()?,
    };
    let is_whole = !quick && only.is_empty() && plan.repetitions > 0;
    let usual = if is_whole { "benches/RESULTS.md" } else { ".cache/bench/RESULTS.md" };
    let mut command = "cargo xtask bench".to_owned();
    for (_, flag) in [(quick, " --quick"), (count, " --count")].into_iter().filter(|(set, _)| *set) {
        command.push_str(flag);
    }
    command.extend(repetitions.map(|repetitions| format!(" --repetitions {repetitions}")));
    command.extend(only.iter().map(|words| format!(" --only {words:?}")));
    run::run_all(&plan, &command, &out.unwrap_or_else(|| usual.into()))
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run { quick, count, repetitions, only, out, place } => {
            run_all(quick, count, repetitions, &only, out, &place)
        }
        Command::Fanout {
            rooms,
            members,
            messages,
            in_flight,
            rate,
            source,
            readers,
            bystanders,
            target,
        } => {
            let pace = rate.map_or(Pace::InFlight(in_flight), Pace::PerSecond);
            let shape = Shape { rooms, members, bystanders, source, readers, pace };
            target.perform(&Workload::Fanout(shape), messages)
        }
        Command::Echo { connections, acks, target } => target.perform(&Workload::Echo { connections }, acks),
        Command::Churn { at_once, cycles, target } => target.perform(&Workload::Churn { at_once }, cycles),
        Command::Idle { connections, watch, ping_interval, target } => target
            .launch(ping_interval)
            .and_then(|launch| run::print_idle(&launch, connections, Duration::from_secs(watch))),
        Command::Flood { messages, place } => {
            place.programs().and_then(|programs| run::print_flood(&programs, messages))
        }
        Command::Answers { per_second, seconds, target } => {
            let paced = Paced { rooms: 100, per_second, crowded: 1_000, crowded_per_second: 20, seconds };
            target.launch(Launch::NO_PINGS_MS).and_then(|launch| run::print_answers(&launch, paced))
        }
        Command::Bare { listen, batch, ping_interval } => {
            let writing = if batch { Writing::Gathered } else { Writing::AtOnce };
            let pause = ping_interval.map(|ms| Duration::from_millis(ms.into()));
            bare::serve(listen, writing, pause).map_err(anyhow::Error::from)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("roomcast-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
