//! One repetition of a workload on a server of its own.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::{
    crowd::{Crowd, Seat},
    server::{CpuTime, Launch, Redis},
    workload::{Load, Outcome, Pace, Shape, Workload},
};

/// How long subscriptions may take to come back before they are given up.
const RESTORE_PATIENCE: Duration = Duration::from_secs(60);
/// Connections that hold the subscriptions of [`restored_after`].
const SUBSCRIBERS: u32 = 50;

/// How much of a workload is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Amount {
    Exactly(u32),
    /// As much as takes about that long, by what the warm-up took.
    For(Duration),
}

/// What one repetition gave.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) outcome: Outcome,
    /// Of all processes, Redis included.
    pub(crate) cpu: CpuTime,
    /// How far the nodes' memory grew since all were connected, at its peak.
    pub(crate) growth_bytes: u64,
    /// What went through Redis for each message, in both directions.
    pub(crate) redis_bytes: Option<f64>,
}

/// Runs a workload after a warm-up.
///
/// # Errors
/// When the server does not start, or breaks a connection. Losses are counted.
pub(crate) fn measure(launch: &Launch, workload: &Workload, amount: Amount) -> anyhow::Result<Sample> {
    let mut server = launch.start()?;
    let mut load = workload.prepare(&server)?;
    let resident = server.resident_bytes()?;
    let (warm_up, amount) = warm_up(load.as_mut(), workload, amount)?;
    let traffic = server.redis().map(Redis::traffic).transpose()?;
    let cpu = server.cpu_time()?;
    let mut outcome = load.drive(amount)?;
    let cpu = server.cpu_time()? - cpu;
    let redis_bytes = match (traffic, server.redis()) {
        (Some(before), Some(redis)) => {
            let now = redis.traffic()?;
            let bytes = now.input + now.output - before.input - before.output;
            Some(bytes as f64 / f64::from(amount))
        }
        _ => None,
    };
    outcome.faults.add(warm_up.faults);
    let growth_bytes = server.peak_resident_bytes()?.saturating_sub(resident);
    drop(load);
    server.stop()?;
    Ok(Sample { outcome, cpu, growth_bytes, redis_bytes })
}

/// Drives a load until it has found its pace; also the number that an amount comes to.
///
/// # Errors
/// As [`Load::drive`].
pub(crate) fn warm_up(
    load: &mut dyn Load,
    workload: &Workload,
    amount: Amount,
) -> anyhow::Result<(Outcome, u32)> {
    Ok(match amount {
        Amount::Exactly(amount) => (load.drive(amount.div_ceil(10))?, amount),
        Amount::For(duration) => {
            let first = least(workload);
            let warm_up = load.drive(first)?;
            let per_second = f64::from(first) / warm_up.elapsed.as_secs_f64();
            // A float that does not fit becomes the highest number.
            (warm_up, ((per_second * duration.as_secs_f64()) as u32).max(first))
        }
    })
}

/// An amount that takes long enough to tell how fast a server is.
fn least(workload: &Workload) -> u32 {
    match workload {
        // As many as make 20,000 deliveries, and enough of them to fill what may be in flight.
        Workload::Fanout(Shape { members, pace: Pace::InFlight(limit), .. }) => {
            (20_000 / members).max(2 * limit).max(4)
        }
        Workload::Fanout(Shape { pace: Pace::PerSecond(rate), .. }) => rate.ceil() as u32,
        Workload::Echo { .. } => 5_000,
        Workload::Churn { .. } => 300,
    }
}

/// Cuts the subscribing connections of a cluster's first node, whose clients are in `rooms` rooms; returns how long it
/// takes until Redis has all their channels again.
///
/// # Errors
/// When they do not come back.
pub(crate) fn restored_after(launch: &Launch, rooms: u32) -> anyhow::Result<Duration> {
    let mut server = launch.start()?;
    let mut crowd = Crowd::new(&server)?;
    let each = rooms / SUBSCRIBERS;
    crowd.assemble(SUBSCRIBERS as usize, |place| {
        let first = u32::try_from(place).unwrap_or_default() * each;
        Seat { node: 0, rooms: first..first + each }
    })?;
    let redis = server.redis().context("no cluster, no Redis")?;
    let wanted = redis.channels()?;
    ensure!(wanted >= u64::from(rooms), "{wanted} channels for {rooms} rooms");
    let start = Instant::now();
    redis.cut_subscribers()?;
    let mut has_lost = false;
    loop {
        let channels = redis.channels()?;
        has_lost |= channels < wanted;
        if has_lost && channels >= wanted {
            break;
        }
        ensure!(start.elapsed() < RESTORE_PATIENCE, "{channels} of {wanted} channels came back");
        // Asking is work for Redis, too.
        thread::sleep(Duration::from_millis(5));
    }
    let elapsed = start.elapsed();
    drop(crowd);
    server.stop()?;
    Ok(elapsed)
}
