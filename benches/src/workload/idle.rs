//! Connections that do nothing: what they keep resident, and what their heartbeats cost.

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    client::Arrived,
    crowd::{Crowd, Seat},
    server::{CpuTime, Server},
};

/// Longer than allocators and servers wait before they give memory back: ten seconds is usual.
const SETTLED: Duration = Duration::from_secs(12);
/// When no more is expected.
const PATIENCE: Duration = Duration::from_secs(40);
/// What a server at rest may take or give.
const SAME_BYTES: u64 = 64 * 1024;

/// What idle connections cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// Connections, handshake and namespace included, per second.
    pub(crate) connect_rate: f64,
    /// Resident memory of the server beyond what it had without connections, per connection.
    pub(crate) resident_bytes: f64,
    pub(crate) pings: u64,
    /// CPU time of all that the server did while the pings were counted.
    pub(crate) cpu: CpuTime,
    /// Memory of its own (no pages of files) beyond what the server began with, once all have gone and nothing changes
    /// any more; its allocator keeps some.
    pub(crate) kept_bytes: u64,
}

/// Opens `connections`, counts heartbeats for `watch`, and lets them go.
///
/// # Errors
/// When the server refuses or closes one of them.
pub(crate) fn measure_idle(server: &Server, connections: u32, watch: Duration) -> anyhow::Result<Idle> {
    let (before, before_anonymous) = (server.resident_bytes()?, server.anonymous_bytes()?);
    let start = Instant::now();
    let mut crowd = Crowd::new(server)?;
    crowd.assemble(connections as usize, |_| Seat { node: 0, rooms: 0..0 })?;
    let connected = start.elapsed();
    let resident = server.resident_bytes()?.saturating_sub(before);
    let cpu = server.cpu_time()?;
    let mut pings = 0;
    let until = Instant::now() + watch;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        crowd.turn(left.min(Duration::from_secs(1)), |_, _, arrived| match arrived {
            Arrived::Ping => {
                pings += 1;
                Ok(())
            }
            other => Err(io::Error::other(format!("while idle: {other:?}"))),
        })?;
    }
    let cpu = server.cpu_time()? - cpu;
    ensure!(crowd.len() == connections as usize, "the server closed idle connections");
    drop(crowd);
    let kept = settled_bytes(server)?.saturating_sub(before_anonymous);
    Ok(Idle {
        connect_rate: f64::from(connections) / connected.as_secs_f64(),
        resident_bytes: resident as f64 / f64::from(connections),
        pings,
        cpu,
        kept_bytes: kept,
    })
}

/// A server's own memory once it has stayed the same for [`SETTLED`], or [`PATIENCE`] is over.
fn settled_bytes(server: &Server) -> anyhow::Result<u64> {
    let start = Instant::now();
    let (mut last, mut since) = (server.anonymous_bytes()?, start);
    while since.elapsed() < SETTLED && start.elapsed() < PATIENCE {
        // There is nothing to wait for: memory given back makes no sound.
        std::thread::sleep(Duration::from_millis(250));
        let now = server.anonymous_bytes()?;
        if now.abs_diff(last) > SAME_BYTES {
            (last, since) = (now, Instant::now());
        }
    }
    server.anonymous_bytes()
}
