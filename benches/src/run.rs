//! Runs of workloads: one and printed, or all of them into the tables.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::{
    instructions::Counter,
    machine::Work,
    measure::{Amount, measure},
    publishing::{self, Paced},
    report::{self, Drawing},
    server::{Launch, Programs},
    suite::{self, Plan, figures},
    workload::{Faults, Outcome, Workload, measure_idle},
};

/// Beyond the latest of a few thousand deliveries a percentile says nothing.
const PERCENTILES: [(f64, &str); 3] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")];

/// Runs one workload and prints rates, times and latencies.
///
/// # Errors
/// When the server fails, or anything is lost.
pub(crate) fn print_outcome(launch: &Launch, workload: &Workload, amount: u32) -> anyhow::Result<()> {
    let sample = measure(launch, workload, Amount::Exactly(amount))?;
    let (outcome, cpu, unit) = (sample.outcome, sample.cpu, workload.unit());
    println!(
        "{} of {unit} in {:.2} s: {:.0} per second",
        outcome.units,
        outcome.elapsed.as_secs_f64(),
        outcome.per_second()
    );
    println!(
        "CPU per {unit}: {:.2} µs user, {:.2} µs system",
        micros_per(cpu.user(), &outcome),
        micros_per(cpu.system(), &outcome)
    );
    for (share, name) in PERCENTILES {
        if let Some(latency) = outcome.latency.quantile(share) {
            println!("{name} {latency:?}");
        }
        if let Some(latency) = outcome.latency_far.quantile(share) {
            println!("{name} {latency:?} on the other nodes");
        }
    }
    if let Some(bytes) = sample.redis_bytes {
        println!("{bytes:.0} bytes through Redis per message");
    }
    println!("memory grew by {} KiB at most", sample.growth_bytes / 1024);
    must_be_free_of(outcome.faults)
}

/// Floods a publisher and prints what it took.
///
/// # Errors
/// When something fails, or a message is not published.
pub(crate) fn print_flood(programs: &Programs, messages: u32) -> anyhow::Result<()> {
    let flood = publishing::flood(programs, messages)?;
    let per = |time: Duration| f64::from(messages) / time.as_secs_f64().max(0.01);
    println!("{:.0} messages per second", per(flood.elapsed));
    println!("{:.0} messages per CPU second of the publisher", per(flood.cpu.total()));
    println!("CPU: {:?} user, {:?} system", flood.cpu.user(), flood.cpu.system());
    Ok(())
}

/// Makes calls on a schedule and prints how soon they are answered.
///
/// # Errors
/// When a call fails, or a message does not arrive.
pub(crate) fn print_answers(launch: &Launch, paced: Paced) -> anyhow::Result<()> {
    let latencies = publishing::paced(launch, paced)?;
    for (share, name) in PERCENTILES {
        if let Some(latency) = latencies.quantile(share) {
            println!("{name} {latency:?}");
        }
    }
    Ok(())
}

/// Counts one workload's instructions and prints where they go.
///
/// # Errors
/// As [`print_outcome`], and when there is nothing to count with.
pub(crate) fn print_cost(launch: &Launch, workload: &Workload, amount: u32) -> anyhow::Result<()> {
    let counter = Counter::detect()?;
    let cost = counter.count(launch, workload, amount)?;
    println!("{:.1} user instructions per {} ({counter:?})", cost.user, workload.unit());
    if let Some(kernel) = cost.kernel {
        println!("{kernel:.1} kernel instructions");
    }
    for (function, cost) in cost.functions.iter().take(25) {
        println!("{cost:10.1}  {function}");
    }
    must_be_free_of(cost.faults)
}

/// Measures idle connections and prints what they cost.
///
/// # Errors
/// When the server fails or closes one.
pub(crate) fn print_idle(launch: &Launch, connections: u32, watch: Duration) -> anyhow::Result<()> {
    let server = launch.start()?;
    let idle = measure_idle(&server, connections, watch)?;
    server.stop()?;
    let per_million = idle.cpu.total().as_secs_f64() * 1e6 / idle.pings.max(1) as f64;
    println!("{connections} connections, {:.0} per second", idle.connect_rate);
    println!("{:.0} bytes resident per connection", idle.resident_bytes);
    println!("{} pings, {per_million:.2} {}", idle.pings, figures::PINGS);
    println!("{} KiB kept once they had gone", idle.kept_bytes / 1024);
    Ok(())
}

/// Runs everything, prints the tables and writes them to `out`, the drawings beside it.
///
/// # Errors
/// When something cannot be measured or the gateway loses anything, after all has been written.
pub(crate) fn run_all(plan: &Plan, command: &str, out: &Path) -> anyhow::Result<()> {
    let (start, work) = (Instant::now(), Work::so_far()?);
    let results = suite::run(plan);
    let others = Work::so_far()?.of_others_since(&work);
    let text = report::document(plan, &results, command, others);
    println!("{text}");
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(out, text).with_context(|| format!("cannot write {}", out.display()))?;
    for Drawing { name, svg, .. } in report::drawings(&results.table) {
        fs::write(out.with_file_name(name), svg).with_context(|| format!("cannot write {name}"))?;
    }
    eprintln!("done in {} s: {}", start.elapsed().as_secs(), out.display());
    ensure!(results.failures.is_empty(), "not everything could be measured: {:?}", results.failures);
    must_be_free_of(results.faults)
}

fn micros_per(time: Duration, outcome: &Outcome) -> f64 {
    time.as_secs_f64() * 1e6 / outcome.units.max(1) as f64
}

fn must_be_free_of(faults: Faults) -> anyhow::Result<()> {
    ensure!(faults.total() == 0, "not everything arrived as it was sent: {faults:?}");
    println!("nothing lost, out of order or unexpected");
    Ok(())
}
