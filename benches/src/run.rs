//! Runs of workloads: one and printed, or all of them into the table.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, ensure};

use crate::{
    instructions::{Cost, Counter},
    process::{self, CpuTime},
    report::{self, Hot, Row},
    server::{Kind, Launch},
    workload::{Faults, Idle, Outcome, Pace, Source, Workload, measure_idle},
};

/// A pause between heartbeats that is longer than any run, so that none is counted as part of a workload.
pub(crate) const NO_PINGS_MS: u32 = 3_600_000;
/// The pause where heartbeats are what is measured.
const PINGS_MS: u32 = 1000;
/// Beyond the latest of a few thousand deliveries a percentile says nothing.
const PERCENTILES: [(f64, &str); 3] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")];

/// Runs one workload and prints rates, times and latencies.
///
/// # Errors
/// When the server fails, or anything is lost.
pub(crate) fn print_outcome(launch: &Launch, workload: &Workload, amount: u32) -> anyhow::Result<()> {
    let (outcome, cpu) = measure(launch, workload, amount)?;
    let unit = workload.unit();
    println!(
        "{} of {unit} in {:.2} s: {:.0} per second",
        outcome.units,
        outcome.elapsed.as_secs_f64(),
        outcome.per_second()
    );
    println!(
        "CPU per {unit}: {:.2} µs user, {:.2} µs system",
        micros_per(cpu.user, &outcome),
        micros_per(cpu.system, &outcome)
    );
    for (share, name) in PERCENTILES {
        if let Some(latency) = outcome.latency.quantile(share) {
            println!("{name} {latency:?}");
        }
    }
    must_be_free_of(outcome.faults)
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
    println!("{connections} connections, {:.0} per second", idle.connect_rate);
    println!("{:.0} bytes resident per connection", idle.resident_bytes);
    println!("{} pings, {:.2} CPU seconds per million", idle.pings, cpu_per_million_pings(&idle));
    println!("{} KiB kept once they had gone", idle.kept_bytes / 1024);
    Ok(())
}

/// Runs everything, prints the table and writes it to `out`.
///
/// # Errors
/// When a server fails or anything is lost, after the table has been written.
pub(crate) fn run_all(launch: &Launch, quick: bool, out: &Path) -> anyhow::Result<()> {
    let counter = Counter::detect()?;
    let scale = if quick { 1 } else { 4 };
    let mut all = All {
        launch: launch.clone(),
        counter,
        scale,
        rows: Vec::new(),
        hot: Vec::new(),
        faults: Faults::default(),
    };
    all.run(if quick { 4000 } else { 10_000 })?;
    let how = match counter {
        Counter::Perf => {
            "User instructions are counted by the processor (perf stat) while the workload runs."
        }
        Counter::Callgrind => {
            "User instructions are counted by callgrind, from the moment a workload is set up until it is done."
        }
    };
    let text = format!(
        "# Results\n\nMade by `cargo xtask bench{}`; every delivery is checked for order, room and length.\n\n{}- {how}\n\n{}\nLost, out of order or unexpected: {}.\n\n## Where the instructions go\n{}",
        if quick { " --quick" } else { "" },
        report::circumstances(launch),
        report::table(&all.rows),
        all.faults.total(),
        report::hot_functions(&all.hot),
    );
    println!("{text}");
    fs::write(out, text).with_context(|| format!("cannot write {}", out.display()))?;
    must_be_free_of(all.faults)
}

/// A run of everything so far.
struct All {
    launch: Launch,
    counter: Counter,
    scale: u32,
    rows: Vec<Row>,
    hot: Vec<Hot>,
    faults: Faults,
}

impl All {
    fn run(&mut self, idle_connections: u32) -> anyhow::Result<()> {
        let room = |source, in_flight| Workload::Fanout {
            rooms: 1,
            members: 1000,
            source,
            pace: Pace::InFlight(in_flight),
        };
        let rooms =
            Workload::Fanout { rooms: 1000, members: 10, source: Source::Client, pace: Pace::InFlight(1) };
        self.idle(idle_connections)?;
        self.cost("room of 1,000", &room(Source::Client, 1), 100, Some((500.0, 250.0)))?;
        self.cost("room of 1,000, 8 in flight", &room(Source::Client, 8), 200, Some((500.0, 250.0)))?;
        self.cost("room of 1,000, gRPC unary", &room(Source::Unary, 1), 50, None)?;
        self.cost("room of 1,000, gRPC stream", &room(Source::Stream, 1), 50, None)?;
        self.cost("1,000 rooms of 10", &rooms, 2000, Some((1000.0, 1000.0)))?;
        self.cost("echo, 1 connection", &Workload::Echo { connections: 1 }, 2000, Some((5000.0, 5000.0)))?;
        self.cost(
            "echo, 100 connections",
            &Workload::Echo { connections: 100 },
            5000,
            Some((5000.0, 5000.0)),
        )?;
        self.cost(
            "connect, handshake, close",
            &Workload::Churn { at_once: 16 },
            500,
            Some((30_000.0, 30_000.0)),
        )?;
        self.speed("room of 1,000", &room(Source::Client, 1), 500)?;
        self.speed("room of 1,000, 8 in flight", &room(Source::Client, 8), 2000)?;
        let paced =
            Workload::Fanout { rooms: 1, members: 1000, source: Source::Client, pace: Pace::PerSecond(50.0) };
        self.latency("room of 1,000, 50 messages/s", &paced, 250)?;
        self.speed("1,000 rooms of 10", &rooms, 20_000)?;
        self.speed("echo, 100 connections", &Workload::Echo { connections: 100 }, 50_000)?;
        self.speed("connect, handshake, close", &Workload::Churn { at_once: 16 }, 3000)
    }

    fn idle(&mut self, connections: u32) -> anyhow::Result<()> {
        println!("idle {connections} …");
        let server = Launch { ping_interval_ms: PINGS_MS, ..self.launch.clone() }.start()?;
        let idle =
            measure_idle(&server, connections, Duration::from_secs(if self.scale > 1 { 20 } else { 10 }))?;
        server.stop()?;
        let workload = format!("idle {connections}");
        self.row(
            &workload,
            "KiB resident per connection",
            idle.resident_bytes / 1024.0,
            None,
            Some((4.0, 1.5)),
        );
        self.row(&workload, "CPU s per million pings", cpu_per_million_pings(&idle), None, Some((4.0, 4.0)));
        self.row(&workload, "connections/s", idle.connect_rate, None, None);
        self.row(&workload, "KiB kept once all had gone", idle.kept_bytes as f64 / 1024.0, None, None);
        Ok(())
    }

    fn cost(
        &mut self,
        name: &str,
        workload: &Workload,
        amount: u32,
        target: Option<(f64, f64)>,
    ) -> anyhow::Result<()> {
        println!("instructions of {name} …");
        let Cost { user, kernel, functions, faults } = self.counter.count(&self.launch, workload, amount)?;
        self.faults.add(faults);
        let limit = match self.bare(workload) {
            Some(bare) => Some(self.counter.count(&bare, workload, amount)?),
            None => None,
        };
        let figure = match workload {
            Workload::Fanout { .. } => "user instructions per delivery",
            Workload::Echo { .. } => "user instructions per acknowledgement",
            Workload::Churn { .. } => "user instructions per cycle",
        };
        self.row(name, figure, user, limit.as_ref().map(|limit| limit.user), target);
        if let Some(kernel) = kernel {
            self.row(
                name,
                "kernel instructions, the same",
                kernel,
                limit.and_then(|limit| limit.kernel),
                None,
            );
        }
        if !functions.is_empty() {
            self.hot.push(Hot { workload: name.to_owned(), unit: workload.unit(), functions });
        }
        Ok(())
    }

    fn speed(&mut self, name: &str, workload: &Workload, amount: u32) -> anyhow::Result<()> {
        println!("speed of {name} …");
        let (outcome, cpu) = self.both(workload, amount)?;
        let per_second = |outcome: &Outcome| outcome.per_second();
        self.row(name, "units per second", per_second(&outcome[0]), outcome.get(1).map(per_second), None);
        let cost = |place: usize| Some(micros_per(cpu.get(place)?.total(), outcome.get(place)?));
        self.row(name, "CPU µs per unit", cost(0).unwrap_or_default(), cost(1), None);
        Ok(())
    }

    fn latency(&mut self, name: &str, workload: &Workload, amount: u32) -> anyhow::Result<()> {
        println!("latency of {name} …");
        let (outcome, _) = self.both(workload, amount)?;
        for (share, figure) in [(0.5, "ms, p50"), (0.99, "ms, p99"), (0.999, "ms, p99.9")] {
            let millis = |outcome: &Outcome| outcome.latency.quantile(share).map(|at| at.as_secs_f64() * 1e3);
            let limit = outcome.get(1).and_then(millis);
            self.row(name, figure, millis(&outcome[0]).unwrap_or_default(), limit, None);
        }
        Ok(())
    }

    /// Measures the gateway, and the bare loop if it can do that; the gateway's figures come first.
    fn both(&mut self, workload: &Workload, amount: u32) -> anyhow::Result<(Vec<Outcome>, Vec<CpuTime>)> {
        let (mut outcomes, mut times) = (Vec::new(), Vec::new());
        for launch in [Some(self.launch.clone()), self.bare(workload)].into_iter().flatten() {
            let (outcome, cpu) = measure(&launch, workload, amount * self.scale)?;
            self.faults.add(outcome.faults);
            outcomes.push(outcome);
            times.push(cpu);
        }
        Ok((outcomes, times))
    }

    /// The bare loop, unless the workload needs what it has not: gRPC.
    fn bare(&self, workload: &Workload) -> Option<Launch> {
        let needs_grpc = matches!(workload, Workload::Fanout { source: Source::Unary | Source::Stream, .. });
        (!needs_grpc).then(|| Launch { kind: Kind::Bare, ..self.launch.clone() })
    }

    fn row(
        &mut self,
        workload: &str,
        figure: &'static str,
        gateway: f64,
        limit: Option<f64>,
        target: Option<(f64, f64)>,
    ) {
        self.rows.push(Row { workload: workload.to_owned(), figure, gateway, limit, target });
    }
}

/// Runs a workload on a server of its own, after a tenth of it to warm up; returns its processor time, too.
fn measure(launch: &Launch, workload: &Workload, amount: u32) -> anyhow::Result<(Outcome, CpuTime)> {
    let server = launch.start()?;
    let mut load = workload.prepare(&server)?;
    let warm_up = load.drive(amount.div_ceil(10))?;
    let before = process::cpu_time(server.pid())?;
    let mut outcome = load.drive(amount)?;
    let cpu = process::cpu_time(server.pid())? - before;
    outcome.faults.add(warm_up.faults);
    drop(load);
    server.stop()?;
    Ok((outcome, cpu))
}

fn micros_per(time: Duration, outcome: &Outcome) -> f64 {
    time.as_secs_f64() * 1e6 / outcome.units.max(1) as f64
}

fn cpu_per_million_pings(idle: &Idle) -> f64 {
    idle.cpu.total().as_secs_f64() * 1e6 / idle.pings.max(1) as f64
}

fn must_be_free_of(faults: Faults) -> anyhow::Result<()> {
    ensure!(faults.total() == 0, "not everything arrived as it was sent: {faults:?}");
    println!("nothing lost, out of order or unexpected");
    Ok(())
}
