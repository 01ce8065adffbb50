//! All workloads on all servers, repeated in turns, into one table.

pub(crate) mod cases;
mod repeats;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use self::cases::{Case, Measured};
use crate::{
    instructions::{Cost, Counter},
    measure::{Amount, Sample, measure, restored_after},
    profile::{self, Profile},
    publishing,
    server::{Kind, Launch, Programs},
    table::Table,
    workload::{Faults, Workload, measure_idle},
};

/// The pause where heartbeats are what is measured.
const PINGS_MS: u32 = 1000;

/// What is measured of a workload.
pub(crate) mod figures {
    pub(crate) const RATE: &str = "units/s";
    pub(crate) const CPU: &str = "CPU µs per unit";
    pub(crate) const USER: &str = "of it in user space";
    pub(crate) const INSTRUCTIONS: &str = "user instructions per unit";
    pub(crate) const KERNEL: &str = "kernel instructions per unit";
    pub(crate) const P50: &str = "ms, p50";
    pub(crate) const P99: &str = "ms, p99";
    pub(crate) const P999: &str = "ms, p99.9";
    pub(crate) const P50_FAR: &str = "ms, p50 on the other node";
    pub(crate) const P99_FAR: &str = "ms, p99 on the other node";
    pub(crate) const P99_WITH_STALLED: &str = "ms, p99 beside the stalled reader";
    pub(crate) const GROWTH: &str = "MiB grown at most, with it";
    pub(crate) const KIB: &str = "KiB resident per connection";
    pub(crate) const PINGS: &str = "CPU s per million pings";
    pub(crate) const CONNECTS: &str = "connections/s";
    pub(crate) const KEPT: &str = "KiB of its own kept once all had gone";
    pub(crate) const REDIS_BYTES: &str = "bytes through Redis per message";
    pub(crate) const PER_CPU: &str = "messages per CPU second of the publisher";
    pub(crate) const MESSAGES: &str = "messages/s";
    pub(crate) const P50_ANSWER: &str = "ms, p50 of the answers";
    pub(crate) const P99_ANSWER: &str = "ms, p99 of the answers";
    pub(crate) const SECONDS: &str = "s until all are back";
    pub(crate) const FAULTS: &str = "lost, out of order, unexpected";
}

pub(crate) use self::cases::names;

/// How a run is made.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) programs: Programs,
    pub(crate) shards: u8,
    pub(crate) repetitions: u32,
    /// How long one repetition lasts.
    pub(crate) duration: Duration,
    pub(crate) cases: Vec<Case>,
    /// Whether instructions are counted, and with what.
    pub(crate) counter: Option<Counter>,
}

/// What came of a run.
pub(crate) struct Results {
    pub(crate) table: Table,
    /// The gateway's most expensive functions, by workload.
    pub(crate) hot: Vec<Hot>,
    /// Where the gateway's time goes, by workload; none without `perf`.
    pub(crate) profiles: Vec<(&'static str, Profile)>,
    /// What could not be measured, and why.
    pub(crate) failures: BTreeSet<String>,
    /// The gateway's.
    pub(crate) faults: Faults,
}

/// A workload's most expensive functions.
pub(crate) struct Hot {
    pub(crate) workload: String,
    pub(crate) unit: &'static str,
    pub(crate) functions: Vec<(String, f64)>,
}

struct Run<'a> {
    plan: &'a Plan,
    results: Results,
}

/// Runs all that a plan holds.
pub(crate) fn run(plan: &Plan) -> Results {
    let results = Results {
        table: Table::default(),
        hot: Vec::new(),
        profiles: Vec::new(),
        failures: BTreeSet::new(),
        faults: Faults::default(),
    };
    let mut run = Run { plan, results };
    for kind in Kind::ALL {
        if let Some(missing) = plan.programs.file(kind).filter(|file| !file.exists()) {
            run.results.failures.insert(format!("{}: {} is not there", kind.title(), missing.display()));
        }
    }
    let is_profiling = profile::works();
    for case in &plan.cases {
        let start = Instant::now();
        run.repetitions(case);
        let timed = start.elapsed();
        run.count(case);
        if is_profiling && case.is_profiled && plan.repetitions > 0 {
            run.profile(case);
        }
        let besides = start.elapsed() - timed;
        eprintln!("{}: {:.0} s, {:.0} s besides", case.name, timed.as_secs_f64(), besides.as_secs_f64());
    }
    run.results
}

impl Run<'_> {
    /// Those of `kinds` whose programs are there.
    fn present(&self, kinds: &[Kind]) -> Vec<Kind> {
        let is_there = |kind: &Kind| self.plan.programs.file(*kind).is_none_or(|file| file.exists());
        kinds.iter().copied().filter(is_there).collect()
    }

    fn launch(&self, kind: Kind, nodes: usize, ping_interval_ms: u32) -> Launch {
        let Plan { programs, shards, .. } = self.plan;
        Launch { kind, programs: programs.clone(), shards: *shards, ping_interval_ms, nodes }
    }

    /// The servers in turns; every second time in the other order, so that nobody always comes after the same one.
    fn repetitions(&mut self, case: &Case) {
        let repetitions = |kind| case.repeats.of(kind, self.plan.repetitions);
        let most = case.kinds.iter().copied().map(repetitions).max().unwrap_or(0);
        for repetition in 0..most {
            let mut kinds = self.present(case.kinds);
            kinds.retain(|kind| repetition < case.repeats.of(*kind, self.plan.repetitions));
            if repetition % 2 == 1 {
                kinds.reverse();
            }
            self.results.table.begin_repetition();
            for kind in kinds {
                let done = self.repeat(case, kind);
                self.note_failure(kind, case.name, done);
            }
        }
    }

    fn note_failure(&mut self, kind: Kind, what: &str, done: anyhow::Result<()>) {
        if let Err(error) = done {
            let failure = format!("{}, {what}: {error:#}", kind.title());
            eprintln!("  {failure}");
            self.results.failures.insert(failure);
        }
    }

    fn repeat(&mut self, case: &Case, kind: Kind) -> anyhow::Result<()> {
        let launch = self.launch(kind, case.nodes, Launch::NO_PINGS_MS);
        match case.measured {
            Measured::Idle { connections } => self.idle(case, kind, connections)?,
            Measured::Restored { rooms } => {
                let elapsed = restored_after(&launch, rooms)?;
                self.results.table.add(case.name, figures::SECONDS, kind, elapsed.as_secs_f64());
            }
            Measured::Flood { messages } => {
                let flood = publishing::flood(&self.plan.programs, messages)?;
                let table = &mut self.results.table;
                let per = |time: Duration| f64::from(messages) / time.as_secs_f64().max(0.01);
                table.add(case.name, figures::PER_CPU, kind, per(flood.cpu.total()));
                table.add(case.name, figures::MESSAGES, kind, per(flood.elapsed));
            }
            Measured::Answers(paced) => {
                let answers = publishing::paced(&launch, paced)?;
                for (share, figure) in [(0.5, figures::P50_ANSWER), (0.99, figures::P99_ANSWER)] {
                    if let Some(at) = answers.quantile(share) {
                        self.results.table.add(case.name, figure, kind, at.as_secs_f64() * 1e3);
                    }
                }
            }
            Measured::Speed(workload) => {
                let sample = measure(&launch, &workload, Amount::For(self.plan.duration))?;
                self.speed(case, kind, &sample);
            }
            Measured::Latency { workload, messages } => {
                let sample = measure(&launch, &workload, Amount::Exactly(messages))?;
                self.latency(case, kind, &sample);
            }
            Measured::Stalled { workload, with_stalled, messages } => {
                let sample = measure(&launch, &workload, Amount::Exactly(messages))?;
                self.latency(case, kind, &sample);
                let sample = measure(&launch, &with_stalled, Amount::Exactly(messages))?;
                let p99 = sample.outcome.latency.quantile(0.99).unwrap_or_default();
                let table = &mut self.results.table;
                table.add(case.name, figures::P99_WITH_STALLED, kind, p99.as_secs_f64() * 1e3);
                table.add(case.name, figures::GROWTH, kind, sample.growth_bytes as f64 / f64::from(1 << 20));
                self.faults(case, kind, sample.outcome.faults);
            }
        }
        Ok(())
    }

    fn speed(&mut self, case: &Case, kind: Kind, sample: &Sample) {
        let Sample { outcome, cpu, redis_bytes, .. } = sample;
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / outcome.units.max(1) as f64;
        let table = &mut self.results.table;
        table.add(case.name, figures::RATE, kind, outcome.per_second());
        table.add(case.name, figures::CPU, kind, micros(cpu.total()));
        table.add(case.name, figures::USER, kind, micros(cpu.user()));
        if let Some(bytes) = redis_bytes {
            table.add(case.name, figures::REDIS_BYTES, kind, *bytes);
        }
        self.faults(case, kind, outcome.faults);
    }

    fn latency(&mut self, case: &Case, kind: Kind, sample: &Sample) {
        let outcome = &sample.outcome;
        let quantiles = [
            (&outcome.latency, 0.5, figures::P50),
            (&outcome.latency, 0.99, figures::P99),
            (&outcome.latency, 0.999, figures::P999),
            (&outcome.latency_far, 0.5, figures::P50_FAR),
            (&outcome.latency_far, 0.99, figures::P99_FAR),
        ];
        for (histogram, share, figure) in quantiles {
            if let Some(at) = histogram.quantile(share) {
                self.results.table.add(case.name, figure, kind, at.as_secs_f64() * 1e3);
            }
        }
        self.faults(case, kind, outcome.faults);
    }

    fn idle(&mut self, case: &Case, kind: Kind, connections: u32) -> anyhow::Result<()> {
        let server = self.launch(kind, 1, PINGS_MS).start()?;
        let idle = measure_idle(&server, connections, 4 * self.plan.duration)?;
        server.stop()?;
        let per_million = idle.cpu.total().as_secs_f64() * 1e6 / idle.pings.max(1) as f64;
        let table = &mut self.results.table;
        table.add(case.name, figures::KIB, kind, idle.resident_bytes / 1024.0);
        if idle.pings > 0 {
            table.add(case.name, figures::PINGS, kind, per_million);
        }
        table.add(case.name, figures::CONNECTS, kind, idle.connect_rate);
        table.add(case.name, figures::KEPT, kind, idle.kept_bytes as f64 / 1024.0);
        Ok(())
    }

    /// Only servers are to blame: the bare loops close whoever does not read.
    fn faults(&mut self, case: &Case, kind: Kind, faults: Faults) {
        self.results.table.add(case.name, figures::FAULTS, kind, faults.total() as f64);
        if kind == Kind::Gateway {
            self.results.faults.add(faults);
        }
    }

    /// Counts instructions, once: they hold still.
    fn count(&mut self, case: &Case) {
        let (Some(counter), Measured::Speed(workload), Some(amount)) =
            (self.plan.counter, case.measured, case.counted)
        else {
            return;
        };
        let counted = [Kind::Gateway, Kind::Bare, Kind::Batched, Kind::Socketioxide];
        for kind in self.present(&counted).into_iter().filter(|kind| case.kinds.contains(kind)) {
            let launch = self.launch(kind, case.nodes, Launch::NO_PINGS_MS);
            let cost = counter.count(&launch, &workload, amount);
            let done = cost.map(|cost| self.cost(case, kind, &workload, cost));
            self.note_failure(kind, &format!("instructions of {}", case.name), done);
        }
    }

    fn profile(&mut self, case: &Case) {
        let Measured::Speed(workload) = case.measured else { return };
        let launch = self.launch(Kind::Gateway, case.nodes, Launch::NO_PINGS_MS);
        let done = profile::profile(&launch, &workload)
            .map(|profile| self.results.profiles.push((case.name, profile)));
        self.note_failure(Kind::Gateway, &format!("profile of {}", case.name), done);
    }

    fn cost(&mut self, case: &Case, kind: Kind, workload: &Workload, cost: Cost) {
        let Cost { user, kernel, functions, faults } = cost;
        let table = &mut self.results.table;
        table.add(case.name, figures::INSTRUCTIONS, kind, user);
        if let Some(kernel) = kernel {
            table.add(case.name, figures::KERNEL, kind, kernel);
        }
        if kind == Kind::Gateway {
            self.results.faults.add(faults);
            let (workload, unit) = (case.name.to_owned(), workload.unit());
            self.results.hot.push(Hot { workload, unit, functions });
        }
    }
}
