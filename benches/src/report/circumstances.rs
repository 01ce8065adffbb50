//! What a run was made with, and how: the head of the document.

use std::{fs, process::Command};

use crate::{instructions::Counter, suite::Plan};

/// What pins the peers.
const CRATES: &str = include_str!("../../peers/socketioxide/Cargo.lock");
const PACKAGES: &str = include_str!("../../peers/node/package-lock.json");
const MODULES: &str = include_str!("../../peers/centrifuge/go.mod");

/// Date, machine and versions.
pub(super) fn circumstances(plan: &Plan) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split(['-', '+']).next().unwrap_or_default().trim().to_owned();
    format!(
        "- {} UTC, {}, commit {}\n- {}, {cores} cores, {} GiB, Linux {kernel}\n- {}, release profile, {} shard(s) per \
         gateway\n- Peers: socketioxide {} with its Redis adapter {} behind axum; Node.js {} with Socket.IO {}, ws {} and its \
         Redis adapter {}; Centrifuge {}, the library that Centrifugo is made of; {}\n",
        output("date", &["-u", "+%Y-%m-%d %H:%M"]),
        output(&plan.programs.gateway.display().to_string(), &["--version"]),
        output("git", &["describe", "--always", "--dirty"]),
        model.trim_start_matches([' ', '\t', ':']),
        memory_kib >> 20,
        output("rustc", &["--version"]),
        plan.shards,
        of_crate("socketioxide"),
        of_crate("socketioxide-redis"),
        output("node", &["--version"]),
        of_package("socket.io"),
        of_package("ws"),
        of_package("@socket.io/redis-adapter"),
        of_module("github.com/centrifugal/centrifuge"),
        output("redis-server", &["--version"]).split_whitespace().take(3).collect::<Vec<_>>().join(" "),
    )
}

/// How the figures came to be, and what they are not.
pub(super) fn method(plan: &Plan) -> String {
    let counted = match plan.counter {
        None => "Instructions are not counted in this run.",
        Some(Counter::Perf) => {
            "Instructions are counted by the processor (perf stat), in user space and in the kernel, while a workload runs."
        }
        Some(Counter::Callgrind) => {
            "The machine gives no access to the processor's counters: user instructions are counted by callgrind, for the \
             Rust servers and Redis, from the moment a workload is set up until it is done; the kernel's cannot be counted, \
             and CPU time stands in for all instructions."
        }
    };
    format!(
        "- {counted}\n- CPU times are the kernel's clocks of the processes, to 1 ns; their share in user space is known to 10 ms.\n\
         - {} repetition(s) of {:.1} s each, the servers in turns, every second time in the other order; curves and the \
         stalled reader once, idle connections once for the peers. In rooms of 1,000 and 10,000 the gateway \
         and the bare loops run twice as often and once more, if there is more than one repetition: their ratio is a target.\n\
         - A ratio of two servers is the median of the ratios of each repetition, not the ratio of the medians.\n\
         - One process opens at most 20,000 files, so 18,000 connections are the most that is measured; nothing is \
         extrapolated.\n- The load generator is one thread beside the servers on the same processors. Latencies run from \
         the time at which a message should have been sent (open loop).\n- Centrifugo 6.9.1 itself could not be built: the Go module proxy did not serve the version of its \
         library that it needs, 0.38.1-0.20260711082514-84d40cc4dbf6; release 0.38.0 of that library stands in for it, without \
         Centrifugo's gRPC API. It knows no acknowledgements and no polling; socketioxide and Node have no publish API.\n",
        plan.repetitions,
        plan.duration.as_secs_f64(),
    )
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".into())
}

fn of_crate(name: &str) -> &'static str {
    between(CRATES, &format!("name = \"{name}\"\nversion = \""), '"')
}

fn of_package(name: &str) -> &'static str {
    between(PACKAGES, &format!("\"node_modules/{name}\": {{\n      \"version\": \""), '"')
}

fn of_module(path: &str) -> &'static str {
    between(MODULES, &format!("{path} v"), '\n')
}

fn between(text: &'static str, start: &str, end: char) -> &'static str {
    let version = text.split_once(start).and_then(|(_, rest)| rest.split_once(end));
    version.map_or("unknown", |(version, _)| version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_of_the_peers_are_those_that_are_built() {
        let versions = [
            of_crate("socketioxide"),
            of_crate("socketioxide-redis"),
            of_package("socket.io"),
            of_package("ws"),
            of_package("@socket.io/redis-adapter"),
            of_module("github.com/centrifugal/centrifuge"),
        ];
        for version in versions {
            assert_eq!(
                version.split('.').filter(|part| part.parse::<u32>().is_ok()).count(),
                3,
                "{versions:?}"
            );
        }
        assert_eq!(of_crate("no such crate"), "unknown");
    }
}
