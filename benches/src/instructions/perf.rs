//! `perf stat` on a running server.

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context as _;

use super::Cost;
use crate::{
    server::{self, Launch},
    workload::Workload,
};

const EVENTS: &str = "instructions:u,instructions:k";

/// Whether the machine counts instructions for us.
pub(super) fn works() -> bool {
    let output = Command::new("perf").args(["stat", "-x,", "-e", EVENTS, "true"]).output();
    output.is_ok_and(|output| parse(&String::from_utf8_lossy(&output.stderr)).is_some())
}

pub(super) fn count(launch: &Launch, workload: &Workload, amount: u32) -> anyhow::Result<Cost> {
    let server = launch.start()?;
    let mut load = workload.prepare(&server)?;
    load.drive(amount.div_ceil(10))?;
    let pids: Vec<String> = server.pids().iter().map(u32::to_string).collect();
    let perf = Command::new("perf")
        .args(["stat", "-x,", "-e", EVENTS, "-p", &pids.join(",")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start perf")?;
    // It has no way to say that it counts; 0.3 s is ten times what it takes to attach.
    thread::sleep(Duration::from_millis(300));
    let outcome = load.drive(amount)?;
    server::signal(perf.id(), "INT")?;
    let output = perf.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let (user, kernel) = parse(&text).with_context(|| format!("perf counts nothing: {text}"))?;
    server.stop()?;
    let units = outcome.units as f64;
    Ok(Cost {
        user: user as f64 / units,
        kernel: Some(kernel as f64 / units),
        functions: Vec::new(),
        faults: outcome.faults,
    })
}

/// User and kernel instructions out of `value,unit,event,…` lines.
fn parse(text: &str) -> Option<(u64, u64)> {
    let value = |event: &str| {
        let line = text.lines().find(|line| line.split(',').nth(2) == Some(event))?;
        line.split(',').next()?.parse().ok()
    };
    Some((value("instructions:u")?, value("instructions:k")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_unless_the_machine_has_none() {
        let counted = "1234,,instructions:u,1000,100.00,,\n99,,instructions:k,1000,100.00,,\n";
        assert_eq!(parse(counted), Some((1234, 99)));
        let unsupported =
            "<not supported>,,instructions:u,0,100.00,,\n<not supported>,,instructions:k,0,100.00,,\n";
        assert_eq!(parse(unsupported), None);
    }
}
